"""Memory that a training frees stays with its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Takes and frees 64 MB again and again, each time touching every page; prints the page faults of
# the last twenty times.
PROGRAM = """
import platform, resource, sys
import torch
from training.learn.memory import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
for _ in range(10):
    torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 24)
print(platform.libc_ver()[0], resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*words: str) -> tuple[str, int]:
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    library, _, faults = done.stdout.strip().rpartition(" ")
    return library, int(faults)


def test_pages_are_cleared_once() -> None:
    library, plain = _faults()
    if library != "glibc":
        pytest.skip("needs glibc: other C libraries have no mallopt")
    _, kept = _faults("keep")
    assert kept < plain / 10
