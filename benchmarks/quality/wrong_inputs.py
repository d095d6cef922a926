"""Scans that say something else than they hold, as wrong headers and wrong rescaling make them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.quality.degrade import Degradation
from benchmarks.quality.scan import Scan


def wrong_inputs() -> dict[str, Degradation]:
    """Scans that say something else than they hold."""
    return {
        "mirrored": lambda scan: flipped(scan, 2),
        "front to back": lambda scan: flipped(scan, 1),
        "upside down": lambda scan: flipped(scan, 0),
        "slices of a third": lambda scan: spaced(scan, 1 / 3, 1.0),
        "slices of threefold": lambda scan: spaced(scan, 3.0, 1.0),
        "pixels of half": lambda scan: spaced(scan, 1.0, 0.5),
        "values of 0 to 1": lambda scan: valued(scan, 1 / 2000, 0.5),
        "values 1024 too high": lambda scan: valued(scan, 1.0, 1024.0),
        "chest only": chest,
    }


def flipped(scan: Scan, axis: int) -> Scan:
    """Stored the other way round along an axis (z, y, x), as a wrong header has it."""
    voxels, labels = (
        np.ascontiguousarray(np.flip(a, axis)) for a in (scan.voxels_ZYX, scan.labels_ZYX)
    )
    return replace(scan, voxels_ZYX=voxels, labels_ZYX=labels)


def spaced(scan: Scan, z_factor: float, in_plane: float) -> Scan:
    """With another spacing in the header."""
    z, y, x = scan.spacing
    return replace(scan, spacing=(z_factor * z, in_plane * y, in_plane * x))


def valued(scan: Scan, slope: float, intercept: float) -> Scan:
    """HU that went through another rescaling."""
    voxels = scan.voxels_ZYX.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return replace(scan, voxels_ZYX=voxels if slope < 1 else np.rint(voxels).astype(np.int16))


def chest(scan: Scan) -> Scan:
    """What lies above the lower fifth of the liver's height, counted from its top."""
    shown = np.flatnonzero((scan.labels_ZYX == 1).any(axis=(1, 2)))
    first = int(shown[0] + 0.8 * (shown[-1] - shown[0]))
    first = min(first, len(scan.labels_ZYX) - 8)
    return replace(scan, voxels_ZYX=scan.voxels_ZYX[first:], labels_ZYX=scan.labels_ZYX[first:])
