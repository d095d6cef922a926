"""Agreement of two surfaces: the normalised surface distance (NSD), also called surface Dice.

The definition is google-deepmind/surface-distance's, and so are the values (see the tests). What
differs is the work: the package takes two Euclidean distance transforms of the whole bounding box,
while here only the surfels that are not common to both surfaces look for a neighbour, in a k-d tree
and no further than the tolerance.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from evaluation.surfels import neighbourhoods, on_surface, surfel_areas
from inference.types import Box, Triple


def nsd(
    pred_ZYX: NDArray[np.bool_],
    ref_ZYX: NDArray[np.bool_],
    spacing_ZYX: Triple,
    tolerance_mm: float,
) -> float:
    """Share of both surfaces' area that lies within a tolerance of the other surface.

    A surface is a set of surfels on the corners between voxels (see :mod:`evaluation.surfels`); the
    border of the array bounds a mask that touches it. Distances are those between surfels.

    Args:
        pred_ZYX: boolean mask, (z, y, x).
        ref_ZYX: boolean mask of the same shape.
        spacing_ZYX: voxel size along (z, y, x) in millimetres.
        tolerance_mm: greatest distance that counts as agreement, in millimetres.

    Returns:
        0 to 1; 0 where one mask is empty, NaN where both are.

    Raises:
        ValueError: the masks are not three-dimensional booleans of one shape, a spacing is not
            positive, or the tolerance is negative.
    """
    _check(pred_ZYX, ref_ZYX, spacing_ZYX, tolerance_mm)
    box = bounding_box(pred_ZYX | ref_ZYX)
    if box is None:
        return math.nan
    z, y, x = (float(s) for s in spacing_ZYX)  # also of a list or an array, which no cache takes
    areas = surfel_areas((z, y, x))
    codes_pred, codes_ref = neighbourhoods(pred_ZYX[box]), neighbourhoods(ref_ZYX[box])
    surface_pred, surface_ref = on_surface(codes_pred), on_surface(codes_ref)
    near_area = total_area = 0.0
    for codes, surface, other in (
        (codes_pred, surface_pred, surface_ref),
        (codes_ref, surface_ref, surface_pred),
    ):
        total_area += float(areas[codes[surface]].sum())
        near_area += float(areas[codes[surface & other]].sum())
        apart = np.argwhere(surface & ~other)
        near = _within(apart, np.argwhere(other), spacing_ZYX, tolerance_mm)
        near_area += float(areas[codes[tuple(apart[near].T)]].sum())
    # Two sums of the same areas in a different order may differ in the last bit.
    return min(1.0, near_area / total_area)


def bounding_box(mask_ZYX: NDArray[np.bool_]) -> Box | None:
    """Smallest box (slices along z, y, x) that holds all of a mask; None for an empty mask."""
    found = []
    inner = mask_ZYX
    for axis in range(3):
        # The box so far is cut out first: the later axes then look at far fewer voxels.
        occupied = np.flatnonzero(inner.any(axis=tuple(a for a in range(3) if a != axis)))
        if occupied.size == 0:
            return None
        found.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
        inner = mask_ZYX[tuple(found)]
    return (found[0], found[1], found[2])


def _within(
    points: NDArray[np.intp], targets: NDArray[np.intp], spacing_ZYX: Triple, tolerance_mm: float
) -> NDArray[np.bool_]:
    """For each of N points, whether one of M targets lies within the tolerance.

    Args:
        points: integer (z, y, x) positions, shape (N, 3).
        targets: integer (z, y, x) positions, shape (M, 3).
        spacing_ZYX: millimetres per step along (z, y, x).
        tolerance_mm: greatest distance in millimetres, itself included.

    Returns:
        N booleans.
    """
    near = np.zeros(len(points), dtype=bool)
    if len(points) == 0 or len(targets) == 0:
        return near
    spacing = np.array(spacing_ZYX)
    tree = cKDTree(targets * spacing, balanced_tree=False, compact_nodes=False)
    # The tree's distances carry rounding errors, so it searches a little too far, and the distances
    # are taken again from whole steps, summed as x + y + z like the distance transform of the
    # package does on (x, y, z) arrays: at a distance equal to the tolerance the last bit counts.
    reach = tolerance_mm + 1e-6 * min(spacing_ZYX)
    _, nearest = tree.query(points * spacing, distance_upper_bound=reach)
    found = np.flatnonzero(nearest < len(targets))
    z, y, x = ((points[found] - targets[nearest[found]]) * spacing).T
    near[found] = np.sqrt(x * x + y * y + z * z) <= tolerance_mm
    return near


def _check(
    pred: NDArray[np.bool_], ref: NDArray[np.bool_], spacing: Triple, tolerance: float
) -> None:
    if pred.dtype != bool or ref.dtype != bool:
        raise ValueError(f"masks must be boolean, not {pred.dtype} and {ref.dtype}")
    if pred.shape != ref.shape or pred.ndim != 3:
        raise ValueError(f"masks must be 3D and of one shape, not {pred.shape} and {ref.shape}")
    if len(spacing) != 3 or not all(s > 0 for s in spacing):
        raise ValueError(f"spacing must be three positive lengths in mm, not {spacing}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must not be negative: {tolerance} mm")
