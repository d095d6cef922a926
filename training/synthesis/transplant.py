"""Real tumours drawn into the organs of other patients ("copy-paste" between scans).

Few scans have tumours that a person drew. Put into other livers, turned, mirrored and scaled, the
same tumours are seen beside other vessels, contrast and noise. (After Ghiasi et al., Simple
copy-paste is a strong data augmentation, CVPR 2021.) What may be added where: see
:mod:`training.synthesis.tumor`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from inference.labels import BACKGROUND, TUMOR
from inference.types import Triple
from training.data.coding import TUMOR_BIT
from training.data.store import Store, StoredCase
from training.synthesis.draw import Draw
from training.synthesis.scanner import fine_noise
from training.synthesis.tumor import ENHANCED_HU, box_around

# Tumours below this diameter are a few voxels of noise.
LEAST_MM = 4.0
# Spread of the logarithm of the change in size, its largest, and the largest diameter.
SPREAD, MOST_GROWTH, LARGEST_MM = 0.4, 2.5, 80.0
# Share of the difference to the organ that is kept; of that again where it shows no contrast agent.
STRENGTH, WITHOUT_CONTRAST = (0.6, 1.2), 0.6
# A piece's own noise is smoothed by resampling; this share of the patch's is added.
NOISE_SHARE = 0.7
MOST = 3


@dataclass(frozen=True)
class Piece:
    """A tumour cut out of a scan.

    Attributes:
        values: float32 (2, z, y, x): HU less the median of the organ that it lies in; 1 where
            tumour is. No tumour touches the array's border.
        spacing: (z, y, x) in mm.
        organ: label of that organ.
        diameter_mm: of a ball of its volume.
    """

    values: Tensor
    spacing: Triple
    organ: int
    diameter_mm: float


def cut_pieces(
    store: Store, cases: Sequence[StoredCase], device: torch.device | str = "cpu"
) -> list[list[Piece]]:
    """The annotated tumours of the cases that lie in an annotated organ, by patient."""
    by_patient: dict[str, list[Piece]] = {}
    for case in cases:
        if TUMOR in case.annotated and (store.foreground(case)[:, 0] == TUMOR).any():
            by_patient.setdefault(case.patient, []).extend(_cut(store, case, device))
    return [pieces for pieces in by_patient.values() if pieces]


def _cut(store: Store, case: StoredCase, device: torch.device | str) -> list[Piece]:
    coded = np.array(store.labels(case))
    tumor, organs = coded >= TUMOR_BIT, coded & (TUMOR_BIT - 1)
    image = np.array(store.image(case), np.float32) * store.intensity.std + store.intensity.mean
    numbered, _ = ndimage.label(tumor)
    pieces = []
    usual: dict[int, float] = {}  # HU of the organs' healthy parts
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        own = numbered[box] == number
        organ = int(np.bincount(organs[box][own]).argmax())
        volume = float(own.sum() * np.prod(case.spacing))
        diameter = (6 * volume / np.pi) ** (1 / 3)
        if organ == BACKGROUND or diameter < LEAST_MM:
            continue
        if organ not in usual:
            healthy = image[(organs == organ) & ~tumor]
            usual[organ] = float(np.median(healthy)) if len(healthy) else math.nan
        if math.isnan(usual[organ]):
            continue
        # What lies around it is taken along: a border must fade into something of the kind.
        wider = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        difference = np.pad(image[wider] - usual[organ], 1, mode="edge")
        mask = np.pad((numbered[wider] == number).astype(np.float32), 1)
        values = torch.from_numpy(np.stack((difference, mask))).to(device)
        pieces.append(Piece(values, case.spacing, organ, diameter))
    return pieces


def add_pieces(
    image_ZYX: Tensor,
    coded_ZYX: Tensor,
    patients: Sequence[Sequence[Piece]],
    generator: torch.Generator,
    spacing: Triple,
) -> tuple[Tensor, Tensor]:
    """One to three tumours of one patient, drawn into a patch. Arguments as for
    :func:`add_piece`; patients count alike, however many tumours each has."""
    draw = Draw(generator)
    pieces = patients[draw.choice(len(patients))]
    for _ in range(1 + draw.choice(MOST)):
        piece = pieces[draw.choice(len(pieces))]
        image_ZYX, coded_ZYX = add_piece(image_ZYX, coded_ZYX, piece, generator, spacing)
    return image_ZYX, coded_ZYX


def add_piece(
    image_ZYX: Tensor,
    coded_ZYX: Tensor,
    piece: Piece,
    generator: torch.Generator,
    spacing: Triple,
) -> tuple[Tensor, Tensor]:
    """Draw a tumour into the organ that it comes from.

    Args:
        image_ZYX: float32, HU; coded_ZYX: uint8, coded labels. Neither is changed.
        piece: the tumour.
        generator: decides everything; on the tensors' device.
        spacing: of the patch, (z, y, x) in mm.

    Returns:
        Image and coded labels with the tumour, which does not leave its organ and covers no other
        tumour. Unchanged if the patch does not show the organ.
    """
    draw = Draw(generator)
    home = coded_ZYX == piece.organ
    candidates = torch.nonzero(home)
    if not len(candidates):
        return image_ZYX, coded_ZYX
    middle = candidates[draw.choice(len(candidates))].tolist()
    growth = min(draw.lognormal(1.0, SPREAD), MOST_GROWTH, LARGEST_MM / piece.diameter_mm)
    box, positions = _positions(draw, middle, piece, growth, image_ZYX.shape, spacing)
    difference, share = _sampled(piece, positions)
    # Voxels that are mostly tumour are it; its border is as wide as a voxel.
    weight = ((share - 0.25) / 0.5).clamp(0, 1) * home[box]
    around = image_ZYX[box]
    organ_hu = float(image_ZYX[home].median())
    strength = draw.uniform(*STRENGTH) * (1.0 if organ_hu > ENHANCED_HU else WITHOUT_CONTRAST)
    drawn = organ_hu + strength * difference + NOISE_SHARE * fine_noise(around)
    image, coded = image_ZYX.clone(), coded_ZYX.clone()
    image[box] = around + weight * (drawn - around)
    coded[box] |= (weight > 0.5).to(coded.dtype) * TUMOR_BIT
    return image, coded


def _positions(
    draw: Draw,
    middle: Sequence[int],
    piece: Piece,
    growth: float,
    shape: Sequence[int],
    spacing: Triple,
) -> tuple[tuple[slice, slice, slice], Tensor]:
    """A box of the patch, and where in the piece each of its voxels comes from: (z, y, x, 3), mm
    from the piece's middle, after a random turn about any axis or a turn and a reflection."""
    turn, device = draw.turn(), piece.values.device
    halves = [n * s / 2 for n, s in zip(piece.values.shape[1:], piece.spacing, strict=True)]
    reach_mm = growth * (turn.abs() @ torch.tensor(halves))
    reach = [int(mm / s) + 1 for mm, s in zip(reach_mm.tolist(), spacing, strict=True)]
    box, offsets = box_around(middle, reach, shape, spacing, device)
    return box, offsets.movedim(0, -1) @ turn.to(device) / growth


def _sampled(piece: Piece, positions_mm: Tensor) -> Tensor:
    """HU difference and share of tumour, (2, z, y, x), linear between the piece's voxels."""
    spans = torch.tensor(
        [(n - 1) * s / 2 for n, s in zip(piece.values.shape[1:], piece.spacing, strict=True)],
        device=positions_mm.device,
    )
    grid = (positions_mm / spans).flip(-1)  # grid_sample wants x first
    return F.grid_sample(
        piece.values[None], grid[None], "bilinear", padding_mode="border", align_corners=True
    )[0]
