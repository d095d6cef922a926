"""Other contents for real stomachs.

A few scans show a few stomachs, while any stomach may hold gas over a level, water, food or oral
contrast, evenly or in lumps: a network that has seen only some draws only these. Here the wall
stays as it was scanned, and what it holds is exchanged; the label stays.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.types import Triple
from training.synthesis.draw import Draw
from training.synthesis.scanner import averaged, fine_noise

STOMACH = 11
# Thickness of what stays at the border, mm.
WALL_MM = (2.0, 5.0)
# HU of a wall, and the share of a voxel's neighbours that are none from which it is none, either.
WALL_HU, NEAR = (-150.0, 200.0), 0.2
GAS_HU, FROTH_HU = -980.0, (-700.0, -150.0)
# Cumulative chances of water and of food; the rest holds oral contrast.
WATER, FOOD = 0.3, 0.6
GAS_CHANCE, FROTH_CHANCE = 0.7, 0.3


def fill_stomach(
    image_ZYX: Tensor, labels_ZYX: Tensor, generator: torch.Generator, spacing: Triple
) -> Tensor:
    """The image with other contents in the stomach; unchanged where the patch shows no room in it.

    Args:
        image_ZYX: float32, HU, the patient's back at the end of y; it is not changed.
        labels_ZYX: uint8, FLARE values. A tumour in the stomach stays as it is.
        generator: decides everything; on the tensors' device.
        spacing: (z, y, x) in mm.
    """
    draw = Draw(generator)
    stomach = labels_ZYX == STOMACH
    # Gas and contrast that are there reach through a wall thinner than that, or a coarse label.
    held = stomach & ((image_ZYX < WALL_HU[0]) | (image_ZYX > WALL_HU[1]))
    lumen = _inner(stomach, draw.uniform(*WALL_MM), spacing)
    lumen |= stomach & (averaged(held.to(image_ZYX.dtype)) > NEAR)
    voxels = torch.nonzero(lumen)
    if not len(voxels):
        return image_ZYX
    first, last = voxels.amin(dim=0).tolist(), (voxels.amax(dim=0) + 1).tolist()
    box = tuple(
        slice(max(low - 2, 0), min(high + 2, size))
        for low, high, size in zip(first, last, image_ZYX.shape, strict=True)
    )
    around = image_ZYX[box]
    contents = _contents(draw, around, spacing) + fine_noise(around)
    if draw.chance(GAS_CHANCE):
        height = (voxels[:, 1].float() + 0.5).sort().values - box[1].start
        level = float(height[int(draw.uniform(0, 0.7) * (len(height) - 1))])
        rows = torch.arange(around.shape[1], device=around.device) + 0.5
        gas_Y = (level - rows + 0.5).clamp(0, 1)[:, None]
        contents = contents + gas_Y * (GAS_HU - contents)
    # A voxel at the lumen's border holds some of both.
    weight = averaged(lumen[box].to(around.dtype)) * (labels_ZYX[box] == STOMACH)
    image = image_ZYX.clone()
    image[box] = around + weight * (contents - around)
    return image


def _inner(organ_ZYX: Tensor, wall_mm: float, spacing: Triple) -> Tensor:
    """What lies deeper in an organ than its wall, along each axis; the patch's ends are no wall."""
    outside = (~organ_ZYX)[None].float()
    for axis in range(3):
        reach = max(1, round(wall_mm / spacing[axis]))
        size, pad = [1, 1, 1], [0, 0, 0]
        size[axis], pad[axis] = 2 * reach + 1, reach
        outside = F.max_pool3d(outside, size, stride=1, padding=pad)
    return outside[0] == 0


def _contents(draw: Draw, around: Tensor, spacing: Triple) -> Tensor:
    """HU of water, food or oral contrast over a box."""
    shape = (around.shape[0], around.shape[1], around.shape[2])
    lumps = draw.smooth(shape, spacing, draw.uniform(6, 25))[0]
    kind = draw.uniform(0, 1)
    if kind < WATER:
        contents = draw.normal(12, 8) + draw.uniform(0, 5) * lumps
    elif kind < FOOD:
        contents = draw.uniform(10, 80) + draw.uniform(10, 60) * lumps
    else:
        oral = draw.lognormal(220, 0.6)
        contents = oral * (1 + draw.uniform(0.03, 0.5) * lumps).clamp_min(0.1)
    if kind > WATER and draw.chance(FROTH_CHANCE):
        bits = draw.smooth(shape, spacing, draw.uniform(5, 12))[0]
        contents = torch.where(bits > draw.uniform(1.2, 2.2), draw.uniform(*FROTH_HU), contents)
    return contents
