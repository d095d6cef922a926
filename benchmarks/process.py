"""One command as a whole process tree: wall time, processor time, memory, and how it ended.

Memory is read from /proc while the command runs, in two ways that mean different things:

- ``peak_process_bytes``: the kernel's own high-water mark of RSS (``VmHWM``, and at the end
  ``ru_maxrss``) of the hungriest single process. It misses no peak.
- ``peak_tree_bytes``: the highest sampled sum of PSS (proportional set size) over the process and
  all its descendants. A page that n processes share counts 1/n in each, so that the sum is what the
  tree really occupies, shared memory included. Peaks between two samples are missed; that of the
  hungriest process alone is not, which is all where there is only one.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL_S = 0.1
# Reading PSS walks page tables: rest so long after each sample that it takes 5 % of one processor.
_REST = 20.0


@dataclass(frozen=True)
class Usage:
    """What one run of a command took.

    Attributes:
        ended: ``done``, ``failed`` (exit status), ``memory`` or ``time`` (stopped at a limit).
        status: exit status; negative for a signal.
        seconds: wall time from start to exit.
        cpu_s: user and system time of the process and all descendants that it waited for.
        peak_tree_bytes: highest sampled sum of PSS, or ``peak_process_bytes`` where that is more.
        peak_process_bytes: highest RSS of one process.
        peak_device_bytes: highest sampled GPU memory above that before the start; None without GPU.
        processes: most processes at once.
    """

    ended: str
    status: int
    seconds: float
    cpu_s: float
    peak_tree_bytes: int
    peak_process_bytes: int
    peak_device_bytes: int | None
    processes: int


def measure(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit_s: float = float("inf"),
    limit_bytes: float = float("inf"),
    device_bytes: Callable[[], float] | None = None,
) -> Usage:
    """Run ``command`` to its end and measure it.

    Args:
        command: program and arguments.
        log: file that takes its standard output and error.
        cwd, env: of the command; this process's by default.
        limit_s: wall time after which the tree is killed, seconds.
        limit_bytes: sum of PSS beyond which the tree is killed, so that a hungry command does not
            bring down others on the machine.
        device_bytes: reads the GPU memory in use, bytes.
    """
    idle = device_bytes() if device_bytes else 0.0
    start = time.perf_counter()
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    watch = _Watch(process.pid, start + limit_s, limit_bytes, device_bytes)
    with watch:
        _, wait_status, rusage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = status = os.waitstatus_to_exitcode(wait_status)
    _kill(process.pid)  # helpers that outlived it
    peak_process = max(watch.peak_process, _peak_of_ended(rusage))
    return Usage(
        ended=watch.stopped or ("failed" if status else "done"),
        status=status,
        seconds=seconds,
        cpu_s=rusage.ru_utime + rusage.ru_stime,
        peak_tree_bytes=max(watch.peak_tree, peak_process),
        peak_process_bytes=peak_process,
        peak_device_bytes=int(watch.peak_device - idle) if device_bytes else None,
        processes=watch.processes,
    )


class _Watch:
    """Samples a process tree in a thread, and kills it at a limit."""

    def __init__(
        self,
        pid: int,
        deadline: float,
        limit_bytes: float,
        device_bytes: Callable[[], float] | None,
    ) -> None:
        self._pid, self._deadline, self._limit = pid, deadline, limit_bytes
        self._device_bytes = device_bytes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.stopped: str | None = None
        self.peak_tree = self.peak_process = self.processes = 0
        self.peak_device = 0.0

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            start = time.perf_counter()
            self._sample()
            if self.stopped is None and start > self._deadline:
                self._stop("time")
            pause = max(INTERVAL_S, _REST * (time.perf_counter() - start))

    def _sample(self) -> None:
        pids = tree(self._pid)
        total = sum(proportional_bytes(pid) for pid in pids)
        self.processes = max(self.processes, len(pids))
        self.peak_tree = max(self.peak_tree, total)
        self.peak_process = max(self.peak_process, *(high_water_bytes(pid) for pid in pids), 0)
        if self._device_bytes:
            self.peak_device = max(self.peak_device, self._device_bytes())
        if self.stopped is None and total > self._limit:
            self._stop("memory")

    def _stop(self, reason: str) -> None:
        self.stopped = reason
        _kill(self._pid)


def tree(pid: int) -> list[int]:
    """A process and all its descendants that are alive now."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def proportional_bytes(pid: int) -> int:
    """PSS of a process now; 0 where it is gone."""
    return _kilobytes(f"/proc/{pid}/smaps_rollup", "Pss:")


def high_water_bytes(pid: int) -> int:
    """The highest RSS that a process has had since it was started; 0 where it is gone."""
    return _kilobytes(f"/proc/{pid}/status", "VmHWM:")


def _peak_of_ended(rusage: resource.struct_rusage) -> int:
    """The highest RSS of an ended child; 0 where it may be ours, which a child starts out with."""
    peak = rusage.ru_maxrss * 1024
    return peak if peak > high_water_bytes(os.getpid()) else 0


def _kilobytes(file: str, key: str) -> int:
    with suppress(OSError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
