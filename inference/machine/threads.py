"""Work shared out among the processors that this process may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import TypeVar

from .control_groups import processor_quota

T = TypeVar("T")


def worker_count() -> int:
    """Threads that this process may keep busy: see :func:`processors` and :func:`quota_threads`."""
    return quota_threads() or processors()


def processors() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def quota_threads() -> int | None:
    """Threads that a container's CPU quota is worth, where that is fewer than the processors.

    Rounded up: with 1.5 processors' worth of time, two threads waste none of it. None where the
    processors are the only limit, which libraries find by themselves.
    """
    quota = processor_quota()
    if quota is None or ceil(quota) >= processors():
        return None
    return ceil(quota)


def in_threads(work: Callable[[int], T], items: Iterable[int]) -> list[T]:
    """``[work(item) for item in items]``, on all processors."""
    with ThreadPoolExecutor(worker_count()) as pool:
        return list(pool.map(work, items))


def in_chunks(work: Callable[[int, int], None], count: int) -> None:
    """Call ``work(first, last)`` over ``range(count)`` in one contiguous chunk per processor."""
    workers = min(worker_count(), count)
    if not workers:
        return
    edges = [count * i // workers for i in range(workers + 1)]
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
