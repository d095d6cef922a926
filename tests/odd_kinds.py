"""Odd scans that are accepted: what is said of them, and whether their labels are the usual."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from phantom import make_phantom

PHANTOM = make_phantom((12, 22, 24), (14.0, 14.0, 14.0), seed=9)
HU = PHANTOM.image_ZYX
SPACING = PHANTOM.grid.spacing
Z, Y, X = SPACING
SROW = (X, 0, 0, -10, 0, Y, 0, -20, 0, 0, Z, 30)


@dataclass(frozen=True)
class Odd:
    """A variant of one phantom.

    Attributes:
        words: what the warning must have; empty where there must be none.
        same: whether the labels must be those of the usual file, voxel by voxel.
        voxels: stored values (z, y, x), made from HU.
        header: fields that differ.
        spacing: mm along (z, y, x).
    """

    words: str = ""
    same: bool = True
    voxels: Callable[[np.ndarray], np.ndarray] = lambda hu: hu
    header: tuple[tuple[str, object], ...] = ()
    spacing: tuple[float, float, float] = SPACING
    suffix: str = ".nii.gz"

    @property
    def fields(self) -> dict[str, object]:
        """Header fields, the usual sform included."""
        return {"srow": SROW, **dict(self.header)}


def fields(**changed: object) -> tuple[tuple[str, object], ...]:
    return tuple(changed.items())


def padded(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """The corners of a round field of view hold ``value``."""

    def fill(hu: np.ndarray) -> np.ndarray:
        _, y, x = np.indices(hu.shape)
        radius = np.hypot(y - hu.shape[1] / 2, x - hu.shape[2] / 2)
        return np.where((radius > 0.55 * min(hu.shape[1:])) & (hu < -900), value, hu).astype(
            np.float32 if abs(value) > 32768 else np.int16
        )

    return fill


def blank(hu: np.ndarray) -> np.ndarray:
    out = hu.copy()
    out[4:6] = -1024
    return out


def tilt(degrees: float) -> tuple[float, ...]:
    shift = math.radians(degrees)
    return (X, 0, 0, -10, 0, Y, -Z * math.sin(shift), -20, 0, 0, Z * math.cos(shift), 30)


def offset(hu: np.ndarray) -> np.ndarray:
    return np.clip(hu + 1024, 0, None)


ODD: dict[str, Odd] = {
    # Scaling that gives the usual HU
    "intercept -1024": Odd(
        voxels=lambda hu: (hu + 1024).astype(np.uint16), header=fields(scl_inter=-1024)
    ),
    "slope 2, intercept -2048": Odd(
        voxels=lambda hu: (hu // 2 + 1024).astype(np.int16), same=False,
        header=fields(scl_slope=2, scl_inter=-2048),
    ),
    "negative slope": Odd(voxels=lambda hu: -hu, header=fields(scl_slope=-1)),
    "slope 0, which means none": Odd(header=fields(scl_slope=0)),
    "slope 0, and an intercept": Odd(
        "intercept of 77 is not applied", header=fields(scl_slope=0, scl_inter=77)
    ),
    "slope NaN, and an intercept": Odd(
        "intercept of -1024 is not applied", header=fields(scl_slope=math.nan, scl_inter=-1024)
    ),
    "slope and intercept NaN, which mean none": Odd(
        header=fields(scl_slope=math.nan, scl_inter=math.nan)
    ),
    "slope 0, intercept NaN": Odd(header=fields(scl_slope=0, scl_inter=math.nan)),
    "slope infinite, which means none": Odd(header=fields(scl_slope=math.inf)),
    "bits of a wider type": Odd("bits per voxel", header=fields(bitpix=32)),
    "bits of a narrower type": Odd("bits per voxel", header=fields(bitpix=8)),
    "float64": Odd(voxels=lambda hu: hu.astype(np.float64)),
    "float64 with slope": Odd(
        voxels=lambda hu: hu / 4.0 + 256, header=fields(scl_slope=4, scl_inter=-1024)
    ),
    "uint8 with slope": Odd(
        voxels=lambda hu: np.clip((hu + 1024) // 8, 0, 255).astype(np.uint8), same=False,
        header=fields(scl_slope=8, scl_inter=-1024),
    ),
    "int32": Odd(voxels=lambda hu: hu.astype(np.int32)),
    "uint32 with intercept": Odd(
        voxels=lambda hu: (hu + 3024).astype(np.uint32), header=fields(scl_inter=-3024)
    ),
    # Values that are no HU
    "offset of 1024": Odd("offset of 1024", False, offset),
    "offset of 1024, unsigned": Odd("offset of 1024", False, lambda hu: offset(hu).astype("u2")),
    "offset of 1024, padding -2000": Odd(
        "offset of 1024", False, lambda hu: np.where(hu < -1000, -2000, hu + 1024).astype(np.int16)
    ),
    "grey levels": Odd(
        "grey levels", False, lambda hu: np.clip((hu + 160) * 255 // 400, 0, 255).astype(np.uint8)
    ),
    "values from 0 to 1": Odd(
        "grey levels", False, lambda hu: np.clip((hu + 160) / 400, 0, 1).astype(np.float32)
    ),
    "a window in int8": Odd(
        "grey levels", False, lambda hu: np.clip((hu - 40) * 127 // 200, -128, 127).astype(np.int8)
    ),
    "values from -1 to 1": Odd(
        "normalised", False, lambda hu: (np.clip(hu, -1000, 1000) / 1000).astype(np.float32)
    ),
    "z-scores": Odd("normalised", False, lambda hu: ((hu - 90.0) / 140).astype(np.float32)),
    "HU times 10": Odd("HU times 10", False, lambda hu: (hu.astype(np.int32) * 10).astype("i4")),
    "HU times 2": Odd("HU times 2", False, lambda hu: hu * 2),
    "HU 512 too high, which is no factor of 10": Odd(
        "they may be no HU", False, lambda hu: hu + 512
    ),
    # Still within what soft tissue has: not noticed, and called no factor of 10 either.
    "HU halved": Odd("", False, lambda hu: hu // 2),
    "HU mirrored": Odd("", False, lambda hu: -hu),
    "an intercept applied twice": Odd(
        "intercept applied twice", False, lambda hu: (hu - 1024).astype(np.int16)
    ),
    "soft tissue's window of HU": Odd(voxels=lambda hu: np.clip(hu, -160, 240)),
    # Padding outside the round field of view
    "padding -2000": Odd(voxels=padded(-2000)),
    "padding -32768": Odd(voxels=padded(-32768)),
    "padding -1e30": Odd(voxels=padded(-1e30)),
    "padding 32767": Odd("padding is taken for bone", False, padded(32767)),
    "blank slices": Odd("2 of 12 slices", False, blank),
    # Geometry
    "4D with one frame": Odd(header=fields(dim=(4, 24, 22, 12, 1, 1, 1, 1))),
    "7D with one frame": Odd(header=fields(dim=(7, 24, 22, 12, 1, 1, 1, 1))),
    "4D with a frame axis of 0": Odd(header=fields(dim=(4, 24, 22, 12, 0, 0, 0, 0))),
    "5D with axes of 0 and less": Odd(header=fields(dim=(5, 24, 22, 12, -1, 0, 9, 9))),
    "big endian, 4D with a frame axis of 0": Odd(
        header=fields(dim=(4, 24, 22, 12, 0, 0, 0, 0), big_endian=True)
    ),
    "unknown unit of length": Odd("unit of length 5: mm is assumed", header=fields(xyzt_units=5)),
    "garbage for a unit": Odd("unit of length 7: mm is assumed", header=fields(xyzt_units=255)),
    "fewer slices announced than there are": Odd(
        "data for 2 slices more", False, header=fields(dim=(3, 24, 22, 10, 1, 1, 1, 1))
    ),
    "the affine of an array saved without one": Odd(
        "geometry may be missing", False, spacing=(1.0, 1.0, 1.0),
        header=fields(srow=(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0), qoffset=(0, 0, 0)),
    ),
    "neither qform nor sform": Odd(
        "neither qform nor sform", False, header=fields(qform_code=0, sform_code=0)
    ),
    "sform and qform disagree": Odd(
        "disagree", header=fields(srow=(X, 0, 0, 99, 0, Y, 0, -20, 0, 0, Z, 30))
    ),
    "a tiny shear": Odd(
        "slightly sheared", header=fields(qform_code=0, srow=(X, 0.005 * Y, 0, -10, *SROW[4:]))
    ),
    "gantry tilt, qform straight": Odd("gantry tilt", header=fields(srow=tilt(15))),
    "pixdim and sform disagree": Odd(
        "disagree on the spacing", header=fields(qform_code=0, srow=(9, 0, 0, -10, *SROW[4:]))
    ),
    "spacing in micrometres, said so": Odd(
        spacing=(Z * 1e3, Y * 1e3, X * 1e3),
        header=fields(xyzt_units=3, srow=tuple(v * 1e3 for v in SROW), qoffset=(-1e4, -2e4, 3e4)),
    ),
    "spacing in cm": Odd("view is 34 x 31 x 17 mm", False, spacing=(Z / 10, Y / 10, X / 10)),
    "spacing of another unit": Odd(
        "view is 1176 x 1078 x 168 mm", False, spacing=(Z, Y * 3.5, X * 3.5)
    ),
    "plain": Odd(suffix=".nii"),
    "gzip, though named plain": Odd(suffix=".nii"),
}  # fmt: skip
