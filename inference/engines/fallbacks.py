"""Where a network lacks memory or range, a scan goes on with what the network falls back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import DeviceError
from .interface import HalfPrecisionError, Network

T = TypeVar("T")


def with_fallbacks(network: Network, walk: Callable[[Network], T]) -> tuple[T, tuple[str, ...]]:
    """Do something with a network, or with what it falls back to.

    Returns:
        What came of it, and the fallbacks in words.

    Raises:
        DeviceError: not even the CPU has the memory.
    """
    notes: list[str] = []
    while True:
        batch = network.batch
        try:
            result = walk(network)
            if network.batch < batch:
                notes.append(f"{network.name} ran out of memory: batches of {network.batch}")
            return result, tuple(notes)
        except MemoryError as error:
            raise DeviceError(
                "this machine",
                "has not enough memory for the scan",
                "give more memory, or crop the scan",
            ) from error
        except RuntimeError as error:
            instead = network.fallback(error)
            if instead is None:
                raise
            lack = "range" if isinstance(error, HalfPrecisionError) else "memory"
            notes.append(f"{network.name} ran out of {lack}: going on with {instead.name}")
        # Outside the handler, whose traceback would keep the failed run's memory alive. Only
        # this scan pays: the next one starts on the device again.
        network = instead
