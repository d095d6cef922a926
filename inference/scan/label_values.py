"""Stored voxels as label values: whole numbers, also where a header scales them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..types import Labels

# What rounding to the stored type may have cost. nibabel spreads a float array over the whole range
# of an integer header's type, so that a label is off by up to half a slope: 0.028 for the labels
# 0..14 in 8 bits, 0.0001 in 16. A float array itself may be off by what resampling has cost.
_TOLERANCE = 0.01
_MOST = 0.05
_HIGHEST = 255
_CHUNK_VOXELS = 1 << 22


def label_values(
    stored: npt.NDArray[Any], slope: float = 1.0, intercept: float = 0.0
) -> tuple[Labels, str | None]:
    """Labels of any shape from stored values, and in words that they were rounded, if they were.

    Args:
        stored: integers or floats.
        slope, intercept: the header's; a value is ``stored * slope + intercept``.

    Raises:
        HeaderError: a value is NaN, infinite, outside 0..255 or no whole number.
    """
    scaled = (slope, intercept) != (1.0, 0.0)
    if stored.dtype == np.uint8 and not scaled:
        return stored, None
    if stored.dtype.kind not in "iuf":
        raise HeaderError(f"has voxels of type {stored.dtype}", "give a label map")
    with np.errstate(invalid="ignore"):
        ends = [float(end) * slope + intercept for end in (stored.min(), stored.max())]
    if not np.isfinite(ends).all():
        cause = "holds values that are no labels (NaN or infinite)"
        raise HeaderError(cause, "set those voxels to 0")
    for value in ends:
        if not -0.5 <= value <= _HIGHEST + 0.5:
            cause = f"holds values that are no labels 0..{_HIGHEST} ({value:g})"
            raise HeaderError(cause, "give a label map")
    if stored.dtype.kind in "iu" and not scaled:
        return stored.astype(np.uint8), None
    labels, off, worst = _rounded(stored, slope, intercept)
    tolerance = max(_TOLERANCE, min(_MOST, 0.51 * abs(slope))) if scaled else _TOLERANCE
    if off > tolerance:
        cause = f"holds values that are no labels ({worst:.6g})"
        if scaled:
            cause += f": its header scales them by {slope:g}"
            raise HeaderError(cause, "save the labels as uint8, without a slope")
        raise HeaderError(cause, "give a label map of whole numbers")
    if off == 0:
        return labels, None
    kind = f"stored with a slope of {slope:g}" if scaled else "no whole numbers"
    return labels, f"the labels are {kind} ({worst:.6g}); they were rounded"


def _rounded(
    stored: npt.NDArray[Any], slope: float, intercept: float
) -> tuple[Labels, float, float]:
    """Labels, how far the worst value is from a whole number, and that value."""
    labels = np.empty(stored.size, np.uint8)
    off, worst = 0.0, 0.0
    flat = stored.reshape(-1)
    for start in range(0, flat.size, _CHUNK_VOXELS):  # so that no float copy of all is kept
        values = flat[start : start + _CHUNK_VOXELS].astype(np.float32)
        values *= np.float32(slope)
        values += np.float32(intercept)
        whole = np.rint(values)
        labels[start : start + _CHUNK_VOXELS] = whole
        apart = np.abs(values - whole)
        furthest = int(apart.argmax())
        if apart[furthest] > off:
            off, worst = float(apart[furthest]), float(values[furthest])
    return labels.reshape(stored.shape), off, worst
