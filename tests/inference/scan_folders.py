"""A folder with three sound scans, spoilt where it is asked for, and runs over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., int]
NAMES = ("a", "b", "c")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def spoil(scans: Path) -> None:
    """Two bad scans, before and between the good ones, and a duplicate."""
    good = (scans / "b_0000.nii.gz").read_bytes()
    (scans / "Abad_0000.nii.gz").write_bytes(good[: len(good) // 2])
    (scans / "aa.nii.gz").write_bytes(b"no scan")
    (scans / "d.nii.gz").write_bytes(good)
    (scans / "d_0000.nii.gz").write_bytes(good)
