"""A scan and its labels on a coarser grid, small enough for a page.

In canonical LPS order, cut to the patient. The scan is averaged over blocks of voxels; of the
labels, the block's middle voxel counts, but a structure that would be lost keeps one.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from ...grid import Grid, Orientation
from ...labels import BACKGROUND
from ...scan.nifti_header import NiftiHeader
from ...steps.body import BODY_HU, body_mask
from ...steps.boxes import bounding_box
from ...types import Box, Image, Labels, Shape, Triple

# About 2 mm for a whole abdomen; of noise alone, 9 MB in the page.
_MOST_VOXELS = 7_200_000
_FINEST_MM = 1.5
_LOOK_MM = 3.0
# Values are rounded to steps: what is finer is noise, and would be half of the file.
_STEP_HU = 4
_HU = (-1024, 3068)
_COMPRESSION_LEVEL = 2


@dataclass(frozen=True, slots=True)
class Reduced:
    """A coarse scan.

    Attributes:
        image_ZYX: int16 HU, canonical LPS order.
        labels_ZYX: on the same grid.
        grid: of both.
    """

    image_ZYX: npt.NDArray[np.int16]
    labels_ZYX: Labels
    grid: Grid

    @classmethod
    def of(
        cls, image_ZYX: Image, labels_ZYX: Labels, grid: Grid, present: Collection[int]
    ) -> Reduced:
        """From a scan in its own axis order.

        Args:
            image_ZYX, labels_ZYX, grid: of the scan.
            present: labels that occur and are wanted; the others become background.
        """
        orientation = Orientation.of(grid.direction)
        grid = orientation.canonical(grid)
        labels_ZYX = orientation.apply(labels_ZYX)
        image_ZYX = orientation.apply(image_ZYX)
        box = _patient(image_ZYX, labels_ZYX, grid.spacing)
        grid = _part(grid, box)
        image_ZYX, labels_ZYX = image_ZYX[box], labels_ZYX[box]
        steps = block(grid)
        low, high = _HU
        means = np.clip(_means(image_ZYX, steps), low, high)
        rounded = (means + _STEP_HU // 2) // _STEP_HU * _STEP_HU
        return cls(
            rounded.astype(np.int16), _kept(labels_ZYX, steps, present), _coarse(grid, steps)
        )

    def nifti(self, voxels_ZYX: npt.NDArray[Any]) -> bytes:
        """A .nii.gz file of one of both."""
        header = NiftiHeader.of_grid(self.grid).for_voxels(voxels_ZYX.dtype)
        data = header + np.ascontiguousarray(voxels_ZYX).tobytes()
        return bytes(isal_zlib.compress(data, _COMPRESSION_LEVEL, wbits=31))

    def place(self, label: int) -> Triple | None:
        """A point (x, y, z) in the label, mm, LPS, in the axial slice that shows most of it."""
        mask_ZYX = self.labels_ZYX == label
        areas = np.count_nonzero(mask_ZYX, axis=(1, 2))
        z = int(np.argmax(areas))
        if not areas[z]:
            return None
        y, x = np.nonzero(mask_ZYX[z])
        # The middle of a crescent lies outside of it: the nearest voxel is taken.
        nearest = int(np.argmin((y - y.mean()) ** 2 + (x - x.mean()) ** 2))
        point = self.grid.physical((z, float(y[nearest]), float(x[nearest])))
        return (float(point[0]), float(point[1]), float(point[2]))


def block(grid: Grid) -> Shape:
    """How many voxels along (z, y, x) become one, for an equal spacing as far as that goes."""
    target = _FINEST_MM
    while True:
        z, y, x = (max(1, round(target / spacing)) for spacing in grid.spacing)
        coarse = [math.ceil(n / k) for n, k in zip(grid.shape, (z, y, x), strict=True)]
        if math.prod(coarse) <= _MOST_VOXELS:
            return z, y, x
        target *= 1.05


def _patient(image_ZYX: Image, labels_ZYX: Labels, spacing: Triple) -> Box:
    """The box of the patient and of all labels: air around them would cost resolution."""
    every = [max(1, round(_LOOK_MM / s)) for s in spacing]
    look = tuple(slice(None, None, k) for k in every)
    dz, dy, dx = (k * s for k, s in zip(every, spacing, strict=True))
    body = bounding_box(body_mask(image_ZYX[look], BODY_HU, (dz, dy, dx)), (1, 1, 1))
    scaled = [
        slice(side.start * k, min(n, side.stop * k))
        for side, k, n in zip(body, every, image_ZYX.shape, strict=True)
    ]
    labelled = labels_ZYX != BACKGROUND
    if labelled.any():
        scaled = [
            slice(min(one.start, other.start), max(one.stop, other.stop))
            for one, other in zip(scaled, bounding_box(labelled), strict=True)
        ]
    return (scaled[0], scaled[1], scaled[2])


def _part(grid: Grid, box: Box) -> Grid:
    z, y, x = (side.stop - side.start for side in box)
    first = grid.physical((box[0].start, box[1].start, box[2].start))
    origin = (float(first[0]), float(first[1]), float(first[2]))
    return Grid((z, y, x), grid.spacing, origin, grid.direction)


def _coarse(grid: Grid, steps: Shape) -> Grid:
    z, y, x = (math.ceil(n / k) for n, k in zip(grid.shape, steps, strict=True))
    dz, dy, dx = (k * s for k, s in zip(steps, grid.spacing, strict=True))
    first = grid.physical(((steps[0] - 1) / 2, (steps[1] - 1) / 2, (steps[2] - 1) / 2))
    origin = (float(first[0]), float(first[1]), float(first[2]))
    return Grid((z, y, x), (dz, dy, dx), origin, grid.direction)


def _means(image_ZYX: Image, steps: Shape) -> npt.NDArray[np.int32]:
    """Of blocks; the last ones of an axis are filled up with their outermost voxels."""
    kz, ky, kx = steps
    z, y, x = (math.ceil(n / k) for n, k in zip(image_ZYX.shape, steps, strict=True))
    means = np.empty((z, y, x), np.int32)
    more = [
        (0, k * n - size) for k, n, size in zip((ky, kx), (y, x), image_ZYX.shape[1:], strict=True)
    ]
    # Values of a broken scale must not run over.
    for plane in range(z):
        slab = image_ZYX[plane * kz : (plane + 1) * kz]
        total = (
            slab.astype(np.float32).sum(axis=0)
            if slab.dtype.kind == "f"
            else slab.sum(axis=0, dtype=np.int32)
        )
        total = np.pad(total, more, mode="edge") if more != [(0, 0), (0, 0)] else total
        rows = sum((total[row::ky] for row in range(1, ky)), start=total[::ky])
        blocks = sum((rows[:, column::kx] for column in range(1, kx)), start=rows[:, ::kx])
        means[plane] = np.clip(blocks // (len(slab) * ky * kx), -32768, 32767)
    return means


def _kept(labels_ZYX: Labels, steps: Shape, present: Collection[int]) -> Labels:
    z, y, x = (
        np.minimum(np.arange(0, n, k) + k // 2, n - 1)
        for n, k in zip(labels_ZYX.shape, steps, strict=True)
    )
    taken = np.stack([labels_ZYX[plane][np.ix_(y, x)] for plane in z])
    shown = np.zeros(256, np.uint8)
    shown[list(present)] = list(present)
    kept: Labels = shown[taken]
    for label in set(present) - set(np.flatnonzero(np.bincount(kept.ravel(), minlength=256))):
        first = np.unravel_index(np.argmax(labels_ZYX == label), labels_ZYX.shape)
        kept[tuple(int(i) // k for i, k in zip(first, steps, strict=True))] = label
    return kept
