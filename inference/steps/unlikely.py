"""Organs that are drawn where there is none, after a surgeon took them away.

A network that never misses an organ draws a bit of it in whatever lies in its place. What tells
such a bit: it is smaller than the organ, the two networks see different things in it, and no border
of the scan says where the rest might be. Stomachs are left alone, since what remains of one after
an operation looks like that, too. Limits: docs/doubts.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..grid import Grid
from ..labels import BACKGROUND, KIDNEYS, TUMOR
from ..types import Box, Image, Labels, Shape
from .boxes import bounding_box
from .organs import AGREED
from .resample import gather_labels, nearest_taps

# By label: ml from which on an organ is left alone.
_LARGE_ML = {2: 60.0, 3: 50.0, 9: 3.0, 13: 60.0}
# A kidney whose median is below this share of the other's, which contrast has reached, is none.
_PALE, _ENHANCED_HU = 0.5, 80.0


def clear_unlikely(
    labels_ZYX: Labels,
    image_ZYX: Image,
    grid: Grid,
    network: Shape,
    agreement: Mapping[int, float],
) -> dict[int, float]:
    """Turn organs that are none into background, in place.

    Args:
        labels_ZYX: on the scan's grid, z ascending to the head.
        image_ZYX: HU of the same voxels.
        grid: of both.
        network: shape (z, y, x) of the network's grid over the same field of view; decoded labels
            hold nothing that is smaller than its voxels.
        agreement: of two networks about organs (Dice coefficients); others are left alone.

    Returns:
        ml of each label that was cleared, in ascending order of labels.
    """
    asked = [k for k in _LARGE_ML if agreement.get(k, 1.0) < AGREED[k]]
    if not asked:
        return {}
    z, y, x = (nearest_taps(n, m) for n, m in zip(labels_ZYX.shape, network, strict=True))
    coarse = np.empty(network, np.uint8)
    gather_labels(labels_ZYX, z, y, x, coarse)
    ml = grid.voxel_ml * labels_ZYX.size / coarse.size

    def median_hu(label: int) -> float | None:
        places = np.nonzero(coarse == label)
        values = image_ZYX[z[places[0]], y[places[1]], x[places[2]]]
        return float(np.median(values)) if values.size else None

    cleared = {}
    for label in asked:
        own = coarse == label
        if not own.any():
            continue
        box = bounding_box(own)
        # A tumour that has taken an organ's place is a part of it here.
        room_ml = ml * np.count_nonzero(own[box] | (coarse[box] == TUMOR))
        if room_ml < _LARGE_ML[label] and (_inside(box, network) or _pale(label, median_hu)):
            labels_ZYX[labels_ZYX == label] = BACKGROUND
            cleared[label] = float(ml * np.count_nonzero(own))
    return cleared


def _inside(box: Box, shape: Shape) -> bool:
    """Whether the box reaches none of the scan's faces."""
    return all(side.start > 0 and side.stop < n for side, n in zip(box, shape, strict=True))


def _pale(label: int, median_hu: Callable[[int], float | None]) -> bool:
    """Whether it is a kidney, and the other one takes up contrast as this one does not."""
    if label not in KIDNEYS:
        return False
    own, other = median_hu(label), median_hu(sum(KIDNEYS) - label)
    return own is not None and other is not None and other > _ENHANCED_HU and own < _PALE * other
