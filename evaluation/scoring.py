"""DSC and NSD of every class of one case."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.dice import dice
from evaluation.rules import MODES, PARTLY_LABELLED, Rules
from evaluation.surface import nsd
from inference.labels import NAMES
from inference.types import Box, Triple

Score = tuple[float, float]


def evaluate_case(
    pred_ZYX: NDArray[np.integer],
    ref_ZYX: NDArray[np.integer],
    spacing_ZYX: Triple,
    annotated: Collection[int] | None = None,
    mode: str = "default",
) -> dict[int, Score]:
    """DSC and NSD of each class that the reference annotates.

    Args:
        pred_ZYX: predicted label map, integers 0..14, (z, y, x) with z along the body.
        ref_ZYX: reference label map of the same shape.
        spacing_ZYX: voxel size along (z, y, x) in millimetres.
        annotated: labels that the reference annotates; None for all 14. The others are unknown
            rather than absent, and get no score.
        mode: ``default`` or ``flare23`` (see :mod:`evaluation.rules`).

    Returns:
        (DSC, NSD) by label, in label order. 1 and 1 where both lack the class, 0 and 0 where one
        does; NaN and NaN only in ``flare23`` mode, for an aorta, inferior vena cava or esophagus
        that the reference labels in a single slice.

    Raises:
        ValueError: the arrays are not 3D integers of one shape, a value is no label, a spacing is
            not positive, or the mode or an annotated label is unknown.
    """
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: choose from {', '.join(MODES)}")
    wanted = sorted(NAMES if annotated is None else set(annotated))
    if not set(wanted) <= set(NAMES):
        raise ValueError(f"annotated labels must lie in 1..{max(NAMES)}: {wanted}")
    if pred_ZYX.shape != ref_ZYX.shape or pred_ZYX.ndim != 3:
        raise ValueError(
            f"label maps must be 3D and of one shape, not {pred_ZYX.shape} and {ref_ZYX.shape}"
        )
    pred, ref = _as_labels(pred_ZYX), _as_labels(ref_ZYX)
    boxes_pred: list[Box | None] = ndimage.find_objects(pred, max_label=max(NAMES))
    boxes_ref: list[Box | None] = ndimage.find_objects(ref, max_label=max(NAMES))
    return {
        label: _score(
            label, pred, ref, boxes_pred[label - 1], boxes_ref[label - 1], spacing_ZYX, MODES[mode]
        )
        for label in wanted
    }


def _score(
    label: int,
    pred_ZYX: NDArray[np.uint8],
    ref_ZYX: NDArray[np.uint8],
    box_pred: Box | None,
    box_ref: Box | None,
    spacing_ZYX: Triple,
    rules: Rules,
) -> Score:
    """(DSC, NSD) of one label, given the boxes that hold it in either label map."""
    if box_pred is None and box_ref is None:
        return 1.0, 1.0
    if box_pred is None or box_ref is None:
        return 0.0, 0.0
    z, y, x = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(box_pred, box_ref, strict=True)
    )
    if label in PARTLY_LABELLED:
        z = slice(box_ref[0].start, box_ref[0].stop - (0 if rules.keeps_last_slice else 1))
    pred, ref = pred_ZYX[z, y, x] == label, ref_ZYX[z, y, x] == label
    dsc = dice(pred, ref)
    if math.isnan(dsc):
        return math.nan, math.nan
    distance = 0.0
    if dsc >= rules.nsd_needs_dsc:
        distance = nsd(pred, ref, spacing_ZYX, rules.tolerances_mm[label])
    return rounded(dsc, rules.decimals), rounded(distance, rules.decimals)


def rounded(value: float, decimals: int | None) -> float:
    """``value`` rounded as NumPy rounds its floats, or as it is without ``decimals``.

    The official script rounds NumPy floats. That is not Python's ``round``, which gives the decimal
    nearest to the exact binary value and so differs at some halves.
    """
    return value if decimals is None else float(np.round(np.float64(value), decimals))


def _as_labels(array: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The array as uint8, without a copy where it is that already; ValueError for no label."""
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"a label map holds integers, not {array.dtype}")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= max(NAMES):
        raise ValueError(
            f"labels must lie in 0..{max(NAMES)}, these lie in {array.min()}..{array.max()}"
        )
    return array.astype(np.uint8, copy=False)
