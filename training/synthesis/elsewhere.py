"""Patches of what is no abdomen: limbs, heads, bags of fluid, air.

Label maps of trunks teach a network that there is always something to find. These patches are cut
from simple solids and hold none of the 14 classes, which the loss may then say of each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inference.types import Shape, Triple
from training.patches.deform import rotation
from training.synthesis.draw import Draw
from training.synthesis.scanner import add_noise, add_table

AIR_HU = -1000.0
# Shares of the kinds; what is left is a bag of fluid or a uniform phantom.
LIMBS, HEAD, AIR = 0.5, 0.35, 0.05


def elsewhere(draw: Draw, patch: Shape, spacing: Triple) -> Tensor:
    """One patch.

    Args:
        draw: decides everything; its generator's device is where the patch is made.
        patch: (z, y, x) voxels of ``spacing`` mm.

    Returns:
        float32 (z, y, x), HU.
    """
    points = _points(draw, patch, spacing)
    kind = draw.uniform(0, 1)
    if kind < LIMBS:
        image = _limbs(draw, points, patch, spacing)
    elif kind < LIMBS + HEAD:
        image = _head(draw, points, patch, spacing)
    elif kind < LIMBS + HEAD + AIR:
        image = torch.full(patch, AIR_HU, device=points.device)
    else:
        image = _phantom(draw, points)
    slice_mm = draw.uniform(1, 5)
    image = add_noise(draw, add_table(draw, image, spacing), spacing, slice_mm)
    return image.clamp_(-1024, 3071)


def _points(draw: Draw, patch: Shape, spacing: Triple) -> Tensor:
    """(3, z, y, x): mm from a point near the patch's middle, along turned and wavy axes."""
    axes = [
        (torch.arange(n, device=draw.generator.device) + 0.5 - n / 2) * s
        for n, s in zip(patch, spacing, strict=True)
    ]
    upright = 12.0 if draw.chance(0.8) else 60.0  # degrees; raised arms lie across the scan
    turn = rotation([math.radians(draw.normal(0, upright)) for _ in range(3)])
    matrix = torch.tensor(turn, dtype=torch.float32, device=draw.generator.device)
    straight = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    points = torch.einsum("ij,jzyx->izyx", matrix, straight)
    points += draw.uniform(2, 8) * draw.smooth(patch, spacing, 70.0, channels=3)
    offset = torch.tensor([draw.normal(0, 50), draw.normal(0, 25), draw.normal(0, 25)])
    return points + offset.to(points.device)[:, None, None, None]


def _limbs(draw: Draw, points: Tensor, patch: Shape, spacing: Triple) -> Tensor:
    """One limb or two beside each other: skin, fat, muscles with fat between, bone, vessels."""
    z, y, x = points
    radius = draw.uniform(30, 110)
    apart = draw.uniform(1.0, 1.5) * radius if draw.chance(0.7) else 0.0
    x = x.abs() - apart if apart else x
    taper = 1 + draw.uniform(-0.002, 0.002) * z
    level = torch.hypot(y * draw.uniform(0.8, 1.2), x) / (radius * taper)
    fat = draw.normal(-100, 10)
    image = torch.full(patch, AIR_HU, device=points.device)
    image = torch.where(level < 1, fat, image)
    within = draw.uniform(0.6, 0.97)
    muscle = draw.normal(55, 12)
    septa = draw.smooth(patch, spacing, draw.uniform(15, 40))[0].abs() > draw.uniform(0.03, 0.25)
    image = torch.where((level < within) & septa, muscle, image)
    for _ in range(1 + draw.choice(3)):
        side, back = (draw.normal(0, 0.3) * radius for _ in range(2))
        vessel = torch.hypot(y - back, x - side) < draw.uniform(2, 7)
        image = torch.where(vessel & (level < within), draw.uniform(20, 250), image)
    for _ in range(1 + draw.choice(2)):
        side, back = (draw.normal(0, 0.15) * radius for _ in range(2))
        share = draw.uniform(0.1, 0.3) * radius
        bone = torch.hypot(y - back, x - side) / share
        image = torch.where(bone < 1, draw.uniform(300, 1500), image)
        marrow = draw.uniform(-80, 300)
        image = torch.where(bone < draw.uniform(0.5, 0.9), marrow, image)
    return image


def _head(draw: Draw, points: Tensor, patch: Shape, spacing: Triple) -> Tensor:
    """Scalp, skull, brain with ventricles; air and bone in front and below, where the face is."""
    z, y, x = points
    size = draw.uniform(0.75, 1.1)
    level = torch.sqrt((z / 90) ** 2 + (y / 95) ** 2 + (x / 75) ** 2) / size
    brain = draw.normal(34, 5) + draw.uniform(1, 8) * draw.smooth(patch, spacing, 14.0)[0]
    image = torch.where(level < 1.14, draw.normal(40, 40), torch.full_like(level, AIR_HU))
    image = torch.where(level < 1.06, draw.uniform(500, 1500), image)
    image = torch.where(level < draw.uniform(0.9, 1.0), brain, image)
    hollow = torch.sqrt((z / 20) ** 2 + (y / 40) ** 2 + ((x.abs() - 9) / 7) ** 2)
    image = torch.where(hollow < draw.uniform(0.5, 1.6), draw.normal(6, 4), image)
    if draw.chance(0.2):  # blood or a mass
        spot = [draw.normal(0, 30) for _ in range(3)]
        squares = [(p - s) ** 2 for p, s in zip(points, spot, strict=True)]
        away = torch.sqrt(squares[0] + squares[1] + squares[2])
        inside = (away < draw.uniform(5, 30)) & (level < 0.9)
        image = torch.where(inside, draw.uniform(10, 90), image)
    face = (z < -35 * size) & (y < 20) & (torch.hypot((y + 45) / 1.1, x) < 62 * size)
    bits = draw.smooth(patch, spacing, 16.0)[0]
    image = torch.where(face, torch.where(bits > 0.8, 700.0, 50.0), image)
    image = torch.where(face & (bits < draw.uniform(-1.2, -0.5)), AIR_HU, image)
    neck = (z < -70 * size) & (torch.hypot(y - 10, x) < draw.uniform(45, 70))
    soft = draw.uniform(20, 120) + 30 * draw.smooth(patch, spacing, 20.0)[0]
    image = torch.where(neck, soft, image)
    spine = (z < -40 * size) & (torch.hypot(y - 30, x) < draw.uniform(8, 16))
    return torch.where(spine, draw.uniform(150, 700), image)


def _phantom(draw: Draw, points: Tensor) -> Tensor:
    """A bottle or a bag: one ball or cylinder, uniform but for an insert."""
    z, y, x = points
    along = z / draw.uniform(60, 200) if draw.chance(0.5) else torch.zeros_like(z)
    radius = draw.uniform(40, 170)
    level = torch.sqrt((y / radius) ** 2 + (x / (radius * draw.uniform(0.8, 1.5))) ** 2 + along**2)
    image = torch.where(level < 1, draw.normal(20, 60), torch.full_like(level, AIR_HU))
    insert = torch.hypot(y - draw.normal(0, 40), x - draw.normal(0, 40)) < draw.uniform(5, 40)
    return torch.where(insert & (level < 1), draw.uniform(-900, 1000), image)
