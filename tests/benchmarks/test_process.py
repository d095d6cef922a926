"""Whole process trees: time, memory of all members, limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.process import measure, tree

MIB = 2**20
# Allocates, touches and holds: 200 MB in the process itself, or 100 MB there and in a child.
ALONE = "import time; data = bytearray(b'x') * 200_000_000; time.sleep(0.6)"
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import time; data = bytearray(b'x') * 100_000_000; time.sleep(1.5)"])
data = bytearray(b"x") * 100_000_000
child.wait()
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_memory_of_one_process(tmp_path: Path):
    usage = measure(python(ALONE), tmp_path / "log")
    assert usage.ended == "done"
    assert 190 * MIB < usage.peak_tree_bytes < 260 * MIB
    assert 190 * MIB < usage.peak_process_bytes < 260 * MIB
    assert usage.processes == 1
    assert 0.6 < usage.seconds < 30
    assert 0 < usage.cpu_s < usage.seconds + 0.5
    assert usage.peak_device_bytes is None


def test_memory_of_children_counts(tmp_path: Path):
    usage = measure(python(FAMILY), tmp_path / "log")
    assert usage.processes == 2
    assert 150 * MIB < usage.peak_tree_bytes < 300 * MIB
    assert 95 * MIB < usage.peak_process_bytes < 150 * MIB


def test_a_peak_between_two_samples_is_not_missed(tmp_path: Path):
    """Measured from a process of its own, as the kernel starts a child with its parent's peak."""
    brief = "data = bytearray(b'x') * 300_000_000; del data"
    code = (
        "from pathlib import Path; import sys; from benchmarks import process\n"
        "process.INTERVAL_S = 30\n"
        f"command = [sys.executable, '-c', {brief!r}]\n"
        f"usage = process.measure(command, Path({str(tmp_path / 'log')!r}))\n"
        "print(usage.peak_process_bytes, usage.peak_tree_bytes)\n"
    )
    run = subprocess.run(python(code), capture_output=True, text=True, check=True, timeout=100)
    assert all(285 * MIB < int(word) < 340 * MIB for word in run.stdout.split())


def test_too_hungry_is_stopped(tmp_path: Path):
    code = "import time; data = bytearray(b'x') * 200_000_000; time.sleep(60)"
    usage = measure(python(code), tmp_path / "log", limit_bytes=100 * MIB)
    assert usage.ended == "memory"
    assert usage.status < 0
    assert usage.seconds < 30


def test_too_slow_is_stopped_with_its_children(tmp_path: Path):
    code = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', "
        "'import time; time.sleep(60)']).pid, flush=True); import time; time.sleep(60)"
    )
    usage = measure(python(code), tmp_path / "log", limit_s=1.0)
    assert usage.ended == "time"
    assert usage.seconds < 30
    child = int((tmp_path / "log").read_text())
    gone, _ = psutil.wait_procs([psutil.Process(child)] if psutil.pid_exists(child) else [], 10)
    assert gone or not psutil.pid_exists(child)


@pytest.mark.parametrize(("status", "ended"), [(0, "done"), (3, "failed")])
def test_exit_status_and_output(tmp_path: Path, status: int, ended: str):
    usage = measure(python(f"print('hello'); raise SystemExit({status})"), tmp_path / "log")
    assert (usage.status, usage.ended) == (status, ended)
    assert (tmp_path / "log").read_text() == "hello\n"


def test_device_memory_is_above_the_start(tmp_path: Path):
    readings = iter([100.0, 150.0, 400.0] + [120.0] * 1000)
    usage = measure(python("import time; time.sleep(1)"), tmp_path / "log",
                    device_bytes=lambda: next(readings))  # fmt: skip
    assert usage.peak_device_bytes == 300


def test_tree_of_no_process_is_empty():
    gone = subprocess.Popen(python("pass"))
    gone.wait()
    assert tree(gone.pid) == []
