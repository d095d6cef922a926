"""What a program gives as a scan: a path, a Volume, or a SimpleITK image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ScanError
from ..grid import Grid
from .volume import Volume, read_volume


def of_simpleitk(image: Any) -> Volume:
    """A scan that is a SimpleITK image already. Raises ScanError."""
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise ScanError("the image", "is not one 3D volume of grey values", "give one")
    import SimpleITK as sitk

    voxels = sitk.GetArrayFromImage(image)
    z, y, x = voxels.shape
    spacing_x, spacing_y, spacing_z = image.GetSpacing()
    spacing = (spacing_z, spacing_y, spacing_x)
    return Volume.of_array(
        voxels, Grid((z, y, x), spacing, image.GetOrigin(), image.GetDirection())
    )


def as_volume(image: Volume | Path | str | Any) -> Volume:
    """What is named by a path, or is a Volume or a SimpleITK image.

    Raises:
        ScanError: the scan cannot be read or is no CT volume.
        TypeError: it is nothing of that kind.
    """
    if isinstance(image, Volume):
        return image
    if isinstance(image, Path | str):
        return read_volume(Path(image))
    if not hasattr(image, "GetNumberOfComponentsPerPixel"):
        raise TypeError(
            "a scan is a file's path, a Volume (Volume.of_array(voxels, grid)) or a SimpleITK "
            f"image, not {type(image).__name__}"
        )
    return of_simpleitk(image)
