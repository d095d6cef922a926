"""Label maps on disk, and the checks that two of them can be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.errors import AbdoboxError
from inference.grid import Grid
from inference.labels import NAMES


class CaseError(AbdoboxError):
    """A case that cannot be scored, or a folder or file of classes that cannot be used."""


def read_labels(path: Path) -> tuple[NDArray[np.uint8], Grid]:
    """A label map (z, y, x) in the file's own axis order, and its grid.

    Raises:
        CaseError: the file is no readable 3D volume, or a value is no label in 0..14.
    """
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = sitk.ReadImage(str(path))
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise CaseError(path, "is not a 3D label map", "give one label per voxel of a volume")
        array = sitk.GetArrayViewFromImage(image)
    except RuntimeError as error:
        remedy = "check that it is a complete NIfTI file and may be read"
        raise CaseError(path, "cannot be read as an image", remedy) from error
    labels: NDArray[np.uint8] = np.zeros(array.shape, np.uint8)
    with np.errstate(invalid="ignore"):
        np.copyto(labels, array, casting="unsafe")
    _check_labels(path, array, labels)
    z, y, x = array.shape
    spacing, origin = image.GetSpacing(), image.GetOrigin()
    grid = Grid((z, y, x), spacing[::-1], origin, image.GetDirection())
    return labels, grid


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


def _check_labels(path: Path, values: NDArray[np.generic], labels: NDArray[np.uint8]) -> None:
    """Raise CaseError unless ``values`` (any numbers) equal ``labels`` and are labels."""
    wrong = (labels != values) | (labels > max(NAMES))
    if wrong.any():
        some = ", ".join(f"{value:g}" for value in np.unique(values[wrong])[:5].tolist())
        cause = f"holds values that are no label ({some})"
        raise CaseError(path, cause, f"use whole numbers 0..{max(NAMES)}")


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.5g}" for value in values) + ")"
