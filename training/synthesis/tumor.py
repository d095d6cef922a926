"""Synthetic tumours, drawn into CT patches so that the tumour class has supervision, and cysts.

Where they may be added: the loss knows one state per case and class, annotated or not. A synthetic
scan (:mod:`training.synthesis`) has no tumour but those put in, and stays annotated for the tumour.
A real scan may get further tumours only if its own are annotated; where they are unknown, the
tumour stays unannotated and adding one would teach nothing. (After Hu et al., Label-free liver
tumor segmentation, CVPR 2023, which drew liver lesions alone.)

A cyst is no tumour and stays part of its organ. Without any, a network takes whatever is dark and
round for a tumour, the gallbladder above all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.labels import BACKGROUND, TUMOR
from inference.types import Triple
from training.synthesis.draw import Draw
from training.synthesis.scanner import averaged, fine_noise

# How often a tumour sits where; 0 stands for nodes and deposits in the fat between the organs.
SITES: dict[int, float] = {
    1: 0.34,
    2: 0.09,
    13: 0.09,
    4: 0.14,
    11: 0.07,
    3: 0.05,
    0: 0.10,
    7: 0.03,
    8: 0.03,
    9: 0.02,
    10: 0.02,
    12: 0.02,
}
# Diameter in mm: log-normal, cut at both ends.
MEDIAN_MM, SPREAD, SMALLEST_MM, LARGEST_MM = 24.0, 0.75, 5.0, 120.0
# Largest diameter relative to that of a ball of the organ's volume: a tumour seldom fills it.
ORGAN_SHARE = 0.8
# HU that count as soft tissue, where a tumour may start, and as fat, into which it may grow.
SOFT_HU = (-160.0, 260.0)
FAT_HU = (-160.0, 20.0)
# An organ above this shows contrast agent, by and large.
ENHANCED_HU = 65.0
# Shares of tumour in a voxel below this are none.
FAINTEST = 0.03
# At most this many in one patch; the smaller numbers are more frequent.
MOST = 6
# Cysts: where, the diameter (as above), HU.
CYST_SITES = (1, 2, 13)
CYST_MM, CYST_SPREAD, CYST_SMALLEST_MM, CYST_LARGEST_MM = 16.0, 0.6, 5.0, 70.0
CYST_HU = (-5.0, 20.0)


@dataclass(frozen=True)
class Look:
    """Appearance of one tumour, HU.

    Attributes:
        body: of its bulk; ``rim``: of its outer shell; ``core``: of its middle.
        rim_share, core_share: their extents, as shares of the radius.
        unevenness: standard deviation within it.
    """

    body: float
    rim: float
    core: float
    rim_share: float
    core_share: float
    unevenness: float


def add_tumors(
    image_ZYX: Tensor, labels_ZYX: Tensor, generator: torch.Generator, spacing: Triple
) -> tuple[Tensor, Tensor]:
    """Add one or, with metastases, several tumours. See :func:`add_tumor`."""
    draw = Draw(generator)
    count = 1 + int((MOST - 1) * draw.uniform(0, 1) ** 3 + 0.5)
    for _ in range(count):
        image_ZYX, labels_ZYX = add_tumor(image_ZYX, labels_ZYX, generator, spacing)
    return image_ZYX, labels_ZYX


def add_tumor(
    image_ZYX: Tensor,
    labels_ZYX: Tensor,
    generator: torch.Generator,
    spacing: Triple,
    site: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw one tumour.

    Args:
        image_ZYX: float32, HU; labels_ZYX: uint8, FLARE values. Neither is changed.
        generator: decides everything; on the tensors' device.
        spacing: (z, y, x) in mm.
        site: label of the organ that it grows in, 0 for the tissue between them; by default drawn
            from :data:`SITES` among those that the patch shows.

    Returns:
        Image and labels with the tumour. Unchanged if the patch shows no such site.
    """
    draw = Draw(generator)
    soft = (image_ZYX > SOFT_HU[0]) & (image_ZYX < SOFT_HU[1])
    if site is None:
        site = _drawn_site(draw, labels_ZYX)
    home = _home(image_ZYX, labels_ZYX, soft, site)
    candidates = torch.nonzero(home)
    if not len(candidates):
        return image_ZYX, labels_ZYX
    middle = candidates[draw.choice(len(candidates))].tolist()
    volume_mm3 = len(candidates) * spacing[0] * spacing[1] * spacing[2]
    limit = LARGEST_MM if site in (BACKGROUND, 7, 8) else ORGAN_SHARE * 1.24 * volume_mm3 ** (1 / 3)
    diameter = min(max(draw.lognormal(MEDIAN_MM, SPREAD), SMALLEST_MM), LARGEST_MM, limit)
    box, level = _shape(draw, middle, diameter / 2, image_ZYX.shape, spacing, (0.02, 0.2))
    around = image_ZYX[box]
    # Growth is confined to its organ and, unless it stays inside, the fat around it.
    room = (labels_ZYX[box] == TUMOR) | ((labels_ZYX[box] == site) & (site != BACKGROUND))
    if site == BACKGROUND or draw.chance(0.5):
        smooth = averaged(around)
        room |= (labels_ZYX[box] == BACKGROUND) & (smooth > FAT_HU[0]) & (smooth < FAT_HU[1])
    border_mm = max(draw.uniform(0.4, 1.6), 0.25 * min(spacing))
    weight = torch.sigmoid((1 - level) * (diameter / 2 / border_mm)) * room
    weight[weight < FAINTEST] = 0
    tissue = around[home[box]]
    look = _drawn_look(draw, float(tissue.median()), site, diameter)
    painted = _painted(draw, look, level, around, spacing)
    image, labels = image_ZYX.clone(), labels_ZYX.clone()
    image[box] = around + weight * (painted - around)
    labels[box][weight > 0.5] = TUMOR
    return image, labels


