"""Where the patient is: a coarse mask at network resolution that leaves out air and table."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.grid import Triple

BODY_HU = -300.0
_OPENING_MM = 10.0
_COARSE_MM = 6.0


def body_mask(
    image_ZYX: npt.NDArray[np.float32], threshold: float, spacing: Triple
) -> npt.NDArray[np.bool_]:
    """Voxels of the patient: the large pieces left once thin things (table, lines) are opened away.

    Deliberately generous: everything of at least a tenth of the largest piece stays (arms, legs), a
    scan whose air was clipped away is all body, and so is one in which nothing is found.

    Args:
        image_ZYX: the network's input image.
        threshold: :data:`BODY_HU` in the image's units.
        spacing: of the image (z, y, x), mm.

    Returns:
        Boolean array of the image's shape.
    """
    import SimpleITK as sitk

    strides = [max(1, round(_COARSE_MM / s)) for s in spacing]
    coarse = image_ZYX[tuple(slice(None, None, s) for s in strides)] > threshold
    mask = sitk.GetImageFromArray(coarse.astype(np.uint8))
    radius_XYZ = [
        max(1, round(_OPENING_MM / (s * n))) if size > 2 else 0
        for s, n, size in zip(spacing, strides, coarse.shape, strict=True)
    ][::-1]
    # In-plane only: a thin slab of a patient must not be opened away along z.
    radius_XYZ[2] = 0
    opened = sitk.BinaryMorphologicalOpening(mask, radius_XYZ, sitk.sitkBall)
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(opened))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    if sizes.max() == 0:
        return np.ones(image_ZYX.shape, bool)
    kept = (sizes >= 0.1 * sizes.max())[pieces]
    for axis, (stride, size) in enumerate(zip(strides, image_ZYX.shape, strict=True)):
        kept = np.repeat(kept, stride, axis=axis).take(np.arange(size), axis=axis)
    return np.asarray(kept, dtype=bool)
