"""Where the organs are, by a small network's labels: only there need a larger one look closely.

And whether there are any: what two networks see alike is there; what each sees elsewhere is noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..grid import Grid
from ..labels import NAMES, ORGANS, TUMOR
from ..types import Box, Labels
from .components import Pieces
from .resample import gather_labels, nearest_taps

# With less of organs than this, the small network has not understood the scan.
_LEAST_ML = 200.0
# A piece that is smaller beside the largest of its organ is an error and makes no box larger.
_ISLAND = 0.1

# Agreement of two networks about an organ that best parts well drawn ones (DSC of 0.7 and more)
# from others on the scans of docs/doubts.md. Both networks are unsure of small organs' borders, and
# of adrenal glands it tells little.
AGREED: dict[int, float] = {
    1: 0.68, 2: 0.86, 3: 0.82, 4: 0.66, 5: 0.75, 6: 0.66, 7: 0.50, 8: 0.58, 9: 0.26, 10: 0.54,
    11: 0.72, 12: 0.60, 13: 0.84,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run has seen on the way that tells whether its labels may be believed.

    Attributes:
        agreement: Dice coefficient of two networks about each organ that either shows; empty where
            one alone has looked.
        found_ml: volume of each organ as the first of them shows it.
        clipped: organs that reach the border of the box that was looked at, inside the scan.
        left_out_ml: volume of organs that were drawn and taken for none.
    """

    agreement: Mapping[int, float] = field(default_factory=dict)
    found_ml: Mapping[int, float] = field(default_factory=dict)
    clipped: tuple[int, ...] = ()
    left_out_ml: Mapping[int, float] = field(default_factory=dict)


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


def agreement(small_ZYX: Labels, large_ZYX: Labels) -> float:
    """Agreement of two networks about a scan: the Dice coefficient of all organs together.

    Twice the voxels that both give the same organ, over all that either gives any. Tumours do not
    count. On 26 real CTs the bundled models reach 0.6 to 0.9, in a head or legs less than 0.1
    (docs/reliability.md).

    Args:
        small_ZYX, large_ZYX: labels over one field of view; the second on a grid of any shape,
            whose voxels nearest to the first's are looked at.

    Returns:
        0 to 1; 1 where there are no organs at all.
    """
    return _overall(_shared(small_ZYX, large_ZYX))


def agreements(
    small_ZYX: Labels, large_ZYX: Labels, grid: Grid
) -> tuple[float, dict[int, float], dict[int, float]]:
    """As :func:`agreement`, and organ by organ.

    Args:
        grid: of the scan, whose field of view the labels cover.

    Returns:
        (overall, Dice coefficient of each organ that either shows, ml of each in the first).
    """
    shared = _shared(small_ZYX, large_ZYX)
    ml = grid.voxel_ml * np.prod(grid.shape) / small_ZYX.size
    one, other = shared.sum(axis=1), shared.sum(axis=0)
    by_organ = {
        organ: float(2 * shared[organ, organ] / (one[organ] + other[organ]))
        for organ in ORGANS
        if one[organ] + other[organ]
    }
    found_ml = {organ: float(ml * one[organ]) for organ in ORGANS if one[organ]}
    return _overall(shared), by_organ, found_ml


def _overall(shared: npt.NDArray[np.int64]) -> float:
    """The Dice coefficient of all organs together, of a table as :func:`_shared` gives it."""
    organs = list(ORGANS)
    either = shared[organs].sum() + shared[:, organs].sum()
    both = shared[organs, organs].sum()
    return float(2 * both / either) if either else 1.0


def _shared(small_ZYX: Labels, large_ZYX: Labels) -> npt.NDArray[np.int64]:
    """How many voxels have one label (row) in the first and another (column) in the second."""
    z, y, x = (nearest_taps(n, m) for n, m in zip(large_ZYX.shape, small_ZYX.shape, strict=True))
    other_ZYX = np.empty_like(small_ZYX)
    gather_labels(large_ZYX, z, y, x, other_ZYX)
    count = max(NAMES) + 1
    codes = small_ZYX.ravel() * np.uint8(count) + other_ZYX.ravel()  # below 256
    return np.bincount(codes, minlength=count**2).reshape(count, count)


def clipped_organs(labels_ZYX: Labels, inside: Box) -> tuple[int, ...]:
    """Organs that reach a face of the box ``inside``, where there is more scan behind it."""
    reached: set[int] = set()
    for axis, (side, n) in enumerate(zip(inside, labels_ZYX.shape, strict=True)):
        planes = [side.start] * (side.start > 0) + [side.stop - 1] * (side.stop < n)
        for plane in planes:
            reached.update(np.unique(labels_ZYX.take(plane, axis)).tolist())
    return tuple(organ for organ in ORGANS if organ in reached)
