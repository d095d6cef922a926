"""The values of a scan: as HU, and what is odd about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..types import Image

# Above what metal reaches on an extended scale: no measured value.
_PADDING_HU = 31743
_PADDING_SHARE = 0.001
# Abdominal CT has fat and air, well below; bone or contrast, well above.
_SURELY_BELOW_HU, _SURELY_ABOVE_HU = -30.0, 300.0
# No CT has all its values in the range of one byte.
_GREY_LEVELS = 255
# Of what is denser than lung, fat and soft tissue are 0.76 or more in 43 scans of abdomen or chest;
# at most 0.38 where they are multiplied by 10, 0.13 where they lie 1024 too low.
_LUNG_HU, _TISSUE_HU = -700.0, (-150.0, 250.0)
_LEAST_TISSUE, _SURE_TISSUE = 0.5, 0.7
_SAMPLE, _LARGE = 1000, 1 << 20
# What they may be, and how far at least the outermost 0.5 % then reach: ten times bone or air does.
_OTHER_SCALES: tuple[tuple[str, Callable[[npt.NDArray[Any]], npt.NDArray[Any]], float], ...] = (
    ("they may lie 1024 below HU, an intercept applied twice", lambda values: values + 1024, 0),
    ("they may be HU times 10", lambda values: values / 10, 3000),
)
# Air and fat as they are and times 2. In 37 scans that show air it is 0.12 or more of what lies
# above the lowest value, and nothing lies around -2000; times 2 it is the other way round, and 0.01
# are left around -1000. Of fat 0.22 at most as much lies around -200 as around -100, times 2 at
# least 0.52. A constant is padding and no air, which has noise.
_AIR_HU, _AIR_TWICE_HU = (-1100.0, -900.0), (-2300.0, -1700.0)
_FAT_HU, _FAT_TWICE_HU = (-130.0, -70.0), (-260.0, -170.0)
_LEAST_AIR, _MOST_AIR_LEFT, _LEAST_FAT = 0.05, 0.2, 0.35


def hounsfield(stored: npt.NDArray[Any], slope: float, intercept: float) -> Image:
    """Stored values as HU: int16 where that is exact, else float32. Raises HeaderError."""
    if stored.dtype.kind in "iu":
        if slope == 1 and intercept == 0 and stored.dtype == np.int16:
            return stored  # native byte order: '<i2' == int16 on every machine that torch runs on
        low = float(stored.min()) * slope + intercept
        high = float(stored.max()) * slope + intercept
        whole = all(v == int(v) and abs(v) < 2**31 for v in (slope, intercept))
        if whole and min(low, high) >= -32768 and max(low, high) <= 32767:
            voxels = np.empty(stored.shape, np.int16)
            for z, plane in enumerate(stored):  # so that no wide copy of all is kept
                # What overflows on the way comes back: sums and products are those modulo 2^32.
                voxels[z] = plane.astype(np.int32) * int(slope) + int(intercept)
            return voxels
    elif stored.dtype.kind != "f":
        raise HeaderError(f"has voxels of type {stored.dtype}", "store HU as int16")
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused as such
        scaled = stored.astype(np.float32)
        if (slope, intercept) != (1.0, 0.0):
            scaled *= np.float32(slope)
            scaled += np.float32(intercept)
    return scaled


def check_contents(voxels_ZYX: Image) -> list[str]:
    """Oddities of the values, in words.

    Args:
        voxels_ZYX: HU in canonical order.

    Raises:
        HeaderError: NaN, infinity (or what float32 takes for it), or one value everywhere.
    """
    lowest, highest = float(voxels_ZYX.min()), float(voxels_ZYX.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        cause = "holds NaN or infinite voxels, or values beyond float32"
        raise HeaderError(cause, "replace them by air (-1024 HU)")
    if lowest == highest:
        raise HeaderError(f"holds nothing but the value {lowest:g}", "give a scan")
    found = (
        _scale(voxels_ZYX, lowest, highest),
        _padding(voxels_ZYX, highest),
        _blank_slices(voxels_ZYX),
    )
    return [note for note in found if note]


def _scale(voxels_ZYX: Image, lowest: float, highest: float) -> str | None:
    if highest - lowest <= _GREY_LEVELS:
        return (
            f"the values lie in {lowest:g} to {highest:g}: "
            "they may be grey levels or normalised, not HU"
        )
    step = 4 if voxels_ZYX.size >= _LARGE else 1
    sample = voxels_ZYX[::step, ::step, ::step]
    sample = sample[sample > lowest]  # the lowest value may be padding
    if sample.size and highest > _SURELY_ABOVE_HU:
        low = float(np.percentile(sample, 0.5))
        if low >= (0 if lowest >= 0 else _SURELY_BELOW_HU):
            return "no value lies below 0: HU may be stored with an offset of 1024"
    return None if sample.size < _SAMPLE else _other_scale(sample)


def _other_scale(sample: npt.NDArray[Any]) -> str | None:
    """What air, fat and soft tissue say of the scale."""
    if _twice(sample):
        return "air lies around -2000 and fat around -200: they may be HU times 2"
    if _tissue_share(sample) >= _LEAST_TISSUE:
        return None
    hu = sample.astype(np.float32)
    reach = float(np.abs(np.percentile(hu, (0.5, 99.5))).max())
    for cause, tried, least in _OTHER_SCALES:
        if reach >= least and _tissue_share(tried(hu)) >= _SURE_TISSUE:
            return f"hardly any value is that of soft tissue: {cause}"
    return "hardly any value is that of soft tissue: they may be no HU"


def _twice(sample: npt.NDArray[Any]) -> bool:
    """Whether air and fat both lie where HU times 2 has them. A scan that shows no air is not told:
    soft tissue times 2 is soft tissue in a phase of more contrast.
    """
    air = _noisy(sample, _AIR_TWICE_HU)
    return (
        air >= _LEAST_AIR * sample.size
        and _noisy(sample, _AIR_HU) <= _MOST_AIR_LEFT * air
        and _within(sample, _FAT_TWICE_HU).size >= _LEAST_FAT * _within(sample, _FAT_HU).size
    )


def _noisy(sample: npt.NDArray[Any], limits: tuple[float, float]) -> int:
    """How many values lie between two limits, without the commonest one of them."""
    inside = _within(sample, limits)
    # Counting values takes its time, and hardly any scan has so many there.
    if inside.size < _LEAST_AIR * _MOST_AIR_LEFT * sample.size:
        return inside.size
    return inside.size - int(np.unique_counts(inside).counts.max())


def _within(sample: npt.NDArray[Any], limits: tuple[float, float]) -> npt.NDArray[Any]:
    low, high = limits
    return sample[(sample >= low) & (sample <= high)]


def _tissue_share(sample: npt.NDArray[Any]) -> float:
    """How much of what is denser than air and lung is fat or soft tissue."""
    dense = sample > _LUNG_HU
    tissue = (sample >= _TISSUE_HU[0]) & (sample <= _TISSUE_HU[1])
    return float(tissue.sum()) / max(1, int(dense.sum()))


def _padding(voxels_ZYX: Image, highest: float) -> str | None:
    if highest < _PADDING_HU:
        return None
    share = float((voxels_ZYX >= _PADDING_HU).mean())
    if share < _PADDING_SHARE:
        return None
    return f"{share:.1%} of the voxels are {highest:g} or nearly so: padding is taken for bone"


def _blank_slices(voxels_ZYX: Image) -> str | None:
    coarse = voxels_ZYX[:, ::8, ::8]
    suspects = np.flatnonzero(coarse.min((1, 2)) == coarse.max((1, 2)))
    blank = [int(z) for z in suspects if voxels_ZYX[z].min() == voxels_ZYX[z].max()]
    if not blank:
        return None
    return f"{len(blank)} of {len(voxels_ZYX)} slices hold one value alone: some may be missing"
