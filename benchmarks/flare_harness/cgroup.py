"""What a container uses, from its control group's files (version 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.flare_harness.machine import MB


@dataclass(frozen=True)
class Usage:
    """What a container has used.

    Attributes:
        ram_mb: main memory now, MB of 2^20 bytes, counted as ``docker stats`` does: without file
            pages that can be dropped.
        cpu_s: processor seconds since its start.
    """

    ram_mb: float
    cpu_s: float


class Container:
    """Reads a running container's :class:`Usage`; None before it runs, after it, and where its
    files cannot be seen (an engine on another machine).

    Args:
        pid: gives the container's first process, or None while there is none.
        root: where /proc and /sys are.
    """

    def __init__(self, pid: Callable[[], int | None], root: Path = Path("/")) -> None:
        self._pid, self._root = pid, root
        self._read: Callable[[], Usage] | None = None

    def usage(self) -> Usage | None:
        """The usage now."""
        try:
            if self._read is None:
                pid = self._pid()
                self._read = None if pid is None else self._locate(pid)
            return self._read() if self._read else None
        except (OSError, KeyError):
            return None

    def _locate(self, pid: int) -> Callable[[], Usage]:
        groups = {}
        for line in (self._root / f"proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update({name: path.lstrip("/") for name in controllers.split(",")})
        top = self._root / "sys/fs/cgroup"
        if "memory" in groups:
            memory = top / "memory" / groups["memory"]
            processor = top / "cpuacct" / groups["cpuacct"] / "cpuacct.usage"
            return lambda: Usage(
                _ram_mb(memory, "memory.usage_in_bytes", "total_inactive_file"),
                int(processor.read_text()) / 1e9,
            )
        group = top / groups[""]
        return lambda: Usage(
            _ram_mb(group, "memory.current", "inactive_file"),
            _table(group / "cpu.stat")["usage_usec"] / 1e6,
        )


def _ram_mb(group: Path, total: str, droppable: str) -> float:
    return (int((group / total).read_text()) - _table(group / "memory.stat")[droppable]) / MB


def _table(path: Path) -> dict[str, int]:
    return {key: int(value) for key, value in map(str.split, path.read_text().splitlines())}
