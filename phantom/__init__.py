"""A procedural phantom: abdominal CT scans with exactly known organs, made from nothing.

The patient is described in millimetres (:func:`make_anatomy`), so every grid shows the same one
(:func:`sample`). It stands in for real scans in tests, benchmarks and demonstrations; it is no
substitute for them in judging a model's accuracy. Needs NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.grid import IDENTITY, Direction, Grid
from inference.types import Shape, Triple
from phantom.anatomy import Anatomy, make_anatomy
from phantom.appearance import PHASES, Phase
from phantom.sampling import sample

__all__ = [
    "PHASES",
    "Anatomy",
    "Phantom",
    "Phase",
    "grid_at",
    "make_anatomy",
    "make_phantom",
    "sample",
]

# Centre of the usual field of view, (x, y, z): the upper abdomen, head end in the lung bases.
CENTER_MM: Triple = (0.0, -45.0, -5.0)


@dataclass(frozen=True)
class Phantom:
    """A scan and its truth.

    Attributes:
        image_ZYX: int16, HU.
        labels_ZYX: uint8, values of inference.labels, of the voxel centres.
        grid: of both.
    """

    image_ZYX: np.ndarray
    labels_ZYX: np.ndarray
    grid: Grid


def grid_at(
    shape_ZYX: Shape,
    spacing_ZYX: Triple,
    *,
    center_mm: Triple = CENTER_MM,
    direction: Direction = IDENTITY,
) -> Grid:
    """The grid whose middle lies at ``center_mm`` (x, y, z), LPS.

    The origin of the patient's coordinates is the centre of the first lumbar vertebral body. The
    liver's dome is near z = 95, the kidneys' lower poles near z = -85.
    """
    middle = tuple((n - 1) / 2 for n in shape_ZYX)
    centered = Grid(shape_ZYX, spacing_ZYX, direction=direction).physical(middle)
    origin = np.array(center_mm) - centered
    return Grid(
        shape_ZYX, spacing_ZYX, (float(origin[0]), float(origin[1]), float(origin[2])), direction
    )


def make_phantom(
    shape_ZYX: Shape,
    spacing_ZYX: Triple,
    seed: int,
    *,
    tumor: bool = True,
    phase: Phase = "portal",
    noise_hu: float = 12.0,
    center_mm: Triple = CENTER_MM,
    direction: Direction = IDENTITY,
) -> Phantom:
    """Scan the patient of ``seed``.

    Args:
        shape_ZYX: voxels along (z, y, x).
        spacing_ZYX: voxel size in mm along (z, y, x).
        seed: the patient and the noise; the same arguments give the same phantom.
        tumor: with a tumour in the liver, pancreas, spleen or a kidney.
        phase: contrast phase.
        noise_hu: standard deviation of the noise, HU.
        center_mm: middle of the field of view (x, y, z); see :func:`grid_at`.
        direction: of the array's axes, as in Grid.
    """
    grid = grid_at(shape_ZYX, spacing_ZYX, center_mm=center_mm, direction=direction)
    anatomy = make_anatomy(seed, tumor=tumor)
    image, labels = sample(anatomy, grid, phase=phase, noise_hu=noise_hu)
    return Phantom(image, labels, grid)
