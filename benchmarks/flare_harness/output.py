"""Whether a container's output is what the challenge asks for, as SimpleITK reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import SimpleITK as sitk

from inference.labels import NAMES

# Millimetres, and parts of a unit vector: what a float32 header may round off.
_TOLERANCE = 1e-4


def header(scan: Path) -> dict[str, Any]:
    """Size (x, y, z) in voxels, as in the paper's tables, and spacing (x, y, z) in mm of a scan.

    Both are empty where the scan cannot be read: how a container copes with that is a result, too.
    """
    try:
        reader = _header(scan)
    except RuntimeError:
        return {"size": [], "spacing_mm": []}
    return {"size": list(reader.GetSize()), "spacing_mm": list(reader.GetSpacing())}


def output_problems(scan: Path, labels: Path) -> list[str]:
    """What is wrong with a label map; empty if its file is there and its geometry the scan's.

    Args:
        scan: the CT, NIfTI.
        labels: where its labels should be.
    """
    if not labels.is_file():
        return ["no output"]
    try:
        wanted, found = _header(scan), _header(labels)
        problems = [
            f"{name} {b} instead of {a}"
            for name, a, b in (
                ("size", wanted.GetSize(), found.GetSize()),
                ("spacing", wanted.GetSpacing(), found.GetSpacing()),
                ("origin", wanted.GetOrigin(), found.GetOrigin()),
                ("direction", wanted.GetDirection(), found.GetDirection()),
            )
            if len(a) != len(b) or any(abs(p - q) > _TOLERANCE for p, q in zip(a, b, strict=True))
        ]
        voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(labels)))
    except RuntimeError as error:
        return [f"cannot be read ({str(error).strip().splitlines()[-1]})"]
    if voxels.dtype.kind not in "iu" or voxels.min() < 0 or voxels.max() > max(NAMES):
        problems.append(f"values of type {voxels.dtype} in {voxels.min()}..{voxels.max()}")
    return problems


def _header(path: Path) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader
