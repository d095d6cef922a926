"""Systems that are not at hand: macOS by what it lacks, and Windows, which gets one line."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from inference.engines import processor
from inference.machine import control_groups, memory
from inference.machine.control_groups import processor_quota
from inference.machine.memory import available_bytes
from inference.machine.threads import worker_count
from inference.many.run_report import RunReport
from tests.inference.scan_folders import Run, contents

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No affinity of processors, no /proc, no control groups."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(sys, "platform", "darwin")
    for module, name in (
        (memory, "_MEMINFO"),
        (control_groups, "_GROUPS"),
        (control_groups, "_MOUNT"),
        (processor, "_CPUINFO"),
    ):
        monkeypatch.setattr(module, name, tmp_path / "not" / "there")
    processor_quota.cache_clear()


def test_macos(clean: dict[str, bytes], macos: None, run: Run, scans: Path, tmp_path: Path, capfd):
    out, report = tmp_path / "out", tmp_path / "report.json"
    assert run(scans, out, "--report", str(report)) == 0
    assert contents(out) == clean
    assert capfd.readouterr().err.endswith(f"3 done, 0 failed: {out}\n")
    assert json.loads(report.read_text())["peak_ram_bytes"] > 0
    assert worker_count() == os.cpu_count()
    assert available_bytes() is None


@pytest.mark.parametrize(("system", "unit"), [("darwin", 1), ("linux", 1024)])
def test_the_unit_of_the_peak(system: str, unit: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", system)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = RunReport().document(None)["peak_ram_bytes"]
    assert peak // unit in range(before, 2 * before)


WINDOWS = """
import argparse, concurrent.futures, importlib.util, json, os, pathlib, runpy, signal, sys
import tempfile, threading
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
del os.sched_getaffinity, os.O_CLOEXEC, os.O_NONBLOCK, os.O_NOFOLLOW
sys.platform = "win32"
"""
LINE = "Windows: is not supported; run abdobox in Docker or in WSL2"


def on_windows(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WINDOWS + code, *words],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("module", "words"),
    [("convert", ("a.nii.gz", "--source", "b", "-o", "c")), ("merge", (".",))],
)
def test_windows_gets_one_line_from_the_other_commands(module: str, words: tuple[str, ...]):
    code = f"sys.argv[0] = 'it'; runpy.run_module('inference.{module}', run_name='__main__')"
    run = on_windows(code, *words)
    assert (run.returncode, run.stdout, run.stderr) == (1, "", f"error: {LINE}\n")


def test_windows_gets_one_line_from_the_command(scans: Path, tmp_path: Path):
    code = "sys.argv[0] = 'inference'; runpy.run_module('inference', run_name='__main__')"
    run = on_windows(code, "-i", str(scans), "-o", str(tmp_path / "out"))
    assert (run.returncode, run.stdout, run.stderr) == (1, "", f"error: {LINE}\n")
    for word, answer in (("--help", "usage: "), ("--version", "abdobox "), ("--list-labels", "1")):
        run = on_windows(code, word)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.startswith(answer)


@pytest.mark.parametrize("name", ["Segmenter", "Volume"])
def test_windows_gets_one_line_from_the_library(name: str):
    run = on_windows(f"from inference import {name}")
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].endswith(f"AbdoboxError: {LINE}")
