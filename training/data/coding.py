"""Coded labels: one uint8 per voxel that can say organ, tumour, and tumour in an organ.

The low four bits hold the organ (0 for none, 1..13), :data:`TUMOR_BIT` says tumour. A label map
with the values 0..14 cannot do that, and the network must (paper section 2.2): pseudo-labels count
a tumour to the organ that it lies in.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from inference.labels import NAMES, ORGANS, TUMOR
from inference.steps.resample import linear_taps
from inference.types import Labels, Mask, Shape

TUMOR_BIT = 16
# Of a tumour's outer layer at least this share must be organ for it to lie in that organ.
HOST_SHARE = 0.2


def code_labels(labels_ZYX: Labels) -> Labels:
    """Organ plus tumour bit, from a label map with the values 0..14.

    A label map says tumour where an organ holds one. Each tumour is given to the organ that most
    of its outer neighbours belong to, so that the organ's channel is not taught a hole.
    """
    tumor = labels_ZYX == TUMOR
    coded = np.where(tumor, 0, labels_ZYX).astype(np.uint8)
    pieces, _ = ndimage.label(tumor)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        grown = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        piece = pieces[grown] == number
        shell = ndimage.binary_dilation(piece) & ~piece
        around = np.bincount(coded[grown][shell], minlength=len(NAMES))
        host = int(around[1:].argmax()) + 1
        if around[host] >= HOST_SHARE * around.sum():
            coded[grown][piece] = host
    labels: Labels = coded | (tumor * np.uint8(TUMOR_BIT))
    return labels


def only(coded_ZYX: Labels, annotated: Collection[int]) -> Labels:
    """Coded labels without the classes that are not annotated.

    They mean nothing, and would teach a loss that does not mask them.
    """
    known = np.array([value in annotated for value in range(TUMOR)])
    organs = coded_ZYX & (TUMOR_BIT - 1)
    kept = np.where(known[organs], organs, 0).astype(np.uint8)
    if TUMOR in annotated:
        kept |= coded_ZYX & np.uint8(TUMOR_BIT)
    return kept


def members(coded_ZYX: Labels, value: int) -> Mask:
    """Voxels of label ``value`` in coded labels."""
    assert value == TUMOR or value in ORGANS
    tumor = value == TUMOR
    found: Mask = coded_ZYX >= TUMOR_BIT if tumor else (coded_ZYX & (TUMOR_BIT - 1)) == value
    return found


def one_hot(coded_NZYX: Tensor) -> Tensor:
    """Coded labels as (N, 14, z, y, x) bool, channel c for label c + 1."""
    organs = torch.arange(1, TUMOR, device=coded_NZYX.device, dtype=torch.uint8)
    organ = (coded_NZYX[:, None] & (TUMOR_BIT - 1)) == organs.view(1, -1, 1, 1, 1)
    return torch.cat((organ, coded_NZYX[:, None] >= TUMOR_BIT), dim=1)


def resample_coded(labels_ZYX: Labels, shape: Shape) -> Labels:
    """Coded labels on another grid: the class whose trilinear share is largest.

    Smoother than the nearest voxel where a scan is much finer than the network's grid.
    """
    organs = labels_ZYX & (TUMOR_BIT - 1)
    best = np.zeros(shape, np.uint8)
    share = _share(organs == 0, shape)
    for organ in np.unique(organs[organs > 0]):
        other = _share(organs == organ, shape)
        better = other > share
        best[better] = organ
        share[better] = other[better]
    return best | ((_share(labels_ZYX >= TUMOR_BIT, shape) > 0.5) * np.uint8(TUMOR_BIT))


def _share(mask_ZYX: npt.NDArray[np.bool_], shape: Shape) -> npt.NDArray[np.float32]:
    out = mask_ZYX.astype(np.float32)
    for axis in range(3):
        taps = linear_taps(mask_ZYX.shape[axis], shape[axis])
        fraction = taps.fraction.reshape([-1 if a == axis else 1 for a in range(3)])
        lower = out.take(taps.lower, axis)
        out = lower + fraction * (out.take(taps.upper, axis) - lower)
    return out