def add_cysts(
    image_ZYX: Tensor, labels_ZYX: Tensor, generator: torch.Generator, spacing: Triple
) -> Tensor:
    """The image with one to three simple cysts in liver or kidneys, the labels of which they keep.

    A cyst is even, round, sharply bordered and of water's density; it may bulge out of its organ
    no further than the organ's label reaches. Arguments as for :func:`add_tumor`.
    """
    draw = Draw(generator)
    image = image_ZYX.clone()
    soft = (image_ZYX > SOFT_HU[0]) & (image_ZYX < SOFT_HU[1])
    for _ in range(1 + draw.choice(3)):
        site = CYST_SITES[draw.choice(len(CYST_SITES))]
        candidates = torch.nonzero((labels_ZYX == site) & soft)
        if not len(candidates):
            continue
        middle = candidates[draw.choice(len(candidates))].tolist()
        diameter = draw.lognormal(CYST_MM, CYST_SPREAD)
        diameter = min(max(diameter, CYST_SMALLEST_MM), CYST_LARGEST_MM)
        box, level = _shape(draw, middle, diameter / 2, image.shape, spacing, (0.0, 0.04))
        around, shape = image[box], (level.shape[0], level.shape[1], level.shape[2])
        weight = torch.sigmoid((1 - level) * (diameter / 2 / max(0.5, 0.25 * min(spacing))))
        weight *= labels_ZYX[box] == site
        water = draw.uniform(*CYST_HU) + draw.uniform(0, 3) * draw.smooth(shape, spacing, 6.0)[0]
        water += fine_noise(around)
        image[box] = around + weight * (water - around)
    return image


def _drawn_site(draw: Draw, labels_ZYX: Tensor) -> int:
    voxels = torch.bincount(labels_ZYX.flatten().int(), minlength=TUMOR + 1).tolist()
    present = [site for site in SITES if voxels[site]]
    point = draw.uniform(0, sum(SITES[site] for site in present))
    for site in present:
        point -= SITES[site]
        if point < 0:
            return site
    return present[-1] if present else BACKGROUND


def _home(image_ZYX: Tensor, labels_ZYX: Tensor, soft: Tensor, site: int) -> Tensor:
    """Voxels in which a tumour of this site may have its middle."""
    if site != BACKGROUND:
        return (labels_ZYX == site) & soft
    # Nodes lie along the aorta, the cava and the pancreas; deposits near the bowel and stomach.
    hosts = torch.zeros_like(soft)
    for organ in (4, 5, 6, 11, 12):
        hosts |= labels_ZYX == organ
    near = hosts[None].to(image_ZYX.dtype)
    for axis in range(3):  # one axis after the other is many times faster than a cube at once
        size, pad = [1, 1, 1], [0, 0, 0]
        size[axis], pad[axis] = 7, 3
        near = F.max_pool3d(near, size, stride=1, padding=pad)
    return (near[0] > 0) & (labels_ZYX == BACKGROUND) & soft & (image_ZYX < 20)


