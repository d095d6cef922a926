"""From a place in a stored scan to a patch on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.types import Shape, Triple
from training.data.coding import one_hot
from training.data.store import Store, StoredCase
from training.patches.deform import IDENTITY, Deformation, mirrored, sample, sampling_grid

# Spare voxels around a crop, so that interpolation at its border finds its neighbours.
MARGIN = 2

ArrayT = TypeVar("ArrayT", bound=np.ndarray)
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Place:
    """Where a patch lies.

    Attributes:
        case: the scan.
        patch, spacing: the patch's shape (z, y, x) and voxel size, mm.
        centre: of the patch, voxels of the stored scan from its outer edge.
        slab: first and last + 1 stored slice that the patch may see; mirrored beyond.
        deformation: about the centre.
    """

    case: StoredCase
    patch: Shape
    spacing: Triple
    centre: Triple
    slab: tuple[int, int]
    deformation: Deformation = IDENTITY

    @property
    def extent_mm(self) -> Triple:
        """Size of the patch along (z, y, x)."""
        z, y, x = (n * s for n, s in zip(self.patch, self.spacing, strict=True))
        return (z, y, x)

    @property
    def exact(self) -> bool:
        """Whether stored voxels are patch voxels, so that nothing is interpolated.

        The spacing of a resampled scan differs from the wish by the rounding of its shape.
        """
        return self.deformation.identity and bool(
            np.allclose(self.case.spacing, self.spacing, rtol=0.05)
        )


@dataclass(frozen=True)
class Crop:
    """A piece of a scan that holds all that one patch needs.

    Attributes:
        place: of the patch in the scan.
        image_ZYX: normalised, float16; ``labels_ZYX``, ``previous_ZYX``: coded, uint8.
        centre: of the patch in the crop, voxels from its outer edge.
    """

    place: Place
    image_ZYX: npt.NDArray[np.float16]
    labels_ZYX: npt.NDArray[np.uint8]
    previous_ZYX: npt.NDArray[np.uint8] | None
    centre: Triple

    def sampled(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Image (channels, z, y, x) and coded labels (z, y, x) of the patch on the device."""
        place = self.place
        image = torch.from_numpy(self.image_ZYX).to(device)[None].float()
        coded = torch.from_numpy(self.labels_ZYX).to(device)[None]
        if self.previous_ZYX is not None:
            coded = torch.cat((coded, torch.from_numpy(self.previous_ZYX).to(device)[None]))
        if not place.exact:
            grid = sampling_grid(
                place.patch,
                place.spacing,
                place.deformation,
                centre=self.centre,
                source=self.labels_ZYX.shape,
                source_spacing=place.case.spacing,
                device=device,
            )
            image = sample(image, grid, "bilinear")
            coded = sample(coded, grid, "nearest").to(torch.uint8)
        if len(coded) > 1:
            image = torch.cat((image, one_hot(coded[1:]).float()[0]))
        return image, coded[0]


def read_crop(store: Store, place: Place, previous: bool = False) -> Crop:
    """Read what a patch needs; ``previous`` also reads the first network's labels of a cascade.

    An exact place is moved to whole voxels and copied, mirrored beyond the ends.
    """
    case, indices, centre = place.case, [], []
    reach_mm = place.deformation.reach_mm(place.extent_mm)
    for axis in range(3):
        ends = place.slab if axis == 0 else (0, case.shape[axis])
        middle, size = place.centre[axis], place.patch[axis]
        if place.exact:
            indices.append(_mirrored_from(round(middle - size / 2), size, ends))
            centre.append(size / 2)
        else:
            index = _reached(middle, reach_mm[axis] / case.spacing[axis], ends)
            indices.append(index)
            centre.append(middle - int(index[0]))
    return Crop(
        place,
        _take(store.image(case), indices),
        _take(store.labels(case), indices),
        _take(store.previous(case), indices) if previous else None,
        (centre[0], centre[1], centre[2]),
    )


def _mirrored_from(first: int, count: int, ends: tuple[int, int]) -> Indices:
    return ends[0] + mirrored(first - ends[0], count, ends[1] - ends[0])


def _reached(middle: float, half: float, ends: tuple[int, int]) -> Indices:
    """Voxels within ``half`` of ``middle`` and a margin; at least one, and none beyond the ends."""
    low, high = ends
    first = min(max(low, int(middle - half) - MARGIN), high - 1)
    last = max(min(high, int(middle + half) + 1 + MARGIN), first + 1)
    return np.arange(first, last)


def _take(array_ZYX: ArrayT, indices: Sequence[Indices]) -> ArrayT:
    """A piece of a memory-mapped array; the indices (z, y, x) may repeat and turn back."""
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in indices)
    # The box is read at one go: fancy indexing of a mapped file visits it voxel by voxel.
    piece = np.array(array_ZYX[box])
    if any((np.diff(i) != 1).any() for i in indices):
        piece = np.ascontiguousarray(piece[np.ix_(*(i - i.min() for i in indices))])
    return piece  # type: ignore[return-value]
