"""Synthetic CT patches with exact labels, from label maps alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from inference.labels import NAMES, TUMOR
from inference.types import Shape, Triple
from training.data.coding import TUMOR_BIT
from training.synthesis.anatomy import MARGIN, Anatomy, build_anatomy
from training.synthesis.appearance import Appearance, draw_appearance
from training.synthesis.draw import Draw
from training.synthesis.elsewhere import elsewhere
from training.synthesis.geometry import Pose, draw_pose
from training.synthesis.scanner import add_leads, add_noise, add_table, cut_field_of_view
from training.synthesis.tissues import LABELS, Tissue
from training.synthesis.tumor import add_cysts, add_tumors

SLICE_MM = (1.0, 1.25, 2.0, 2.5, 3.0, 3.0, 5.0, 5.0)
# Corners of a cube, every second one: points over which one voxel averages, as (z, y, x) shares of
# its extent; different in z, so that a thick slice is covered evenly.
SAMPLES = ((-0.375, -0.25, -0.25), (-0.125, 0.25, 0.25), (0.125, -0.25, 0.25), (0.375, 0.25, -0.25))
# Vessels: distance between the knots of two fields; a vessel is where the sum of their squares
# stays below VESSEL, with a border of VESSEL_EDGE.
VESSEL_MM, VESSEL, VESSEL_EDGE = 24.0, 0.06, 0.02


class SyntheticSource:
    """Draws patches of synthetic CT at one spacing.

    Args:
        anatomies: bodies to draw from, see :func:`load_anatomies`.
        spacing: of the patches, (z, y, x) in mm.
        device: where patches are made; the generators given to :meth:`sample` live there too.
        tumor_chance: share of patches to which tumours are added.
        elsewhere_chance: share of patches that show no abdomen.
        cyst_chance: share of the others to which cysts are added.
    """

    def __init__(
        self,
        anatomies: Sequence[Anatomy],
        spacing: Triple,
        device: str | torch.device = "cpu",
        tumor_chance: float = 0.6,
        elsewhere_chance: float = 0.0,
        cyst_chance: float = 0.0,
    ) -> None:
        self.anatomies = list(anatomies)
        self.spacing = spacing
        self.device = torch.device(device)
        self.tumor_chance = tumor_chance
        self.elsewhere_chance = elsewhere_chance
        self.cyst_chance = cyst_chance
        self._codes = [torch.as_tensor(a.codes_ZYX, device=self.device) for a in anatomies]
        labels = [LABELS.get(tissue, 0) for tissue in Tissue]
        self._labels = torch.tensor(labels, dtype=torch.uint8, device=self.device)

    def sample(self, generator: torch.Generator, patch: Shape) -> tuple[Tensor, Tensor, Tensor]:
        """One patch.

        Args:
            generator: decides everything; equal states give equal patches on one device.
            patch: (z, y, x) voxels.

        Returns:
            image_ZYX: float32, HU, canonical LPS order.
            labels_ZYX: uint8, FLARE values.
            annotated: bool (14,), entry c for label c + 1. Classes that the label map lacks are
                unknown. The tumour is always known: there are those that were put in.
        """
        image_ZYX, coded_ZYX, annotated = self.sample_coded(generator, patch)
        organs_ZYX = coded_ZYX & (TUMOR_BIT - 1)
        return image_ZYX, torch.where(coded_ZYX >= TUMOR_BIT, TUMOR, organs_ZYX), annotated

    def sample_coded(
        self, generator: torch.Generator, patch: Shape
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As :meth:`sample`, but with coded labels (:mod:`training.data.coding`): a tumour's voxels
        keep the organ that they were drawn in.
        """
        draw = Draw(generator)
        if self.elsewhere_chance and draw.chance(self.elsewhere_chance):
            nothing = torch.zeros(patch, dtype=torch.uint8, device=self.device)
            known = torch.ones(len(NAMES), dtype=torch.bool, device=self.device)
            return elsewhere(draw, patch, self.spacing), nothing, known
        number = draw.choice(len(self.anatomies))
        anatomy, codes = self.anatomies[number], self._codes[number]
        appearance = draw_appearance(draw, self.device)
        slice_mm = SLICE_MM[draw.choice(len(SLICE_MM))]
        pose = draw_pose(draw, anatomy, patch, self.spacing)
        image_ZYX, coded_ZYX = self._painted(draw, codes, pose, appearance, slice_mm)
        if draw.chance(self.cyst_chance):
            image_ZYX = add_cysts(image_ZYX, coded_ZYX, generator, self.spacing)
        if draw.chance(self.tumor_chance):
            image_ZYX, labels = add_tumors(image_ZYX, coded_ZYX, generator, self.spacing)
            coded_ZYX = coded_ZYX | (labels == TUMOR) * TUMOR_BIT
        image_ZYX = add_table(draw, image_ZYX, self.spacing)
        image_ZYX = add_leads(draw, image_ZYX, self.spacing)
        image_ZYX = add_noise(draw, image_ZYX, self.spacing, slice_mm)
        cut_field_of_view(draw, image_ZYX, coded_ZYX, self.spacing)
        values = (*anatomy.annotated, TUMOR)
        annotated = torch.tensor([value in values for value in NAMES], device=self.device)
        return image_ZYX.clamp_(-1024, 3071), coded_ZYX, annotated

    def _painted(
        self, draw: Draw, codes: Tensor, pose: Pose, appearance: Appearance, slice_mm: float
    ) -> tuple[Tensor, Tensor]:
        """HU of the patch (tissue values averaged over each voxel, vessels, unevenness); labels."""
        centre = _gather(codes, pose.points)
        patch = (centre.shape[0], centre.shape[1], centre.shape[2])
        # Level surfaces wander by a few positions, so that fat and bowel have no even thickness.
        jitter = draw.smooth(patch, self.spacing, 70.0)[0] * 3
        jitter = jitter.round_().clamp_(1 - MARGIN, MARGIN - 1).short()
        pixel_mm = draw.uniform(1.0, 2.4)
        image = torch.zeros(patch, device=self.device)
        for shares in SAMPLES:
            offset = torch.tensor([shares[0] * 1.2 * slice_mm, *(s * pixel_mm for s in shares[1:])])
            shift = (pose.step @ offset.to(self.device)).tolist()
            code = (_gather(codes, pose.points, shift) + jitter).int()
            image += appearance.hounsfield[code]
        image /= len(SAMPLES)
        tissue = (centre >> 8).int()
        vessels = appearance.vessels[tissue]
        if vessels.any():
            # Where two smooth fields vanish together, they do so along winding lines.
            a, b = draw.smooth(patch, self.spacing, VESSEL_MM, 2)
            distance = a.mul_(a).add_(b.mul_(b))
            image += vessels * torch.sigmoid_((VESSEL - distance).div_(VESSEL_EDGE))
        fine = draw.smooth(patch, self.spacing, 7.0)[0]
        coarse = draw.smooth(patch, self.spacing, 25.0)[0]
        image += appearance.texture[(centre + jitter).int()] * (0.8 * fine + 0.6 * coarse)
        return image, self._labels[tissue]


