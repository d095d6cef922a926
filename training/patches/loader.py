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

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from inference.labels import NAMES, TUMOR
from inference.types import Shape, Triple
from training.data.store import Store, StoredCase
from training.patches.augment import augment
from training.patches.crop import Crop, Place, read_crop
from training.patches.deform import draw_deformation
from training.recipe import Recipe

# Steps that are read ahead.
AHEAD = 3


@dataclass(frozen=True)
class Batch:
    """Patches on the device.

    Attributes:
        image_NCZYX: float32; channel 0 the CT, 1..14 the previous stage's labels in a cascade.
        labels_NZYX: uint8, coded (:mod:`training.data.coding`).
        annotated_NC: bool; column c is label c + 1.
    """

    image_NCZYX: Tensor
    labels_NZYX: Tensor
    annotated_NC: Tensor


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
        self,
        store: Store,
        cases: Sequence[StoredCase],
        recipe: Recipe,
        device: torch.device,
        *,
        rank: int = 0,
        world: int = 1,
        workers: int = 4,
    ) -> None:
        self.store, self.cases, self.recipe, self.device = store, cases, recipe, device
        self.members = range(rank, recipe.sampling.batch, world)
        self.workers = workers
        self._foreground = [np.array(store.foreground(case)) for case in cases]
        # Scans that show an annotated tumour, by patient: (number of the case, its tumour voxels).
        self._tumors: dict[str, list[tuple[int, npt.NDArray[np.int32]]]] = {}
        for number, (case, voxels) in enumerate(zip(cases, self._foreground, strict=True)):
            if len(of_tumor := voxels[voxels[:, 0] == TUMOR]):
                self._tumors.setdefault(case.patient, []).append((number, of_tumor))

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
        sampling = self.recipe.sampling
        spacing, foreground, slab = sampling.spacing, sampling.foreground, sampling.slab
        number = int(rng.integers(len(self.cases)))
        voxels = self._foreground[number]
        if sampling.tumor and self._tumors and rng.random() < sampling.tumor:
            patients = list(self._tumors.values())
            scans = patients[rng.integers(len(patients))]
            number, voxels = scans[rng.integers(len(scans))]
            foreground, slab = 1.0, 0.0  # a slab might miss the tumour
        case = self.cases[number]
        z, y, x = (n * s for n, s in zip(patch, spacing, strict=True))
        deformation = draw_deformation(self.recipe.augmentation, (z, y, x), rng)
        visible = self._slab(case, slab, rng)
        centre = self._centre(case, (voxels, foreground), (z, y, x), visible, rng)
        place = Place(case, patch, spacing, centre, visible, deformation)
        return read_crop(self.store, place, self.recipe.network.previous)

    def assemble(self, step: int, crops: Sequence[Crop]) -> Batch:
        """Sample the patches on the device and change their intensities."""
        images, labels = zip(*(crop.sampled(self.device) for crop in crops), strict=True)
        image, label = torch.stack(images), torch.stack(labels)
        changed = []
        for n, member in enumerate(self.members):
            generator = torch.Generator(self.device)
            generator.manual_seed(int(self._rng(step, member, 1).integers(2**62)))
            changed.append(
                augment(
                    image[n : n + 1, :1], self.recipe.augmentation, self.store.intensity, generator
                )
            )
        image[:, :1] = torch.cat(changed)
        annotated = torch.zeros(len(crops), len(NAMES), dtype=torch.bool)
        for n, crop in enumerate(crops):
            annotated[n, [value - 1 for value in crop.place.case.annotated]] = True
        return Batch(image, label, annotated.to(self.device))

    def _slab(self, case: StoredCase, share: float, rng: np.random.Generator) -> tuple[int, int]:
        """First and last + 1 slice of the part of the scan that the patch may see.

        ``share`` of the patches see only a slab.
        """
        depth = case.shape[0]
        if rng.random() >= share:
            return 0, depth
        wanted = round(rng.uniform(*self.recipe.sampling.slab_mm) / case.spacing[0])
        thickness = min(max(wanted, 1), depth)
        first = int(rng.integers(depth - thickness + 1))
        return first, first + thickness

    def _centre(
        self,
        case: StoredCase,
        foreground: tuple[npt.NDArray[np.int32], float],
        extent: Triple,
        slab: tuple[int, int],
        rng: np.random.Generator,
    ) -> Triple:
        """Centre of the patch in voxels from the scan's outer edge.

        The patch stays within the scan (the slab) where it fits, and is centred where not.
        ``foreground`` holds the voxels that it may be centred on, and how often it is.
        """
        voxels, share = foreground
        ends = (slab, (0, case.shape[1]), (0, case.shape[2]))
        bounds = []
        for (low, high), size, spacing in zip(ends, extent, case.spacing, strict=True):
            half = size / spacing / 2
            middle = (low + high) / 2
            bounds.append((min(low + half, middle), max(high - half, middle)))
        centre = [rng.uniform(low, high) for low, high in bounds]
        visible = voxels[(voxels[:, 1] >= slab[0]) & (voxels[:, 1] < slab[1])]
        if rng.random() < share and len(visible):
            value = rng.choice(np.unique(visible[:, 0]))
            voxel = rng.choice(visible[visible[:, 0] == value])[1:]
            centre = [
                min(max(v + 0.5, low), high) for v, (low, high) in zip(voxel, bounds, strict=True)
            ]
        return (centre[0], centre[1], centre[2])

    def _rng(self, step: int, member: int, purpose: int = 0) -> np.random.Generator:
        return np.random.default_rng((self.recipe.seed, step, member + 1, purpose))
