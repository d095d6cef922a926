"""How much memory this process may still take: the machine's, and its container's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import HeaderError
from .control_groups import Group, groups_around

_MEMINFO = Path("/proc/meminfo")
# What a network in its windows takes beside the scans.
_NETWORK_BYTES = 1 << 30
_LOOK_AGAIN_S = 0.2

Admit = Callable[[int], None]


def check_memory(needed: int) -> None:
    """Refuse what cannot fit, before the kernel kills the run for it. Raises HeaderError.

    Args:
        needed: bytes that will be taken at least.
    """
    free = available_bytes()
    if free is not None and needed > free:
        raise HeaderError(
            f"needs at least {needed / 1e6:.0f} MB of memory and {free / 1e6:.0f} MB are free",
            "give more memory, or crop the scan",
        )


class SharedMemory:
    """Memory for several scans at a time: the next waits until there is room beside the others."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._promised: dict[object, int] = {}

    @contextmanager
    def place(self) -> Iterator[Admit]:
        """For one scan, from before it is read until it is done with.

        Yields:
            What to call with the bytes that the scan will take at least, before they are taken: it
            returns when they may be. By itself a scan is refused as by :func:`check_memory`.
        """
        scan = object()
        try:
            yield lambda needed: self._admit(scan, needed)
        finally:
            with self._changed:
                self._promised.pop(scan, None)
                self._changed.notify_all()

    def _admit(self, scan: object, needed: int) -> None:
        with self._changed:
            while self._promised:
                free = available_bytes()
                # Counts again what the others have taken by now: better late than killed.
                wanted = needed + sum(self._promised.values()) + _NETWORK_BYTES
                if free is None or wanted <= free:
                    break
                self._changed.wait(_LOOK_AGAIN_S)
            else:
                check_memory(needed)
            self._promised[scan] = needed


def available_bytes() -> int | None:
    """Bytes that can be taken without being killed; None where the system does not tell."""
    groups = map(_of_group, groups_around("memory"))
    known = [free for free in (_of_machine(), *groups) if free is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    kilobytes = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return next((n << 10 for n in kilobytes), None)


def _of_group(group: Group) -> int | None:
    """What a memory control group leaves."""
    limit, used, inactive = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ("memory.max", "memory.current", "inactive_file"),
    )[group.version - 1]
    try:
        text = (group.folder / limit).read_text().strip()
        if text == "max":
            return None
        lines = (group.folder / "memory.stat").read_text().splitlines()
        statistics = dict(line.split() for line in lines)
        # Pages of files that were read count as used, but are given up when others are wanted.
        reclaimable = int(statistics.get(inactive, 0))
        return int(text) - int((group.folder / used).read_text()) + reclaimable
    except (OSError, ValueError):
        return None
