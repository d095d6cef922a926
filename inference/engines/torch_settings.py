"""torch's settings, which are the whole process's: ours around a forward, then the caller's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..machine.threads import quota_threads

# Two threads that set and restore in turns would leave one's settings to the caller.
_turn = threading.Lock()


@contextmanager
def exact_cudnn() -> Iterator[None]:
    """cuDNN computes the same whenever it is asked, and float32 where float32 is said.

    It matters while kernels are chosen and launched, not while they run.
    """
    cudnn: Any = torch.backends.cudnn  # mypy does not see all of it
    with _turn:
        before = cudnn.benchmark, cudnn.deterministic, cudnn.conv.fp32_precision
        # The same scan gives the same labels, whichever algorithm would be quicker by a hair.
        cudnn.benchmark, cudnn.deterministic = False, True
        # Else cuDNN would round what is called float32 to 10 bits of mantissa (TF32).
        cudnn.conv.fp32_precision = "ieee"
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.deterministic, cudnn.conv.fp32_precision = before


@contextmanager
def threads_within_quota() -> Iterator[None]:
    """No more threads than a container's CPU quota is worth, which torch does not see."""
    threads = quota_threads()
    if threads is None:
        yield
        return
    with _turn:
        before = torch.get_num_threads()
        torch.set_num_threads(min(before, threads))
        try:
            yield
        finally:
            torch.set_num_threads(before)
