"""HU within each label: mean, standard deviation, percentiles, from exact histograms."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..labels import NAMES
from ..machine.threads import in_chunks
from ..steps.boxes import bounding_box
from ..types import Image, Labels

_ROWS = max(NAMES) + 1
# Voxels that are gathered before they are counted: 8 MB of indices.
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Hounsfield:
    """HU of a label's voxels.

    Attributes:
        mean, sd: SD of the voxels themselves (division by their number).
        p5, p50, p95: percentiles, interpolated between values as numpy.percentile does.
    """

    mean: float
    sd: float
    p5: float
    p50: float
    p95: float


def hounsfield_by_label(labels_ZYX: Labels, image_ZYX: Image) -> dict[int, Hounsfield]:
    """HU statistics of every label that is there.

    Args:
        labels_ZYX: values of inference.labels.NAMES.
        image_ZYX: HU of the same voxels, int16 or float32.

    Returns:
        By label. They do not hang on the voxels' order: of a scan that is turned, the same.
    """
    if not labels_ZYX.any():
        return {}
    box = bounding_box(labels_ZYX != 0)
    labels_ZYX, image_ZYX = labels_ZYX[box], image_ZYX[box]
    if image_ZYX.dtype != np.int16:
        return _of_floats(labels_ZYX, image_ZYX)
    lowest, highest = int(image_ZYX.min()), int(image_ZYX.max())
    found = {}
    for label, counts in enumerate(_histograms(labels_ZYX, image_ZYX, lowest, highest)):
        values = np.flatnonzero(counts)
        if len(values):
            found[label] = _summary(values + lowest, counts[values])
    return found


def _histograms(
    labels_ZYX: Labels, image_ZYX: Image, lowest: int, highest: int
) -> npt.NDArray[np.int64]:
    """How many voxels of each label (rows) have each value from ``lowest`` to ``highest``."""
    width = highest - lowest + 1
    total = np.zeros(_ROWS * width, np.int64)
    adding = threading.Lock()

    def count(codes: list[npt.NDArray[np.int32]]) -> None:
        counts = np.bincount(np.concatenate(codes), minlength=len(total))
        with adding:
            np.add(total, counts, out=total)

    def planes(first: int, last: int) -> None:
        codes: list[npt.NDArray[np.int32]] = []
        waiting = 0
        for labels_YX, image_YX in zip(labels_ZYX[first:last], image_ZYX[first:last], strict=True):
            inside = labels_YX != 0
            values = image_YX[inside].astype(np.int32) - lowest
            codes.append(labels_YX[inside] * np.int32(width) + values)
            waiting += len(values)
            if waiting >= _AT_ONCE:
                count(codes)
                codes, waiting = [], 0
        if codes:
            count(codes)

    in_chunks(planes, len(labels_ZYX))
    return total.reshape(_ROWS, width)


def _of_floats(labels_ZYX: Labels, image_ZYX: Image) -> dict[int, Hounsfield]:
    inside = labels_ZYX != 0
    labels, image = labels_ZYX[inside], image_ZYX[inside]
    return {
        int(label): _summary(*np.unique(image[labels == label], return_counts=True))
        for label in np.unique(labels)
    }


def _summary(values: npt.NDArray[np.generic], counts: npt.NDArray[np.int64]) -> Hounsfield:
    """Of ascending values and how often each occurs."""
    hu = values.astype(np.float64)
    total = int(counts.sum())
    mean = float(hu @ counts) / total
    sd = float(np.sqrt((hu - mean) ** 2 @ counts / total))
    ends = np.cumsum(counts)

    def percentile(share: float) -> float:
        place = share * (total - 1)
        low, high = hu[np.searchsorted(ends, [math.floor(place), math.ceil(place)], side="right")]
        return float(low + (high - low) * (place - math.floor(place)))

    return Hounsfield(mean, sd, percentile(0.05), percentile(0.5), percentile(0.95))
