"""Boxes of voxels (z, y, x): around a mask, of a window, grown to a size."""

from __future__ import annotations

import numpy as np

from ..types import Box, Mask, Shape


def bounding_box(mask_ZYX: Mask, margin: Shape = (0, 0, 0)) -> Box:
    """The smallest box (z, y, x) that holds what is True, and a margin as far as there is image."""
    sides = []
    for axis, (extent, more) in enumerate(zip(mask_ZYX.shape, margin, strict=True)):
        others = tuple(a for a in range(3) if a != axis)
        inside = np.flatnonzero(mask_ZYX.any(axis=others))
        sides.append(slice(max(0, int(inside[0]) - more), min(extent, int(inside[-1]) + 1 + more)))
    return (sides[0], sides[1], sides[2])


def grown(region: Box, window: Shape, extent: Shape) -> Box:
    """``region`` made as large as a window, as far as the image of shape ``extent`` reaches."""
    sides = []
    for part, w, n in zip(region, window, extent, strict=True):
        length = min(n, max(part.stop - part.start, w))
        start = min(part.start, n - length)
        sides.append(slice(start, start + length))
    return (sides[0], sides[1], sides[2])


def whole(shape: Shape) -> Box:
    """All of an image of this shape."""
    z, y, x = shape
    return slice(0, z), slice(0, y), slice(0, x)


def window_box(start: Shape, patch: Shape) -> Box:
    """The slices (z, y, x) of a window."""
    z, y, x = (slice(s, s + p) for s, p in zip(start, patch, strict=True))
    return (z, y, x)
