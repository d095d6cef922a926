"""What figures depend on and must be printed beside: processor, memory, load, commit, versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil

from inference.machine.threads import processors

ROOT = Path(__file__).resolve().parent.parent


def describe() -> dict[str, Any]:
    """The machine and the state of the project, as JSON values."""
    return {
        "processor": processor(),
        "cores": processors(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_1min": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": commit(),
    }


def child() -> dict[str, str]:
    """Environment variables for what is measured: with Python's bytecode kept, as installed."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def line(machine: dict[str, Any]) -> str:
    """One line of prose for a table's caption."""
    gigabytes = machine["memory_bytes"] / 2**30
    return (
        f"{machine['processor']}, {machine['cores']} cores, {gigabytes:.0f} GiB, "
        f"commit {machine['commit']}, 1-minute load at the start {machine['load_1min']:.1f}"
    )


def processor() -> str:
    """The processor's name, as lscpu prints it."""
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def commit() -> str:
    """The commit that is checked out, with a plus sign where box or weights differ from it."""

    def git(*arguments: str) -> str:
        result = subprocess.run(
            ("git", "-C", str(ROOT), *arguments), capture_output=True, text=True, check=False
        )
        return result.stdout.strip()

    changed = git("status", "--porcelain", "--", "inference", "weights")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")
