"""How far the process's memory grew, whatever it had used before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


@contextmanager
def resident_growth() -> Iterator[Callable[[], int]]:
    """Gives a function that tells the bytes of peak resident memory above that at the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    except OSError:
        pytest.skip("this system cannot reset the peak of resident memory")
    before = _bytes("VmRSS")
    yield lambda: _bytes("VmHWM") - before
