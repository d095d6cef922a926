"""What no CT has, and is refused before any memory is taken for it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..grid import Grid
from ..types import Shape

MAX_AXIS = 8192
MAX_VOXELS = 2**30
MIN_SPACING_MM, MAX_SPACING_MM = 0.01, 50.0
# More than any table travels: a spacing in the wrong unit, whose scan would fill the memory.
MAX_EXTENT_MM = 3000.0
# Abdominal CT covers 250 to 600 mm in-plane. Of the three extents of a scan the middle one tells,
# since slabs are thin and whole bodies long.
LIKELY_EXTENT_MM = (100.0, 1000.0)
# Cosines between axes up to this are rounding or slight tilt: the nearest rotation is used.
MAX_SHEAR = 0.02
# A table is a few metres long. Beyond 100 m, float32 headers lose hundredths of a millimetre.
MAX_ORIGIN_MM = 1e5


def check_size(shape: Shape) -> None:
    """Refuse, before any memory is taken, shapes (z, y, x) that no CT has. Raises HeaderError."""
    size = " x ".join(str(n) for n in shape[::-1])
    if max(shape) > MAX_AXIS or math.prod(shape) > MAX_VOXELS:
        raise HeaderError(
            f"claims {size} voxels (limits: {MAX_AXIS} per axis, {MAX_VOXELS} in all)",
            "crop the scan to the abdomen",
        )
    if min(shape) < 1:
        raise HeaderError(f"has an empty or negative axis: {size}")
    if min(shape) < 2:
        raise HeaderError(f"is a single slice ({size})", "give a 3D scan")


def check_spacing(spacing: npt.NDArray[np.float64]) -> None:
    """Refuse spacings in mm that are no numbers or out of all proportion. Raises HeaderError."""
    low, high = MIN_SPACING_MM, MAX_SPACING_MM
    if not (np.isfinite(spacing).all() and (spacing >= low).all() and (spacing <= high).all()):
        text = " x ".join(f"{s:g}" for s in spacing)
        raise HeaderError(f"has a spacing of {text} mm (accepted: {low:g} to {high:g})")


def check_grid(grid: Grid) -> None:
    """Refuse grids that no CT has, whichever file or array they come with. Raises HeaderError."""
    check_size(grid.shape)
    check_spacing(np.array(grid.spacing[::-1]))
    check_extent(grid)
    check_origin(np.array(grid.origin))
    check_axes(np.array(grid.direction).reshape(3, 3))


def check_extent(grid: Grid) -> None:
    if max(grid.extent_mm) > MAX_EXTENT_MM:
        size = " x ".join(f"{mm:.0f}" for mm in grid.extent_mm[::-1])
        raise HeaderError(
            f"claims a field of view of {size} mm (limit: {MAX_EXTENT_MM:g})",
            "correct its spacing, or crop it to the abdomen",
        )


def unlikely_extent(grid: Grid) -> list[str]:
    """A warning where the field of view suggests a spacing in another unit than mm."""
    low, high = LIKELY_EXTENT_MM
    if low <= sorted(grid.extent_mm)[1] <= high:
        return []
    size = " x ".join(f"{mm:.0f}" for mm in grid.extent_mm[::-1])
    return [f"the field of view is {size} mm: its spacing may be in another unit"]


def unset_geometry(grid: Grid) -> list[str]:
    """A warning where the geometry is what arrays get that are saved without one."""
    matrix = np.abs(np.array(grid.direction))
    aligned = bool(((matrix == 0) | (matrix == 1)).all())
    if grid.spacing != (1.0, 1.0, 1.0) or any(grid.origin) or not aligned:
        return []
    return ["its spacing is 1 x 1 x 1 mm and its origin 0: the true geometry may be missing"]


def check_axes(matrix: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Refuse axes (columns) that are far from unit vectors at right angles.

    Returns:
        The largest cosine between two of them, and how far the worst length is from 1.

    Raises:
        HeaderError: they are singular, no numbers, or too far off.
    """
    if not abs(np.linalg.det(matrix)) > 0.1:
        raise HeaderError("states no usable orientation (its axes are singular or no numbers)")
    sizes = np.linalg.norm(matrix, axis=0)
    worst = float(sizes[np.abs(sizes - 1).argmax()])
    if not abs(worst - 1) <= MAX_SHEAR:
        raise HeaderError(f"has axes that are no unit vectors (length {worst:.3f})")
    unit = matrix / sizes
    shear = float(np.abs(unit.T @ unit - np.eye(3)).max())
    check_shear(shear)
    return shear, abs(worst - 1)


def check_shear(shear: float) -> None:
    if not shear <= MAX_SHEAR:
        raise HeaderError(
            f"has axes that are not at right angles (cosine {shear:.3f})",
            "resample the scan to a rectangular grid (gantry tilt correction)",
        )


def check_origin(origin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not np.isfinite(origin).all():
        raise HeaderError("has an origin that is not a number")
    if np.abs(origin).max() > MAX_ORIGIN_MM:
        text = " ".join(f"{value:g}" for value in origin)
        raise HeaderError(f"has an origin of {text} mm (accepted: up to {MAX_ORIGIN_MM:g})")
    return origin
