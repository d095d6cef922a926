"""Where the voxels of a synthetic patch lie in the body: pose, size, deformation, cut-off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.types import Shape, Triple
from training.patches.deform import rotation
from training.synthesis.anatomy import Anatomy
from training.synthesis.draw import Draw

# Control points of the deformation are this far apart. Displacements stay below MAX_SHIFT of it:
# the nine derivatives then stay below a third, so space is never folded.
KNOT_MM = (60.0, 110.0)
MAX_SHIFT = 0.15
# Closer to the first and last slice of a label map nothing is taken: a turned or deformed patch
# would reach beyond it.
MAP_MARGIN_MM = 15.0
# Where the sampled region may lie across the body, mm from its middle, for patches smaller than it.
BODY_HALF_WIDTH_MM = (110.0, 165.0)


@dataclass(frozen=True)
class Pose:
    """Positions of a patch in a body.

    Attributes:
        points: (3, z, y, x) voxel coordinates (z, y, x) in the anatomy.
        step: (3, 3) anatomy voxels per mm of the patch; columns are the patch's axes z, y, x.
    """

    points: Tensor
    step: Tensor


def draw_pose(draw: Draw, anatomy: Anatomy, patch: Shape, spacing: Triple) -> Pose:
    """Choose a place, a posture and a body shape.

    Left and right are never swapped. Where the scan ends within the patch, it is continued by
    mirroring, as scans thinner than a patch are at inference.
    """
    device = draw.generator.device
    step = _step(draw).to(device) / anatomy.spacing
    axes = [
        (torch.arange(n, device=device) + 0.5 - n / 2) * s
        for n, s in zip(patch, spacing, strict=True)
    ]
    centre = _centre(draw, anatomy, patch, spacing).to(device)
    first, last = _covered(draw, patch[0] * spacing[0])
    ends = (torch.tensor([0.0, anatomy.codes_ZYX.shape[0]]) - centre[0].item()) / step[0, 0].item()
    axes[0] = _mirrored(
        axes[0],
        max(first, ends[0].item() + MAP_MARGIN_MM),
        min(last, ends[1].item() - MAP_MARGIN_MM),
    )
    knot = draw.uniform(*KNOT_MM)
    shift = draw.smooth(patch, spacing, knot, channels=3)
    limit = draw.uniform(0.05, MAX_SHIFT) * knot / anatomy.spacing
    z, y, x = (a.reshape([-1 if i == k else 1 for k in range(3)]) for i, a in enumerate(axes))
    points = torch.tanh(shift / 2) * limit
    for row in range(3):
        points[row] += step[row, 0] * z + (step[row, 1] * y + step[row, 2] * x) + centre[row]
    return Pose(points, step)


def _step(draw: Draw) -> Tensor:
    """Rotation of a few degrees and a body size between small and large adults."""
    angles = [math.radians(draw.normal(0, 4)) for _ in range(3)]
    matrix = torch.tensor(rotation(angles), dtype=torch.float32)
    size = draw.lognormal(1.0, 0.08)
    return matrix / torch.tensor([size * draw.uniform(0.94, 1.06) for _ in range(3)])


def _centre(draw: Draw, anatomy: Anatomy, patch: Shape, spacing: Triple) -> Tensor:
    """Middle of the patch in anatomy voxels: at the abdominal organs, on or beside the midline."""
    first, last = anatomy.organs_z
    depth, margin = anatomy.codes_ZYX.shape[0], 0.05 * (last - first)
    lowest = max(first - margin, 0.2 * depth)  # room for a piece of scan on both sides
    centre = [draw.uniform(lowest, min(last + margin, 0.8 * depth))]
    for axis in (1, 2):
        middle = anatomy.codes_ZYX.shape[axis] / 2
        spare = BODY_HALF_WIDTH_MM[axis - 1] - 0.5 * patch[axis] * spacing[axis]
        reach = max(20.0, spare) / anatomy.spacing
        centre.append(middle + draw.uniform(-reach, reach))
    return torch.tensor(centre)


def _covered(draw: Draw, extent: float) -> tuple[float, float]:
    """Where the scan begins and ends along z, in mm from the middle of a patch of ``extent``."""
    if draw.chance(0.65):
        return -extent, extent
    length = draw.uniform(min(60.0, extent), extent)
    first = draw.uniform(-extent / 2, extent / 2 - length)
    return first, first + length


def _mirrored(positions: Tensor, first: float, last: float) -> Tensor:
    """Positions folded back into [first, last] as often as needed."""
    folded = torch.remainder(positions - first, 2 * (last - first))
    return first + torch.minimum(folded, 2 * (last - first) - folded)
