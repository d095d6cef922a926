"""What every scan that is accepted must be."""

from __future__ import annotations

import math

import numpy as np

from inference.grid import Orientation
from inference.scan.volume import Volume


def assert_sound(volume: Volume) -> None:
    """Whatever the header said, this can be segmented."""
    grid = volume.grid
    assert volume.voxels_ZYX.shape == grid.shape
    assert volume.voxels_ZYX.dtype in (np.int16, np.float32)
    assert np.isfinite(volume.voxels_ZYX).all()
    assert all(math.isfinite(v) and v > 0 for v in grid.spacing)
    assert all(math.isfinite(v) for v in grid.origin)
    matrix = np.array(grid.direction).reshape(3, 3)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-3)
    orientation = Orientation.of(grid.direction)
    assert orientation.invert(orientation.apply(volume.voxels_ZYX)).shape == grid.shape
