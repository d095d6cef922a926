"""What is where in the patient, and how far a volume is from it. Needs NumPy alone.

The HU of the tissue grow along a gradient, so that every voxel says where it truly lies: where a
tool says that it lies differs from that by the distance along the gradient.
"""

from __future__ import annotations

import numpy as np

CENTRE = np.array([10.0, -180.0, -700.0])  # a scanner's coordinates seldom begin at 0
GRADIENT = np.array([0.9, 0.7, 1.3])  # HU per mm
LATER_HU = 400.0  # of a second pass: contrast has come
_LABELLED = {1: (22, 5, 8), 2: (-18, 14, -6), 3: (4, -20, 11), 4: (-6, -8, -14)}
_HALF_MM = 7.5


def contents(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """HU at places in the patient, mm: an ellipsoid of tissue in air."""
    dx, dy, dz = x - CENTRE[0], y - CENTRE[1], z - CENTRE[2]
    hu = GRADIENT[0] * dx + GRADIENT[1] * dy + GRADIENT[2] * dz
    return np.rint(np.where(_within(dx, dy, dz, 1.0), hu, -1000))


def _within(dx: np.ndarray, dy: np.ndarray, dz: np.ndarray, size: float) -> np.ndarray:
    return dx**2 / 40**2 + dy**2 / 40**2 + dz**2 / 34**2 < size**2


def labels_at(points: np.ndarray) -> np.ndarray:
    """Labels 1 to 4, cubes of 15 mm, at places (..., 3) in the patient."""
    labels = np.zeros(points.shape[:-1], np.uint8)
    for value, centre in _LABELLED.items():
        off = np.abs(points - CENTRE - np.array(centre, float)).max(-1)
        labels[off <= _HALF_MM] = value
    return labels


def misplaced_mm(voxels: np.ndarray, points: np.ndarray) -> float:
    """How far the tissue lies at least from where a volume says: its worst hundredth.

    Args:
        voxels: HU.
        points: (..., 3) where they are said to lie, mm, LPS.

    Returns:
        mm; infinite where there is no tissue, or another pass's beside the first's.
    """
    relative = points - CENTRE
    inside = _within(*np.moveaxis(relative, -1, 0), 0.8)
    if not inside.any():
        return float("inf")
    off = voxels[inside] - relative[inside] @ GRADIENT
    if np.median(off) > LATER_HU / 2:
        off = off - LATER_HU
    return float(np.percentile(np.abs(off), 99) / np.linalg.norm(GRADIENT))
