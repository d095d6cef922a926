"""Overlap of two volumes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def dice(pred: NDArray[np.bool_], ref: NDArray[np.bool_]) -> float:
    """Dice similarity coefficient (DSC) of two masks: twice the overlap over the sum of volumes.

    Args:
        pred: boolean mask of any shape.
        ref: boolean mask of the same shape.

    Returns:
        0 (no common voxel) to 1 (equal masks); NaN where both are empty.

    Raises:
        ValueError: the shapes differ.
    """
    if pred.shape != ref.shape:
        raise ValueError(f"masks of different shapes: {pred.shape} and {ref.shape}")
    total = np.count_nonzero(pred) + np.count_nonzero(ref)
    if total == 0:
        return math.nan
    return 2 * int(np.count_nonzero(pred & ref)) / int(total)
