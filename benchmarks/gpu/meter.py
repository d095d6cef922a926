"""Times by CUDA events, and memory as NVML and as torch sees it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from benchmarks.flare_harness.curve import Sampler
from benchmarks.flare_harness.machine import MB, Gpu

# NVML answers in a fraction of a millisecond; peaks are short.
_MEMORY_INTERVAL_S = 0.01


def synchronize(device: torch.device) -> None:
    """Wait for all work of a CUDA device; nothing to wait for on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Times:
    """Milliseconds: of the first call by the wall clock, then median and spread of the others."""

    first_ms: float
    median_ms: float
    low_ms: float
    high_ms: float


def measure(work: Callable[[], object], device: torch.device, repeats: int = 10) -> Times:
    """Time ``work`` on the device: once cold, once more to warm up, then ``repeats`` times.

    The wall clock is right for the first call, whose compilation and set-up run on the CPU; CUDA
    events for the others, as they leave out what the CPU does meanwhile.
    """
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    first = (time.perf_counter() - start) * 1e3
    work()
    times = [_once(work, device) for _ in range(repeats)]
    return Times(first, statistics.median(times), min(times), max(times))


def _once(work: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(device)
    stream = torch.cuda.current_stream(device)
    before.record(stream)
    work()
    after.record(stream)
    torch.cuda.synchronize(device)
    return float(before.elapsed_time(after))


class Memory:
    """Device memory while a block ran, MB of 2^20 bytes. None where there is no such device.

    Attributes:
        nvml_mb: highest total minus free that NVML saw (every 10 ms), the context included.
        allocated_mb: torch's highest sum of live tensors.
        reserved_mb: the most that torch's allocator held.
    """

    nvml_mb: float | None = None
    allocated_mb: float | None = None
    reserved_mb: float | None = None

    def row(self) -> dict[str, float | None]:
        """The three as columns of a table."""
        return {
            "nvml_mb": self.nvml_mb,
            "allocated_mb": self.allocated_mb,
            "reserved_mb": self.reserved_mb,
        }


@contextmanager
def memory(device: torch.device, gpu: Gpu | None) -> Iterator[Memory]:
    """Fill a :class:`Memory` with the peaks of the block, beginning from an empty cache."""
    found = Memory()
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    sampler = Sampler(gpu.used_mb, _MEMORY_INTERVAL_S) if gpu else None
    try:
        if sampler:
            with sampler:
                yield found
                synchronize(device)
        else:
            yield found
            synchronize(device)
    finally:
        if sampler:
            found.nvml_mb = sampler.curve(float).peak
        if device.type == "cuda":
            found.allocated_mb = torch.cuda.max_memory_allocated(device) / MB
            found.reserved_mb = torch.cuda.max_memory_reserved(device) / MB
