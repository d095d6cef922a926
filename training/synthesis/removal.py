"""Organs taken away from real patches, as after a splenectomy, nephrectomy or cholecystectomy.

Every training scan shows a spleen, and so a network draws one in whatever looks most like it where
there is none. Here an organ and its rim become fat with loops of bowel in it, and its label is
empty. What surrounds it stays.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.labels import BACKGROUND, TUMOR
from inference.types import Triple
from training.synthesis.draw import Draw
from training.synthesis.scanner import averaged, fine_noise

# Kidneys, spleen, gallbladder, stomach: what surgeons remove and patients live without.
REMOVABLE = (2, 13, 3, 9, 11)
# An organ's border is a voxel or two off its label; what is left of it would say where it was.
RIM_MM = 5.0
FAT_HU = (-100.0, 12.0)
BOWEL_HU, BOWEL_SHARE, LOOP_MM = (0.0, 60.0), (0.1, 0.7), (8.0, 20.0)


def take_away(
    image_ZYX: Tensor, labels_ZYX: Tensor, organ: int, generator: torch.Generator, spacing: Triple
) -> tuple[Tensor, Tensor]:
    """The patch after an organ was removed; the same where a tumour lies in the organ.

    Args:
        image_ZYX: float32, HU; it is not changed, nor are the labels.
        labels_ZYX: uint8, FLARE values.
        organ: one of them.
        generator: decides everything; on the tensors' device.
        spacing: (z, y, x) in mm.
    """
    own = labels_ZYX == organ
    grown = _grown(own, spacing)
    voxels = torch.nonzero(grown)
    if not len(voxels) or bool((labels_ZYX[grown] == TUMOR).any()):
        return image_ZYX, labels_ZYX
    first, last = voxels.amin(dim=0).tolist(), (voxels.amax(dim=0) + 1).tolist()
    box = tuple(slice(low, high) for low, high in zip(first, last, strict=True))
    around = image_ZYX[box]
    free = own[box] | (labels_ZYX[box] == BACKGROUND)
    weight = averaged((grown[box] & free).to(around.dtype)) * free
    weight = torch.where(own[box], torch.ones_like(weight), weight)
    draw = Draw(generator)
    filling = _fat_and_bowel(draw, around, spacing) + _noise(draw, around, own[box])
    image, labels = image_ZYX.clone(), labels_ZYX.clone()
    image[box] = around + weight * (filling - around)
    labels[own] = BACKGROUND
    return image, labels


def _grown(mask_ZYX: Tensor, spacing: Triple) -> Tensor:
    """What lies within the rim's width of a mask along the axes."""
    grown = mask_ZYX[None].float()
    for axis in range(3):
        reach = max(1, round(RIM_MM / spacing[axis]))
        size, pad = [1, 1, 1], [0, 0, 0]
        size[axis], pad[axis] = 2 * reach + 1, reach
        grown = F.max_pool3d(grown, size, stride=1, padding=pad)
    return grown[0] > 0


def _noise(draw: Draw, around: Tensor, own: Tensor) -> Tensor:
    """As strong as the scan's noise within the organ. That itself holds the organ's outline, by
    which a network would know an organ that was taken away from one that is absent."""
    deviation = 1.48 * fine_noise(around)[own].abs().median()
    return deviation * draw.white((around.shape[0], around.shape[1], around.shape[2]))


def _fat_and_bowel(draw: Draw, around: Tensor, spacing: Triple) -> Tensor:
    """HU of a box of fat with soft-edged loops."""
    shape = (around.shape[0], around.shape[1], around.shape[2])
    fat = draw.normal(*FAT_HU) + draw.uniform(2, 12) * draw.smooth(shape, spacing, 12.0)[0]
    loops = draw.smooth(shape, spacing, draw.uniform(*LOOP_MM))[0]
    level = torch.quantile(
        loops.flatten()[:: max(1, loops.numel() // 4096)], 1 - draw.uniform(*BOWEL_SHARE)
    )
    share = torch.sigmoid(8 * (loops - level))
    bowel = draw.uniform(*BOWEL_HU) + draw.uniform(2, 12) * draw.smooth(shape, spacing, 9.0)[0]
    return fat + share * (bowel - fat)