def box_around(
    middle: Sequence[int],
    reach: Sequence[int],
    shape: Sequence[int],
    spacing: Triple,
    device: torch.device,
) -> tuple[tuple[slice, slice, slice], Tensor]:
    """The part of a patch within ``reach`` voxels of ``middle``, and where each of its voxels lies,
    mm from the middle: float32 (3, z, y, x)."""
    spans = [
        (max(0, index - n), min(size, index + n + 1))
        for index, n, size in zip(middle, reach, shape, strict=True)
    ]
    axes = [
        (torch.arange(first, last, device=device) - index) * float(s)
        for (first, last), index, s in zip(spans, middle, spacing, strict=True)
    ]
    box = (slice(*spans[0]), slice(*spans[1]), slice(*spans[2]))
    return box, torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _shape(
    draw: Draw,
    middle: list[int],
    radius: float,
    shape: Sequence[int],
    spacing: Triple,
    rough: tuple[float, float],
) -> tuple[tuple[slice, slice, slice], Tensor]:
    """A box around the tumour, and in it the distance from the middle: 1 on the border.

    ``rough`` is the range of the border's bumps, as shares of the radius.
    """
    device = draw.generator.device
    reach = [int(1.7 * radius / s) + 2 for s in spacing]
    box, positions = box_around(middle, reach, shape, spacing, device)
    turn = draw.turn()
    radii = torch.tensor([radius * draw.uniform(0.7, 1.3) for _ in range(3)])
    matrix = (turn / radii[:, None]).to(device)
    level = torch.einsum("ij,jzyx->izyx", matrix, positions).square_().sum(dim=0).sqrt_()
    extent = (level.shape[0], level.shape[1], level.shape[2])
    bumps = draw.smooth(extent, spacing, max(3.0, 0.7 * radius))[0]
    details = draw.smooth(extent, spacing, max(3.0, 0.3 * radius))[0]
    roughness = draw.uniform(*rough)
    return box, level + roughness * bumps + 0.4 * roughness * details


def _drawn_look(draw: Draw, host: float, site: int, diameter: float) -> Look:
    """Contrast to the host tissue of ``host`` HU.

    Without contrast agent (a host below :data:`ENHANCED_HU`) tumours hardly differ from it; with it
    most are darker, some brighter, some have a bright rim or a dead core. What is small
    (``diameter`` in mm) is called a tumour only if it stands out.
    """
    enhanced = host > ENHANCED_HU
    strongest = 60.0 if enhanced else 22.0
    difference = draw.uniform(8, strongest) + 50 / diameter
    if site == BACKGROUND:
        body = draw.uniform(30, 110)
    elif draw.chance(0.25):
        body = host + difference
    else:
        body = max(host - difference, draw.uniform(8, 30))
    rim = body + (draw.uniform(15, 60) if draw.chance(0.3) else 0)
    core = draw.uniform(10, 40) if draw.chance(0.25) else body
    if draw.chance(0.02):  # a cystic tumour
        body = core = draw.uniform(2, 25)
    elif draw.chance(0.03):  # iodised oil or calcium
        body = draw.uniform(200, 700)
    return Look(
        body, rim, core, draw.uniform(0.1, 0.3), draw.uniform(0.3, 0.75), draw.uniform(2, 14)
    )


def _painted(draw: Draw, look: Look, level: Tensor, around: Tensor, spacing: Triple) -> Tensor:
    """HU of the tumour over its box; keeps the fine noise of the scan beneath."""
    shape = (level.shape[0], level.shape[1], level.shape[2])
    wobble = draw.smooth(shape, spacing, 8.0)[0]
    inner = torch.sigmoid((look.core_share + 0.15 * wobble - level) / 0.06)
    outer = torch.sigmoid((level - 1 + look.rim_share) / 0.05)
    hounsfield = look.body + (look.core - look.body) * inner + (look.rim - look.body) * outer
    hounsfield = hounsfield + look.unevenness * draw.smooth(shape, spacing, 6.0)[0]
    return hounsfield + fine_noise(around)
