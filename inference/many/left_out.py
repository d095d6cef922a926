"""What lies in a folder and may be a scan, but is not taken: what is said of it."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path

from ..errors import ScanError
from ..scan.names import SUFFIXES, counted, scan_stem, unread_files

# How many folders below one are looked into for scans that are not taken.
_LOOKED_INTO = 64


def left_out(
    folder: Path, files: list[Path], channels: dict[str, str], below: list[str]
) -> list[str]:
    """A line for each kind of what may be scans and is not taken."""
    lines = []
    if unread := unread_files([path.name for path in files]):
        lines.append(
            f"{counted(unread, 'file')} of formats that are not read left out; convert to .nii.gz"
        )
    if further := [path.name for path in files if scan_stem(path.name) in channels]:
        what = counted(further, "further nnU-Net channel")
        lines.append(f"{what} left out; rename what is a patient of its own")
    if below:
        lines.append(f"{counted(below, 'sub-folder')} with scans left out; run once for each")
    return [f"{folder}: {line}" for line in lines]


def no_scan(folder: Path, files: list[Path], below: list[str]) -> ScanError:
    """What is said of a folder without a scan, and of what lies there in place of one."""
    if below:
        cause = f"holds no scan itself, but {counted(below, 'sub-folder')} with scans"
        remedy = "run once for each, or put the scans, or links to them, into one folder"
        return ScanError(folder, cause, remedy)
    if unread := unread_files([path.name for path in files]):
        cause = f"holds no scan, but {counted(unread, 'file')} of formats that are not read"
        return ScanError(folder, cause, "convert them to .nii.gz")
    return ScanError(folder, "holds no scan", f"put {', '.join(SUFFIXES)} or DICOM files there")


def folders_with_scans(folder: Path, target: Path) -> list[str]:
    """Folders below one that hold scans, relative to it: the nearest first, and not all of many."""
    found: list[str] = []
    waiting = deque([folder])
    seen = {os.path.realpath(folder), os.path.realpath(target)}
    for _ in range(_LOOKED_INTO):
        if not waiting:
            break
        current = waiting.popleft()
        with suppress(OSError), os.scandir(current) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
            # Unlike entry.is_dir, False for links in a circle.
            folders = {entry.name for entry in listed if os.path.isdir(entry.path)}  # noqa: PTH112
            inner = [e.path for e in listed if e.name in folders and not e.name.startswith(".")]
            if current != folder and any(
                scan_stem(e.name) and e.name not in folders for e in listed
            ):
                found.append(str(current.relative_to(folder)))
            for path in inner:
                real = os.path.realpath(path)
                if real not in seen:
                    seen.add(real)
                    waiting.append(Path(path))
    return found
