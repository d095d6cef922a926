"""How a training's process takes memory from the system."""

from __future__ import annotations

import ctypes

# <malloc.h>
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_MOST, _GROWTH = 2**31 - 1, 2**28


def keep_freed_memory() -> None:
    """Let what is freed stay with the process, for its next allocation.

    Each step of a training on a CPU takes and frees the same gigabytes. glibc gives large pieces
    back at once, and the system clears every page again: a fifth of a step's time (docs/LOG.md).
    Where the C library has no ``mallopt``, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _MOST)
        mallopt(_TOP_PAD, _GROWTH)
