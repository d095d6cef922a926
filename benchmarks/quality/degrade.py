"""Scans made worse in one way: thick slices, noise, a part missing, another body size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.quality.scan import Scan
from inference.labels import BACKGROUND
from inference.types import Triple

Degradation = Callable[[Scan], Scan]
# A noise texture of one to two pixels, as soft reconstruction kernels leave it.
NOISE_MM = 1.0


def degradations() -> dict[str, Degradation]:
    """By name, in the order of the table; the first one changes nothing."""
    return {
        "as it is": lambda scan: scan,
        **{f"slices of {mm} mm": _of(sliced, mm) for mm in (1.0, 3.0, 5.0, 7.0)},
        **{f"noise of {hu} HU more": _of(noisy, hu) for hu in (20.0, 40.0, 80.0)},
        "upper third of the organs missing": lambda scan: cropped(scan, top=1 / 3),
        "lower third of the organs missing": lambda scan: cropped(scan, bottom=1 / 3),
        "slab of 40 mm": lambda scan: slab(scan, 40.0),
        **{f"body of {factor:.0%}": _of(scaled, factor) for factor in (0.6, 0.8, 1.2)},
        "30 HU too bright": lambda scan: shifted(scan, 30.0),
    }


def more_degradations() -> dict[str, Degradation]:
    """Ways beyond the table's: with them, twenty."""
    return {
        "blurred by 2 mm": lambda scan: blurred(scan, 2.0),
        "30 HU too dark": lambda scan: shifted(scan, -30.0),
        "HU of 120%": lambda scan: stretched(scan, 1.2),
        "right third of the body missing": lambda scan: aside(scan, right=1 / 3),
        "left third of the body missing": lambda scan: aside(scan, left=1 / 3),
        "streaks of 60 HU": lambda scan: streaked(scan, 60.0),
    }


def _of(change: Callable[[Scan, float], Scan], amount: float) -> Degradation:
    return lambda scan: change(scan, amount)


def sliced(scan: Scan, thickness_mm: float) -> Scan:
    """Contiguous slices of another thickness: means over what a thick slice covers, linear between
    the slices of a thin one. Labels are those at the slices' centres.
    """
    n, old = scan.voxels_ZYX.shape[0], scan.spacing[0]
    count = max(int(n * old / thickness_mm), 1)
    first = (n * old - count * thickness_mm) / 2
    centres = first + thickness_mm * (np.arange(count) + 0.5)
    half = max(thickness_mm, old) / 2
    integral = np.zeros((n + 1, *scan.voxels_ZYX.shape[1:]))
    np.cumsum(scan.voxels_ZYX, axis=0, dtype=np.float64, out=integral[1:])
    low, high = np.maximum(centres - half, 0), np.minimum(centres + half, n * old)
    total = _between(integral, high / old) - _between(integral, low / old)
    voxels = total / ((high - low) / old)[:, None, None]
    nearest = np.clip((centres / old).astype(int), 0, n - 1)
    return replace(
        scan,
        voxels_ZYX=np.rint(voxels).astype(np.int16),
        labels_ZYX=scan.labels_ZYX[nearest],
        spacing=(thickness_mm, *scan.spacing[1:]),
    )