def load_anatomies(label_maps: Sequence[Path], structures: Path, cache: Path) -> list[Anatomy]:
    """Bodies of label maps, built once (about half a minute each) and memory-mapped from then on.

    Args:
        label_maps: TotalSegmentator v2 ids, isotropic voxels.
        structures: JSON object id -> structure name.
        cache: folder for the built bodies; many processes may share it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    anatomies = []
    for label_map in label_maps:
        digest = hashlib.sha256(label_map.read_bytes()).hexdigest()[:12]
        path = cache / f"{label_map.name.split('.')[0]}.{digest}.npy"
        if not path.with_suffix(".json").exists():
            partial = cache / f"{os.getpid()}.npy"
            build_anatomy(label_map, structures).save(partial)
            partial.replace(path)
            partial.with_suffix(".json").replace(path.with_suffix(".json"))
        anatomies.append(Anatomy.load(path))
    return anatomies


def _gather(codes: Tensor, points: Tensor, shift: Sequence[float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Codes nearest to (3, z, y, x) voxel positions; beyond the array its border is repeated."""
    index = torch.zeros(points.shape[1:], dtype=torch.int32, device=points.device)
    for axis, size in enumerate(codes.shape):
        nearest = (points[axis] + shift[axis]).round_().clamp_(0, size - 1).int()
        index = index.mul_(size).add_(nearest)
    return codes.view(-1)[index]
