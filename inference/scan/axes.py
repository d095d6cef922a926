"""Axes that are not quite at right angles: the nearest rotation, and where the scan truly lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..grid import Direction, Grid
from .limits import check_axes

# Cosines below this are the rounding of written numbers.
ROUNDING = 1e-4


def direction_of(matrix: npt.NDArray[np.float64]) -> Direction:
    """A 3x3 matrix as a grid has it, row-major."""
    a, b, c, d, e, f, g, h, i = (float(v) + 0.0 for v in matrix.ravel())
    return (a, b, c, d, e, f, g, h, i)


def nearest_rotation(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The orthonormal matrix, handedness kept, that is nearest to ``matrix`` (its polar factor)."""
    u, _, vt = np.linalg.svd(matrix)
    rotation: npt.NDArray[np.float64] = u @ vt
    return rotation


@np.errstate(over="ignore", invalid="ignore")  # what is no number is refused by name
def straighten(grid: Grid) -> tuple[Grid, npt.NDArray[np.float64] | None, tuple[str, ...]]:
    """A grid at right angles in place of one that may be slightly sheared.

    Returns:
        The grid, turned about the scan's centre, or ``grid`` itself where it needs nothing; then
        the exact affine (3x4, LPS, index (x, y, z) to millimetres), and warnings: how far off the
        grid lies at most, lengths that went into the spacing.

    Raises:
        HeaderError: the axes are too far from right angles or from unit vectors, or singular.
    """
    matrix = np.array(grid.direction, dtype=np.float64).reshape(3, 3)
    shear, stretch = check_axes(matrix)
    if max(shear, stretch) <= ROUNDING:
        return grid, None, ()
    spacing_XYZ = np.array(grid.spacing[::-1])
    exact = matrix * spacing_XYZ
    lengths = np.linalg.norm(exact, axis=0)
    rotation = nearest_rotation(exact / lengths)
    half = (np.array(grid.shape[::-1]) - 1) / 2
    origin = np.array(grid.origin) + (exact - rotation * lengths) @ half
    corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1) * half[:, None]
    off = float(np.linalg.norm((exact - rotation * lengths) @ corners, axis=0).max())
    straight = replace(
        grid,
        spacing=(float(lengths[2]), float(lengths[1]), float(lengths[0])),
        origin=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=direction_of(rotation),
    )
    notes = []
    if stretch > ROUNDING:
        notes.append(
            f"the axes are not quite unit vectors (off by {stretch:.4f}): taken into the spacing"
        )
    if shear > ROUNDING:
        notes.append(
            f"the axes are slightly sheared (cosine {shear:.4f}): the nearest rotation is used, "
            f"up to {off:.1f} mm off"
        )
    return straight, np.column_stack((exact, grid.origin)), tuple(notes)
