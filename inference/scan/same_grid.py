"""Labels that lie on a scan's grid in another axis order, brought to the scan's own order."""

from __future__ import annotations

import itertools

import numpy as np

from ..errors import HeaderError
from ..grid import Grid
from ..types import Labels

# Corners may be this far off, in parts of the smallest voxel side: what float32 and rounded
# headers make, and far from the half voxel by which conventions differ.
_TOLERANCE = 0.1
_SAME_AXIS = 0.99  # cosine


def labels_on(labels_ZYX: Labels, grid: Grid, target: Grid) -> Labels:
    """The labels in the axis order of ``target``: a view, turned and flipped, nothing resampled.

    Raises:
        HeaderError: the voxels of ``grid`` are not those of ``target``.
    """
    remedy = "resample the labels to the scan's grid, by nearest neighbour"
    cosines = _matrix(target).T @ _matrix(grid)
    nearest = np.abs(cosines).argmax(1)  # for each axis (x, y, z) of the scan, that of the labels
    largest = cosines[range(3), nearest]
    if sorted(nearest) != [0, 1, 2] or np.abs(largest).min() < _SAME_AXIS:
        raise HeaderError("does not lie on the scan's grid: its axes point elsewhere", remedy)
    axes = tuple(2 - int(axis) for axis in nearest[::-1])
    view = labels_ZYX.transpose(axes)
    if view.shape != target.shape:
        shapes = (" x ".join(map(str, shape[::-1])) for shape in (view.shape, target.shape))
        raise HeaderError(
            "does not lie on the scan's grid: it has {} voxels, the scan {}".format(*shapes), remedy
        )
    flips = [bool(value < 0) for value in largest[::-1]]
    distance = _distance(grid, target, axes, flips)
    if not distance <= _TOLERANCE * min(target.spacing):
        raise HeaderError(
            f"does not lie on the scan's grid: corners are {distance:.3g} mm apart", remedy
        )
    z, y, x = (slice(None, None, -1) if flip else slice(None) for flip in flips)
    return view[z, y, x]


def _matrix(grid: Grid) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.array(grid.direction, float).reshape(3, 3)


def _distance(grid: Grid, target: Grid, axes: tuple[int, ...], flips: list[bool]) -> float:
    """The largest distance in mm between the places of one corner voxel on both grids."""
    worst = 0.0
    for ends in itertools.product((False, True), repeat=3):
        index = [n - 1 if end else 0 for n, end in zip(target.shape, ends, strict=True)]
        there = [0, 0, 0]
        for axis, flip, i, n in zip(axes, flips, index, target.shape, strict=True):
            there[axis] = n - 1 - i if flip else i
        a, b = (
            target.physical((index[0], index[1], index[2])),
            grid.physical((there[0], there[1], there[2])),
        )
        worst = max(worst, float(np.linalg.norm(a - b)))
    return worst
