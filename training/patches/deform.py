"""Spatial augmentation: where each voxel of a patch is taken from, and the taking.

Geometry is in millimetres along (z, y, x), so that anisotropic voxels rotate correctly. Image and
labels are sampled once, from the stored scan straight to the patch; beyond the scan's ends they
are mirrored, as thin scans are at inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from inference.types import Shape, Triple
from training.recipe import Augmentation


@dataclass(frozen=True)
class Deformation:
    """A random spatial transform about the patch's centre.

    Attributes:
        matrix: 3x3, from offsets in the patch to offsets in the scan, mm along (z, y, x).
        control_mm: (3, z, y, x) displacements at control points spread evenly over the patch, mm,
            or None.
    """

    matrix: npt.NDArray[np.float64]
    control_mm: npt.NDArray[np.float32] | None = None

    @property
    def identity(self) -> bool:
        return self.control_mm is None and np.array_equal(self.matrix, np.eye(3))

    def reach_mm(self, extent_mm: Triple) -> npt.NDArray[np.float64]:
        """How far from its centre, along (z, y, x), a patch of that extent takes voxels."""
        furthest = np.array(extent_mm) / 2
        if self.control_mm is not None:
            furthest = furthest + np.abs(self.control_mm).max(axis=(1, 2, 3))
        reach: npt.NDArray[np.float64] = np.abs(self.matrix) @ furthest
        return reach


IDENTITY = Deformation(np.eye(3))


def draw_deformation(
    settings: Augmentation, extent_mm: Triple, rng: np.random.Generator
) -> Deformation:
    """Rotation, scaling and elastic deformation, each with its own probability."""
    matrix = np.eye(3)
    if rng.random() < settings.rotation:
        matrix = matrix @ rotation(
            [math.radians(rng.uniform(-a, a)) for a in settings.rotation_degrees]
        )
    if rng.random() < settings.scaling:
        matrix = matrix * math.exp(rng.uniform(*np.log(settings.scaling_range)))
    control = None
    if rng.random() < settings.elastic:
        points = [max(2, round(e / settings.elastic_spacing_mm) + 1) for e in extent_mm]
        control = rng.normal(0, rng.uniform(*settings.elastic_mm), (3, *points)).astype(np.float32)
    return Deformation(matrix, control)


def rotation(angles: list[float]) -> npt.NDArray[np.float64]:
    """Rotation matrix for (z, y, x) vectors: about the z, then the y, then the x axis, radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (i for i in range(3) if i != axis)
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = math.cos(angle)
        turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix


def sampling_grid(
    patch: Shape,
    spacing: Triple,
    deformation: Deformation,
    *,
    centre: Triple,
    source: Shape,
    source_spacing: Triple,
    device: torch.device,
) -> Tensor:
    """Grid for ``functional.grid_sample(align_corners=False)``: (1, z, y, x, 3), x first.

    Args:
        patch, spacing: of the patch, voxels and mm.
        centre: of the patch in the source, in voxels from its outer edge, (z, y, x).
        source, source_spacing: shape and voxel size of the array that is sampled.
    """
    axes = [
        (torch.arange(n, device=device) + (0.5 - n / 2)) * s
        for n, s in zip(patch, spacing, strict=True)
    ]
    offset_ZYX3 = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).float()
    if deformation.control_mm is not None:
        control = torch.from_numpy(deformation.control_mm).to(device)[None]
        shift = functional.interpolate(control, size=patch, mode="trilinear", align_corners=True)
        offset_ZYX3 += shift[0].permute(1, 2, 3, 0)
    # From mm to grid_sample's units, in which the source's edges lie at -1 and 1.
    unit = 2 / (np.array(source) * np.array(source_spacing))
    matrix = torch.from_numpy((deformation.matrix * unit[:, None]).astype(np.float32)).to(device)
    shift = torch.tensor(
        [2 * c / n - 1 for c, n in zip(centre, source, strict=True)],
        dtype=torch.float32,
        device=device,
    )
    return (offset_ZYX3 @ matrix.T + shift).flip(-1)[None]


def sample(image_CZYX: Tensor, grid_1ZYX3: Tensor, mode: str) -> Tensor:
    """Values at the grid's places: (C, z, y, x) float32; ``bilinear`` means trilinear here."""
    return functional.grid_sample(
        image_CZYX[None].float(),
        grid_1ZYX3,
        mode=mode,
        padding_mode="reflection",
        align_corners=False,
    )[0]


def mirrored(first: int, count: int, length: int) -> npt.NDArray[np.intp]:
    """Indices ``first .. first + count - 1`` into an axis of ``length`` that is mirrored beyond
    its ends, edge voxels repeated, as ``padding_mode="reflection"`` does it."""
    wave = np.arange(first, first + count) % (2 * length)
    return np.where(wave < length, wave, 2 * length - 1 - wave)
