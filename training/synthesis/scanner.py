"""What the scanner adds: the table, leads on the skin, noise, and the round field of view."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.types import Triple
from training.synthesis.draw import Draw

PADDING_HU = -1024.0
# Half width at half maximum of a reconstruction kernel and so of the noise's grains, mm.
NOISE_GRAIN_MM = (0.5, 1.4)
# Anything denser than this is no air.
AIR_HU = -700.0


def add_table(draw: Draw, image_ZYX: Tensor, spacing: Triple) -> Tensor:
    """A curved table top just behind the body: two thin shells with foam between."""
    if draw.chance(0.15):
        return image_ZYX
    height, width = image_ZYX.shape[1:]
    y = _millimetres(height, spacing[1], image_ZYX)
    x = _millimetres(width, spacing[2], image_ZYX)
    middle = slice(width * 2 // 5, max(width * 3 // 5, width * 2 // 5 + 1))
    rows = (image_ZYX[:, :, middle] > AIR_HU).any(dim=2).float().mean(dim=0) > 0.3
    if not rows.any():
        return image_ZYX
    back = y[int(torch.nonzero(rows).max())] + spacing[1] / 2
    curve = draw.uniform(0, 1 / 900)
    offset = (x - x.mean()) - draw.uniform(-30, 30)
    top_X = back + draw.uniform(0, 6) - curve * offset**2
    below_YX = y[:, None] - top_X[None, :]
    thickness = draw.uniform(15, 60)
    shell = draw.uniform(-400, 200)
    table_YX = torch.full_like(below_YX, draw.uniform(-980, -880))
    soft = max(spacing[1] / 2, 1.0)
    for surface in (2.0, thickness):
        weight = torch.exp(-0.5 * ((below_YX - surface) / soft) ** 2)
        table_YX += weight * (shell - table_YX) * min(1.0, 2.0 / soft)
    inside = (below_YX > 0) & (below_YX < thickness + 4)
    inside &= (offset.abs() < draw.uniform(180, 260))[None, :]
    return torch.where(inside[None] & (image_ZYX < AIR_HU), table_YX[None], image_ZYX)


def add_leads(draw: Draw, image_ZYX: Tensor, spacing: Triple) -> Tensor:
    """Thin wires over the front of the body: bright specks that wander from slice to slice."""
    depth, _, width = image_ZYX.shape
    body_ZX = (image_ZYX > AIR_HU).any(dim=1)
    front_ZX = (image_ZYX > AIR_HU).float().argmax(dim=1)
    for _ in range(draw.choice(4)):
        start, slope = draw.uniform(0.2, 0.8) * width, draw.uniform(-0.6, 0.6)
        z = torch.arange(depth, device=image_ZYX.device)
        x = (start + slope * z * spacing[0] / spacing[2]).round().long()
        seen = (x >= 0) & (x < width)
        z, x = z[seen], x[seen]
        seen = body_ZX[z, x]
        z, x = z[seen], x[seen]
        above = (front_ZX[z, x] - 1).clamp_min(0)
        image_ZYX[z, above, x] = draw.uniform(-200, 1200)
    return image_ZYX


def add_noise(draw: Draw, image_ZYX: Tensor, spacing: Triple, slice_mm: float) -> Tensor:
    """Quantum noise with the grain of a reconstruction kernel, and faint horizontal streaks.

    Neighbouring voxels share noise only as far as the grain and the slice thickness reach; on a
    coarse grid, which is sampled and not averaged from the scan, it is nearly white. Thin slices
    are noisier.
    """
    level = min(max(draw.lognormal(11, 0.55), 3), 45) * min(2.0, (3.0 / slice_mm) ** 0.4)
    noise = draw.white(image_ZYX.shape)  # type: ignore[arg-type]
    grain = draw.uniform(*NOISE_GRAIN_MM)
    for axis, size in enumerate((slice_mm / 2, grain, grain)):
        noise = _blurred(noise, axis, size / spacing[axis])
    noise = noise / noise.std().clamp_min(1e-6) * level
    if draw.chance(0.3):  # photons starve along the widest way through the body
        flat = (image_ZYX.shape[0], image_ZYX.shape[1], 1)
        noise += draw.uniform(0, 0.7) * level * draw.white(flat)
    # Filtered back-projection is noisiest in the middle of the body.
    y = _millimetres(image_ZYX.shape[1], spacing[1], image_ZYX) / 180
    x = _millimetres(image_ZYX.shape[2], spacing[2], image_ZYX) / 220
    weight = 0.6 + 0.6 * torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2))
    return image_ZYX.addcmul(noise, weight)


def cut_field_of_view(draw: Draw, image_ZYX: Tensor, labels_ZYX: Tensor, spacing: Triple) -> None:
    """Blank what lies outside the reconstruction circle, in place, in some scans."""
    if draw.chance(0.6):
        return
    y = _millimetres(image_ZYX.shape[1], spacing[1], image_ZYX) - draw.uniform(-25, 25)
    x = _millimetres(image_ZYX.shape[2], spacing[2], image_ZYX) - draw.uniform(-25, 25)
    outside_YX = torch.hypot(y[:, None], x[None, :]) > draw.uniform(330, 500) / 2
    image_ZYX[:, outside_YX] = PADDING_HU
    labels_ZYX[:, outside_YX] = 0


def averaged(image_ZYX: Tensor) -> Tensor:
    """Mean over those of 3x3x3 voxels that are there, be the image as thin as one voxel."""
    # Padding by avg_pool3d itself refuses images of two voxels along an axis.
    inside = torch.ones_like(image_ZYX)
    sums, counts = (
        F.avg_pool3d(F.pad(image[None, None], (1,) * 6), 3, 1)[0, 0]
        for image in (image_ZYX, inside)
    )
    return sums / counts


def fine_noise(image_ZYX: Tensor) -> Tensor:
    """A real scan's own noise, HU, for what is drawn into it."""
    return (image_ZYX - averaged(image_ZYX)).clamp(-40, 40)


def _millimetres(count: int, spacing: float, like: Tensor) -> Tensor:
    """Positions of ``count`` voxel centres, 0 in the middle."""
    return (torch.arange(count, device=like.device) + 0.5 - count / 2) * spacing


def _blurred(noise: Tensor, axis: int, voxels: float) -> Tensor:
    """Gaussian blur along one axis by a half width at half maximum in voxels."""
    deviation = voxels / 1.18
    if deviation < 0.2:
        return noise
    reach = math.ceil(2.5 * deviation)
    taps = torch.arange(-reach, reach + 1, device=noise.device)
    kernel = torch.exp(-0.5 * (taps / deviation) ** 2)
    shape = [1, 1, 1, 1, 1]
    shape[axis + 2] = len(kernel)
    pad = [0] * 6
    pad[5 - 2 * axis] = pad[4 - 2 * axis] = reach
    padded = F.pad(noise[None, None], pad, mode="replicate")
    return F.conv3d(padded, (kernel / kernel.sum()).reshape(shape))[0, 0]
