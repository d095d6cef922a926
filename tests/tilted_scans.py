"""The phantom as NIfTI files whose axes lie one way or another."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations

from phantom import Phantom


def tilted(phantom: Phantom, axes: str) -> nib.Nifti1Image:
    """The phantom with its array's axes (x, y, z) growing towards ``axes``, tilted a little."""
    x, y, z = phantom.grid.spacing[::-1]
    image = nib.Nifti1Image(phantom.image_ZYX.transpose(), np.diag([-x, -y, z, 1]))
    wanted = orientations.axcodes2ornt(axes)
    turned = image.as_reoriented(
        orientations.ornt_transform(orientations.io_orientation(image.affine), wanted)
    )
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    return nib.Nifti1Image(np.asarray(turned.dataobj), tilt @ turned.affine)


def scan_of(phantom: Phantom, axes: str, path: Path) -> Path:
    """:func:`tilted`, written."""
    nib.save(tilted(phantom, axes), path)
    return path
