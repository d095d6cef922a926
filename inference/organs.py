"""Where the organs are, by a small network's labels: only there need a larger one look closely."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.grid import Grid
from inference.labels import TUMOR
from inference.pieces import Pieces
from inference.windows import Box

# With less of organs than this, the small network has not understood the scan.
_LEAST_ML = 200.0
# A piece that is smaller beside the largest of its organ is an error and makes no box larger.
_ISLAND = 0.1


def organ_box(labels_ZYX: npt.NDArray[np.uint8], grid: Grid, margin_mm: float) -> Box | None:
    """The box of all organs, with a margin; tumours, which a small network invents, do not count.

    Args:
        labels_ZYX: labels of the scan on any grid that covers its field of view.
        grid: of the scan.
        margin_mm: on every side.

    Returns:
        The box in voxels of ``grid``; None where the labels hold too little to go by.
    """
    coarse_ml = grid.voxel_ml * np.prod(grid.shape) / labels_ZYX.size
    if np.count_nonzero((labels_ZYX > 0) & (labels_ZYX < TUMOR)) * coarse_ml < _LEAST_ML:
        return None
    pieces = Pieces.of(labels_ZYX)
    wanted = ~pieces.small(_ISLAND) & (pieces.labels != TUMOR)
    runs = pieces.runs.part(wanted[pieces.numbers])
    low = [runs.z.min(), runs.y.min(), runs.first.min()]
    high = [runs.z.max() + 1, runs.y.max() + 1, runs.last.max() + 1]
    sides = []
    for start, stop, count, n, spacing in zip(
        low, high, labels_ZYX.shape, grid.shape, grid.spacing, strict=True
    ):
        first = start * n / count - margin_mm / spacing
        last = stop * n / count + margin_mm / spacing
        sides.append(slice(max(0, int(np.floor(first))), min(n, int(np.ceil(last)))))
    return (sides[0], sides[1], sides[2])
