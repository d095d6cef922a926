"""Where the patient is: a coarse mask at network resolution that leaves out air and table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..types import Array, Mask, Triple

BODY_HU = -300.0
# In-plane opening: what is thinner than twice this (table top, lines, blankets) is no patient.
_OPENING_MM = 12.0
_COARSE_MM = 6.0


def body_mask(
    image_ZYX: Array,
    threshold: float,
    spacing: Triple,
    numpy: Callable[[Array], npt.NDArray[np.float32]] = np.asarray,
) -> Mask:
    """Voxels of the patient: what is denser than air once thin things are opened away.

    Deliberately generous: arms and legs stay, a scan whose air was clipped away is all body, and
    so is one in which nothing is found.

    Args:
        image_ZYX: the network's input image.
        threshold: :data:`BODY_HU` in the image's units.
        spacing: of the image (z, y, x), mm.
        numpy: brings an array to main memory; asked for the few voxels that are looked at.

    Returns:
        Boolean array of the image's shape.
    """
    strides = [max(1, round(_COARSE_MM / s)) for s in spacing]
    mask: Mask = numpy(image_ZYX[tuple(slice(None, None, n) for n in strides)]) > threshold
    # In-plane only: a thin slab of a patient must not be opened away along z.
    for grow in (False, True):
        for axis in (1, 2):
            radius = round(_OPENING_MM / (spacing[axis] * strides[axis]))
            mask = _filter(mask, axis, radius, grow)
    if not mask.any():
        return np.ones(image_ZYX.shape, bool)
    for axis, (stride, size) in enumerate(zip(strides, image_ZYX.shape, strict=True)):
        mask = mask.take(np.arange(size) // stride, axis=axis)
    return mask


def _filter(mask: Mask, axis: int, radius: int, grow: bool) -> Mask:
    """Dilate (``grow``) or erode along one axis; the border neither adds nor takes."""
    size = mask.shape[axis]
    padding = [(0, 0)] * 3
    padding[axis] = (radius, radius)
    padded = np.pad(mask, padding, constant_values=not grow)
    combine = np.logical_or if grow else np.logical_and
    out = mask.copy()
    for shift in range(2 * radius + 1):
        combine(out, padded.take(np.arange(shift, shift + size), axis=axis), out=out)
    return out
