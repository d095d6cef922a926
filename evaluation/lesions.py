"""Lesion-wise detection: which tumours a prediction finds, misses and makes up, by size.

A lesion is a 26-connected component of the tumour's voxels. One of the prediction *hits* one of the
reference where their intersection over union is at least 0.10. Hits are made one-to-one, first as
many as there can be, then with the largest overlap. A lesion of the reference without a hit is
missed; one of the prediction that could hit none is a false positive; one that could, but whose
lesion another one hits, is a fragment and counts as neither. This is the definition of the
challenges PI-CAI and PANORAMA (Saha et al., Lancet Oncology 2024;25:879; ``evaluate_case`` of
https://github.com/DIAGNijmegen/picai_eval, with its defaults).

Sizes are diameters of the sphere of a lesion's volume. The classes' bounds are RECIST's: 10 mm is
the least measurable target lesion on CT, 20 mm that by conventional techniques (Eisenhauer et al.,
European Journal of Cancer 2009;45:228). RECIST measures the longest axial diameter, which is larger
for a lesion that is no sphere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from evaluation.surface import bounding_box
from inference.types import Triple

MINIMUM_IOU = 0.10
SMALL_MM, LARGE_MM = 10.0, 20.0
ALL, SMALL, MEDIUM, LARGE = "all", "<10 mm", "10-20 mm", ">20 mm"
SIZES = (ALL, SMALL, MEDIUM, LARGE)
DETECTED, MISSED, FALSE_POSITIVE, FRAGMENT = "detected", "missed", "false positive", "fragment"
_CONNECTED_26 = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Lesion:
    """One lesion of the reference (detected, missed) or of the prediction (the others).

    Attributes:
        outcome: ``detected``, ``missed``, ``false positive`` or ``fragment``.
        volume_ml: of itself.
        diameter_mm: of the sphere of that volume.
        iou: intersection over union with its hit; of what has none, the largest with any lesion of
            the other label map.
    """

    outcome: str
    volume_ml: float
    diameter_mm: float
    iou: float

    @property
    def size(self) -> str:
        """Its class of diameters: ``<10 mm``, ``10-20 mm`` (both included) or ``>20 mm``."""
        if self.diameter_mm < SMALL_MM:
            return SMALL
        return LARGE if self.diameter_mm > LARGE_MM else MEDIUM


@dataclass(frozen=True)
class Counts:
    """Lesions of one case or many, of one size or all.

    Attributes:
        references: of the reference; its size counts.
        detected: of them, the ones that are hit.
        false_positives: of the prediction; its size counts.
    """

    references: int
    detected: int
    false_positives: int


def find_lesions(
    pred_ZYX: NDArray[np.bool_], ref_ZYX: NDArray[np.bool_], spacing_ZYX: Triple
) -> list[Lesion]:
    """The lesions of two masks: those of the reference, then those of the prediction without a hit.

    Args:
        pred_ZYX: predicted tumours.
        ref_ZYX: reference tumours, of the same shape.
        spacing_ZYX: voxel size along (z, y, x) in millimetres.

    Raises:
        ValueError: the shapes differ.
    """
    if pred_ZYX.shape != ref_ZYX.shape:
        raise ValueError(f"masks of different shapes: {pred_ZYX.shape} and {ref_ZYX.shape}")
    box = bounding_box(pred_ZYX | ref_ZYX)
    if box is None:
        return []
    pred, predicted = ndimage.label(pred_ZYX[box], _CONNECTED_26)
    ref, references = ndimage.label(ref_ZYX[box], _CONNECTED_26)
    pred_voxels = np.bincount(pred.ravel(), minlength=predicted + 1)[1:]
    ref_voxels = np.bincount(ref.ravel(), minlength=references + 1)[1:]
    overlaps = _overlaps(ref, ref_voxels, pred, pred_voxels)
    hits = _hits(overlaps)
    found = {int(overlaps.ref[pair]): float(overlaps.iou[pair]) for pair in hits}
    best_ref, best_pred = np.zeros(references), np.zeros(predicted)
    np.maximum.at(best_ref, overlaps.ref, overlaps.iou)
    np.maximum.at(best_pred, overlaps.pred, overlaps.iou)
    voxel_ml = math.prod(spacing_ZYX) / 1000
    lesions = [
        _lesion(DETECTED if n in found else MISSED, voxels * voxel_ml, found.get(n, best_ref[n]))
        for n, voxels in enumerate(ref_voxels.tolist())
    ]
    hit = {int(overlaps.pred[pair]) for pair in hits}
    for n, voxels in enumerate(pred_voxels.tolist()):
        if n not in hit:
            outcome = FRAGMENT if best_pred[n] >= MINIMUM_IOU else FALSE_POSITIVE
            lesions.append(_lesion(outcome, voxels * voxel_ml, best_pred[n]))
    return lesions


def count_lesions(lesions: Iterable[Lesion], size: str = ALL) -> Counts:
    """How many of one size there are of each outcome."""
    outcomes = [lesion.outcome for lesion in lesions if size in (ALL, lesion.size)]
    detected = outcomes.count(DETECTED)
    return Counts(
        detected + outcomes.count(MISSED),
        detected,
        outcomes.count(FALSE_POSITIVE),
    )


def diameter_mm(volume_ml: float) -> float:
    """Diameter of the sphere of a volume."""
    return float((6000 * volume_ml / math.pi) ** (1 / 3))


def _lesion(outcome: str, volume_ml: float, iou: float) -> Lesion:
    return Lesion(outcome, volume_ml, diameter_mm(volume_ml), float(iou))


@dataclass(frozen=True)
class _Overlaps:
    """Pairs of lesions that touch: their numbers, from 0 on, and intersection over union."""

    ref: NDArray[np.intp]
    pred: NDArray[np.intp]
    iou: NDArray[np.float64]


def _overlaps(
    ref_ZYX: NDArray[np.int32],
    ref_voxels: NDArray[np.intp],
    pred_ZYX: NDArray[np.int32],
    pred_voxels: NDArray[np.intp],
) -> _Overlaps:
    both = (ref_ZYX > 0) & (pred_ZYX > 0)
    pairs = np.stack((ref_ZYX[both], pred_ZYX[both])) - 1
    (ref, pred), common = np.unique(pairs, axis=1, return_counts=True)
    union = ref_voxels[ref] + pred_voxels[pred] - common
    return _Overlaps(ref, pred, common / union)


def _hits(overlaps: _Overlaps) -> list[int]:
    """Numbers of the pairs that are hits."""
    pairs = np.flatnonzero(overlaps.iou >= MINIMUM_IOU)
    rows, row = np.unique(overlaps.ref[pairs], return_inverse=True)
    columns, column = np.unique(overlaps.pred[pairs], return_inverse=True)
    number = np.full((len(rows), len(columns)), -1)
    number[row, column] = pairs
    # All overlaps together are worth less than one hit more.
    worth = np.zeros(number.shape)
    iou = overlaps.iou[pairs]
    worth[row, column] = 1 + iou / (1 + iou.sum())
    chosen = number[linear_sum_assignment(worth, maximize=True)]
    return [int(pair) for pair in chosen if pair >= 0]