def _between(
    values_ZYX: npt.NDArray[np.float64], positions: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Linear interpolation along z."""
    below = np.clip(positions.astype(int), 0, len(values_ZYX) - 2)
    share = (positions - below)[:, None, None]
    result: npt.NDArray[np.float64] = (
        values_ZYX[below] * (1 - share) + values_ZYX[below + 1] * share
    )
    return result


def noisy(scan: Scan, sd_hu: float) -> Scan:
    """Normal noise with a soft texture in the plane; the same for the same scan and level."""
    noise = soft_noise(scan.voxels_ZYX.shape, scan.spacing, sd_hu)
    voxels = np.clip(np.rint(scan.voxels_ZYX + noise), -1024, 3071)
    return replace(scan, voxels_ZYX=voxels.astype(np.int16))


def soft_noise(shape: tuple[int, ...], spacing: Triple, sd_hu: float) -> npt.NDArray[np.float32]:
    """Normal noise of a standard deviation, with the grain of a soft kernel in the plane."""
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    noise = ndimage.gaussian_filter(noise, (0, *(NOISE_MM / s for s in spacing[1:])))
    noise *= sd_hu / noise.std()
    return noise


def cropped(scan: Scan, top: float = 0.0, bottom: float = 0.0) -> Scan:
    """Without a share of the organs' height, and without all that lies beyond."""
    low, high = _organs_z(scan)
    height = high - low
    first = low + round(bottom * height) if bottom else 0
    last = high - round(top * height) if top else len(scan.labels_ZYX)
    return _kept(scan, first, last)


def slab(scan: Scan, mm: float) -> Scan:
    """The middle of the organs."""
    low, high = _organs_z(scan)
    count = max(round(mm / scan.spacing[0]), 1)
    first = max((low + high - count) // 2, 0)
    return _kept(scan, first, first + count)


def _organs_z(scan: Scan) -> tuple[int, int]:
    shown = np.flatnonzero((scan.labels_ZYX != BACKGROUND).any(axis=(1, 2)))
    return int(shown[0]), int(shown[-1]) + 1


def _kept(scan: Scan, first: int, last: int) -> Scan:
    return replace(
        scan, voxels_ZYX=scan.voxels_ZYX[first:last], labels_ZYX=scan.labels_ZYX[first:last]
    )


def scaled(scan: Scan, factor: float) -> Scan:
    """A smaller or larger body: the same voxels, of another size."""
    z, y, x = (factor * s for s in scan.spacing)
    return replace(scan, spacing=(z, y, x))


def shifted(scan: Scan, hu: float) -> Scan:
    """A scanner out of calibration."""
    voxels = np.clip(scan.voxels_ZYX + np.float32(hu), -1024, 3071)
    return replace(scan, voxels_ZYX=voxels.astype(np.int16))


def blurred(scan: Scan, sd_mm: float) -> Scan:
    """A soft kernel."""
    voxels = scan.voxels_ZYX.astype(np.float32)
    voxels = ndimage.gaussian_filter(voxels, [sd_mm / s for s in scan.spacing])
    return replace(scan, voxels_ZYX=np.rint(voxels).astype(np.int16))


def stretched(scan: Scan, factor: float) -> Scan:
    """A wrong rescale slope, about water."""
    voxels = np.clip(scan.voxels_ZYX * np.float32(factor), -1024, 3071)
    return replace(scan, voxels_ZYX=np.rint(voxels).astype(np.int16))


def aside(scan: Scan, right: float = 0.0, left: float = 0.0) -> Scan:
    """A field of view that lacks a share of the organs' width at the patient's right or left."""
    shown = np.flatnonzero((scan.labels_ZYX != BACKGROUND).any(axis=(0, 1)))
    low, high = int(shown[0]), int(shown[-1]) + 1
    first = low + round(right * (high - low)) if right else 0
    last = high - round(left * (high - low)) if left else scan.labels_ZYX.shape[2]
    return replace(
        scan,
        voxels_ZYX=np.ascontiguousarray(scan.voxels_ZYX[:, :, first:last]),
        labels_ZYX=np.ascontiguousarray(scan.labels_ZYX[:, :, first:last]),
    )


def streaked(scan: Scan, hu: float) -> Scan:
    """Streaks that fan out from the middle of each slice, as metal's do, in 12 pairs of rays."""
    _, y, x = scan.voxels_ZYX.shape
    rows, columns = np.ogrid[:y, :x]
    angle = np.arctan2(rows - y / 2, columns - x / 2)
    streaks = (hu * np.sign(np.sin(24 * angle))).astype(np.float32)
    voxels = np.clip(scan.voxels_ZYX + streaks, -1024, 3071)
    return replace(scan, voxels_ZYX=voxels.astype(np.int16))
