"""Label maps on disk, and the checks that two of them can be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inference.errors import AbdoboxError
from inference.grid import Grid
from inference.labels import NAMES
from inference.scan.volume import LabelMap, read_label_map


class CaseError(AbdoboxError):
    """A case that cannot be scored, or a folder or file of classes that cannot be used."""


def read_case_labels(path: Path) -> LabelMap:
    """A label map (z, y, x) in the file's own axis order, its grid, and what is odd about it.

    Raises:
        ScanError: the file is unreadable, truncated, corrupt or not one 3D volume.
        CaseError: a value is no label in 0..14.
    """
    found = read_label_map(path)
    labels = found.labels_ZYX
    if labels.max() > max(NAMES):
        wrong = ", ".join(str(value) for value in np.unique(labels[labels > max(NAMES)])[:5])
        cause = f"holds values that are no label ({wrong})"
        raise CaseError(path, cause, f"use whole numbers 0..{max(NAMES)}")
    return found


def check_grids(path: Path, pred: Grid, ref: Grid) -> None:
    """Raise CaseError unless no voxel of the two grids is more than 0.1 voxel apart."""
    remedy = "write the prediction on the grid of the scan that the reference belongs to"
    if pred.shape != ref.shape:
        cause = f"has the shape {pred.shape[::-1]}, its reference {ref.shape[::-1]} (x, y, z)"
        raise CaseError(path, cause, remedy)
    far_z, far_y, far_x = (n - 1.0 for n in ref.shape)
    corners = [(z, y, x) for z in (0.0, far_z) for y in (0.0, far_y) for x in (0.0, far_x)]
    shift = max(float(np.linalg.norm(pred.physical(c) - ref.physical(c))) for c in corners)
    if shift > 0.1 * min(ref.spacing):
        differing = [
            f"{what} {_numbers(a)} instead of {_numbers(b)}"
            for what, a, b in (
                ("spacing", pred.spacing[::-1], ref.spacing[::-1]),
                ("origin", pred.origin, ref.origin),
                ("direction", pred.direction, ref.direction),
            )
            if not np.allclose(a, b, atol=1e-4)
        ]
        cause = f"lies up to {shift:.3g} mm off its reference ({', '.join(differing)})"
        raise CaseError(path, cause, remedy)


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.5g}" for value in values) + ")"
