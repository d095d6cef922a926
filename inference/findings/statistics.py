"""What a label map measures: state, volume, HU, place and pieces of each organ, and the lesions."""

from __future__ import annotations

from dataclasses import dataclass

from ..grid import Grid, Orientation
from ..labels import NAMES
from ..types import Image, Labels, Triple
from .extents import extents
from .hounsfield import Hounsfield, hounsfield_by_label
from .lesions import Lesion, lesions
from .presence import Absent, Presence


@dataclass(frozen=True, slots=True)
class Region:
    """Where a label's voxels lie, and what is measured in them.

    Attributes:
        voxels: how many.
        ml: their volume; of an organ that is cut off, the volume that the scan shows.
        hu: of their values.
        low_mm, high_mm: least and greatest (x, y, z), voxel edge to voxel edge, in mm, LPS: x grows
            to the patient's left, y to the back, z to the head.
        centroid_mm: (x, y, z) in mm, LPS.
        pieces: 26-connected ones.
        largest_ml: volume of the largest piece.
    """

    voxels: int
    ml: float
    hu: Hounsfield
    low_mm: Triple
    high_mm: Triple
    centroid_mm: Triple
    pieces: int
    largest_ml: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """Measures of one scan's labels. Every label of inference.labels.NAMES is in both dicts.

    Attributes:
        states: whole, cut off, or absent.
        regions: None of what is absent.
        lesions: of the tumour label, the largest first.
    """

    states: dict[int, Presence]
    regions: dict[int, Region | None]
    lesions: tuple[Lesion, ...]


def statistics(labels_ZYX: Labels, image_ZYX: Image, grid: Grid) -> Statistics:
    """Measure a label map on the scan's own grid.

    Args:
        labels_ZYX: values of inference.labels.NAMES, any axis order.
        image_ZYX: HU of the same voxels, int16 or float32.
        grid: of both.

    Returns:
        The same, whichever of the 48 axis orders the scan is stored in (millimetres to rounding).

    Raises:
        ValueError: labels, image and grid are of different shapes.
    """
    if not labels_ZYX.shape == image_ZYX.shape == grid.shape:
        raise ValueError(f"shapes {labels_ZYX.shape}, {image_ZYX.shape}, {grid.shape} differ")
    orientation = Orientation.of(grid.direction)
    labels_ZYX, image_ZYX = orientation.apply(labels_ZYX), orientation.apply(image_ZYX)
    grid = orientation.canonical(grid)
    found, pieces = extents(labels_ZYX)
    hu = hounsfield_by_label(labels_ZYX, image_ZYX)
    states: dict[int, Presence] = dict.fromkeys(NAMES, Absent())
    regions: dict[int, Region | None] = dict.fromkeys(NAMES)
    for label, extent in found.items():
        states[label] = extent.state
        regions[label] = Region(
            extent.voxels,
            extent.voxels * grid.voxel_ml,
            hu[label],
            *extent.box_mm(grid),
            extent.centroid_mm(grid),
            extent.pieces,
            extent.largest * grid.voxel_ml,
        )
    return Statistics(states, regions, lesions(labels_ZYX, pieces, grid) if pieces else ())
