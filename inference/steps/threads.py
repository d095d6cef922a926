"""Work shared out among the processors that this process may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def worker_count() -> int:
    """Processors that this process may run on."""
    return max(1, len(os.sched_getaffinity(0)))


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
