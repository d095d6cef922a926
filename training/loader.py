"""Batches of training patches.

Every patch is a function of (seed, step, position in the batch) alone: a run resumes without
stored random states, and two processes with half a batch each see what one with all of it does.
Threads read memory-mapped crops ahead; deformation and intensity changes run on the device.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.grid import Shape, Triple
from inference.labels import NAMES
from training.augment import augment
from training.coding import one_hot
from training.deform import Deformation, draw_deformation, mirrored, sample, sampling_grid
from training.recipe import Recipe
from training.store import Store, StoredCase

# Spare voxels around a crop, so that interpolation at its border finds its neighbours.
MARGIN = 2
# Steps that are read ahead.
AHEAD = 3

ArrayT = TypeVar("ArrayT", bound=np.ndarray)


@dataclass(frozen=True)
class Batch:
    """Patches on the device.

    Attributes:
        image_NCZYX: float32; channel 0 the CT, 1..14 the previous stage's labels in a cascade.
        labels_NZYX: uint8, coded (:mod:`training.coding`).
        annotated_NC: bool; column c is label c + 1.
    """

    image_NCZYX: Tensor
    labels_NZYX: Tensor
    annotated_NC: Tensor


@dataclass(frozen=True)
class Crop:
    """A piece of a scan that holds all that one patch needs.

    Attributes:
        image_ZYX: normalised, float16; ``labels_ZYX``, ``previous_ZYX``: coded, uint8.
        spacing: of the crop, mm; ``centre``: of the patch in the crop, voxels from its edge.
        exact: the crop is the patch, voxel for voxel.
    """

    image_ZYX: npt.NDArray[np.float16]
    labels_ZYX: npt.NDArray[np.uint8]
    previous_ZYX: npt.NDArray[np.uint8] | None
    spacing: Triple
    centre: Triple
    deformation: Deformation
    annotated: tuple[int, ...]
    exact: bool


class Loader:
    """Draws patches from a store as a recipe says.

    Args:
        store, cases: what to draw from.
        recipe: patch, sampling and augmentation.
        device: where batches are wanted.
        rank, world: this process and the number of processes; each gets its share of the batch.
        workers: reading threads.
    """

    def __init__(
        self, store: Store, cases: Sequence[StoredCase], recipe: Recipe, device: torch.device, *,
        rank: int = 0, world: int = 1, workers: int = 4,
    ) -> None:
        self.store, self.cases, self.recipe, self.device = store, cases, recipe, device
        self.members = range(rank, recipe.sampling.batch, world)
        self.workers = workers
        self._foreground = [np.array(store.foreground(case)) for case in cases]

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Batches from ``first_step`` on, without end."""
        waiting: list[tuple[int, list[Future[Crop]]]] = []
        with ThreadPoolExecutor(self.workers) as pool:
            for step in itertools.count(first_step):
                patch = self.patch_shape(step)
                waiting.append(
                    (step, [pool.submit(self.crop, step, m, patch) for m in self.members])
                )
                if len(waiting) > AHEAD:
                    number, crops = waiting.pop(0)
                    yield self.assemble(number, [crop.result() for crop in crops])

    def patch_shape(self, step: int) -> Shape:
        """The patch (z, y, x) of a step, the same in all processes."""
        shapes = self.recipe.shapes
        return shapes[int(self._rng(step, -1).integers(len(shapes)))]

    def crop(self, step: int, member: int, patch: Shape) -> Crop:
        """Choose a scan, a place and a deformation, and read what they need."""
        rng = self._rng(step, member)
        settings = self.recipe.sampling
        number = int(rng.integers(len(self.cases)))
        case = self.cases[number]
        extent = _times(patch, settings.spacing)
        deformation = draw_deformation(self.recipe.augmentation, extent, rng)
        slab = self._slab(case, rng)
        centre = self._centre(case, self._foreground[number], extent, slab, rng)
        return self.read(case, patch, centre, deformation, slab)

    def assemble(self, step: int, crops: Sequence[Crop]) -> Batch:
        """Sample the patches on the device and change their intensities."""
        patch = self.patch_shape(step)
        images, labels = zip(*(self.sampled(crop, patch) for crop in crops), strict=True)
        image, label = torch.stack(images), torch.stack(labels)
        changed = []
        for n, member in enumerate(self.members):
            generator = torch.Generator(self.device)
            generator.manual_seed(int(self._rng(step, member, 1).integers(2**62)))
            changed.append(augment(image[n : n + 1, :1], self.recipe.augmentation,
                                   self.store.intensity, generator))
        image[:, :1] = torch.cat(changed)
        annotated = torch.zeros(len(crops), len(NAMES), dtype=torch.bool)
        for n, crop in enumerate(crops):
            annotated[n, [value - 1 for value in crop.annotated]] = True
        return Batch(image, label, annotated.to(self.device))

    def sampled(self, crop: Crop, patch: Shape) -> tuple[Tensor, Tensor]:
        """Image (channels, z, y, x) and coded labels (z, y, x) of one patch on the device."""
        image = torch.from_numpy(crop.image_ZYX).to(self.device)[None].float()
        labels = torch.from_numpy(crop.labels_ZYX).to(self.device)[None]
        coded = [labels]
        if crop.previous_ZYX is not None:
            coded.append(torch.from_numpy(crop.previous_ZYX).to(self.device)[None])
        if not crop.exact:
            grid = sampling_grid(
                patch, self.recipe.sampling.spacing, crop.deformation, centre=crop.centre,
                source=crop.labels_ZYX.shape, source_spacing=crop.spacing, device=self.device,
            )
            image = sample(image, grid, "bilinear")
            coded = list(sample(torch.cat(coded), grid, "nearest").to(torch.uint8)[:, None])
        if len(coded) > 1:
            image = torch.cat((image, one_hot(coded[1]).float()[0]))
        return image, coded[0][0]

    def read(
        self, case: StoredCase, patch: Shape, centre: Triple, deformation: Deformation,
        slab: tuple[int, int],
    ) -> Crop:
        """What a patch needs of a scan, of which it may see the slices ``slab`` alone.

        Without a deformation, and where the scan was resampled beforehand, the patch is moved to
        whole voxels and copied, mirrored beyond the ends; otherwise :meth:`sampled` interpolates.
        """
        # The spacing of a resampled scan differs from the wish by the rounding of its shape.
        spacing = self.recipe.sampling.spacing
        exact = deformation.identity and np.allclose(case.spacing, spacing, rtol=0.05)
        reach = deformation.reach_mm(_times(patch, spacing))
        indices, moved = [], []
        for axis in range(3):
            low, high = slab if axis == 0 else (0, case.shape[axis])
            if exact:
                first = round(centre[axis] - patch[axis] / 2)
                index = low + mirrored(first - low, patch[axis], high - low)
                moved.append(patch[axis] / 2)
            else:
                half = reach[axis] / case.spacing[axis]
                first = min(max(low, int(centre[axis] - half) - MARGIN), high - 1)
                last = max(min(high, int(centre[axis] + half) + 1 + MARGIN), first + 1)
                index = np.arange(first, last)
                moved.append(centre[axis] - first)
            indices.append(index)
        previous = None
        if self.recipe.network.previous:
            previous = _take(self.store.previous(case), indices)
        return Crop(
            _take(self.store.image(case), indices), _take(self.store.labels(case), indices),
            previous, case.spacing, (moved[0], moved[1], moved[2]), deformation, case.annotated,
            exact,
        )

    def _slab(self, case: StoredCase, rng: np.random.Generator) -> tuple[int, int]:
        """First and last + 1 slice of the part of the scan that the patch may see."""
        depth = case.shape[0]
        if rng.random() >= self.recipe.sampling.slab:
            return 0, depth
        wanted = round(rng.uniform(*self.recipe.sampling.slab_mm) / case.spacing[0])
        thickness = min(max(wanted, 1), depth)
        first = int(rng.integers(depth - thickness + 1))
        return first, first + thickness

    def _centre(
        self, case: StoredCase, foreground: npt.NDArray[np.int32], extent: Triple,
        slab: tuple[int, int], rng: np.random.Generator,
    ) -> Triple:
        """Centre of the patch in voxels from the scan's outer edge.

        The patch stays within the scan (the slab) where it fits, and is centred where not.
        """
        ends = (slab, (0, case.shape[1]), (0, case.shape[2]))
        bounds = []
        for (low, high), size, spacing in zip(ends, extent, case.spacing, strict=True):
            half = size / spacing / 2
            middle = (low + high) / 2
            bounds.append((min(low + half, middle), max(high - half, middle)))
        centre = [rng.uniform(low, high) for low, high in bounds]
        visible = foreground[(foreground[:, 1] >= slab[0]) & (foreground[:, 1] < slab[1])]
        if rng.random() < self.recipe.sampling.foreground and len(visible):
            value = rng.choice(np.unique(visible[:, 0]))
            voxel = rng.choice(visible[visible[:, 0] == value])[1:]
            centre = [min(max(v + 0.5, low), high)
                      for v, (low, high) in zip(voxel, bounds, strict=True)]
        return (centre[0], centre[1], centre[2])

    def _rng(self, step: int, member: int, purpose: int = 0) -> np.random.Generator:
        return np.random.default_rng((self.recipe.seed, step, member + 1, purpose))


def _take(array_ZYX: ArrayT, indices: Sequence[npt.NDArray[np.intp]]) -> ArrayT:
    """A piece of a memory-mapped array; the indices (z, y, x) may repeat and turn back."""
    box = tuple(slice(int(i.min()), int(i.max()) + 1) for i in indices)
    # The box is read at one go: fancy indexing of a mapped file visits it voxel by voxel.
    piece = np.array(array_ZYX[box])
    if any((np.diff(i) != 1).any() for i in indices):
        piece = np.ascontiguousarray(piece[np.ix_(*(i - i.min() for i in indices))])
    return piece  # type: ignore[return-value]


def _times(patch: Shape, spacing: Triple) -> Triple:
    z, y, x = (n * s for n, s in zip(patch, spacing, strict=True))
    return (z, y, x)
