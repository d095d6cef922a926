"""Phantom scans of the sizes of the paper's Table 6, for where there are no challenge cases."""

from __future__ import annotations

from pathlib import Path

from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from phantom import make_phantom

# Slices of the paper's eight cases, all of 512 x 512.
TABLE6_SLICES = (55, 100, 150, 215, 334, 448, 499, 554)
IN_PLANE_MM = 0.8
# Usual slice thicknesses, and the longest scan of abdomen and pelvis that is made with them, mm.
_THICKNESSES_MM = (5.0, 3.0, 2.5, 2.0, 1.5, 1.25, 1.0, 0.8, 0.7, 0.6, 0.5)
_LONGEST_MM = 500.0


def thickness_mm(slices: int) -> float:
    """The largest usual slice thickness with which ``slices`` cover no more than a trunk."""
    return next((t for t in _THICKNESSES_MM if slices * t <= _LONGEST_MM), _THICKNESSES_MM[-1])


def write_scan(folder: Path, slices: int, in_plane: int = 512) -> Path:
    """Write ``phantom_NNN_0000.nii.gz`` into ``folder``, unless it is there already.

    The same arguments give the same scan. Making one takes a good part of a second per slice.

    Args:
        folder: is made if need be.
        slices: along z.
        in_plane: voxels along y and x, over 410 mm.
    """
    path = folder / f"phantom_{slices:03d}_0000.nii.gz"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    spacing = IN_PLANE_MM * 512 / in_plane
    phantom = make_phantom(
        (slices, in_plane, in_plane), (thickness_mm(slices), spacing, spacing), seed=slices
    )
    write_image(path, phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
    return path
