"""A scan in memory: its voxels, its grid, and how to read it from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.grid import Grid, Orientation
from inference.resample import Image


@dataclass(frozen=True)
class Volume:
    """Voxels in the file's own axis order, (z, y, x) as SimpleITK gives them.

    Attributes:
        voxels_ZYX: HU, int16 or float32.
        grid: where they lie.
    """

    voxels_ZYX: Image
    grid: Grid

    def canonical(self) -> tuple[Image, Grid]:
        """The voxels in canonical LPS order (a view) and their grid."""
        orientation = Orientation.of(self.grid.direction)
        return orientation.apply(self.voxels_ZYX), orientation.canonical(self.grid)


def read_volume(path: Path) -> Volume:
    """Read a volume through SimpleITK."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    spacing, origin = image.GetSpacing(), image.GetOrigin()
    voxels = sitk.GetArrayFromImage(image)
    grid = Grid(voxels.shape, spacing[::-1], origin, image.GetDirection())
    return Volume(np.ascontiguousarray(voxels), grid)
