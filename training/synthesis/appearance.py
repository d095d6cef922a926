"""How dense each tissue is in one scan: contrast phase, fat, bowel contents, and their variation.

The organs' values and spreads by phase are the medians measured on the real scans of the training
set (docs/synthetic_ct.md); what those do not annotate follows textbooks. One dose factor scales
all enhancement of a scan, so that organs of one phase vary together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthesis.anatomy import DEPTH_STEPS_PER_MM, MARGIN, OUTSIDE_STEPS, POSITIONS
from training.synthesis.draw import Draw
from training.synthesis.tissues import LUMENS, Tissue

PHASES = ("plain", "arterial", "portal", "delayed")
PHASE_SHARES = (0.2, 0.3, 0.4, 0.1)
GAS, FAT = -1000.0, -100.0
# Position of each entry of a tissue's row; the margins repeat the ends.
POSITION = (torch.arange(256) - MARGIN).clamp(0, POSITIONS - 1)

# Tissue: HU without contrast and its spread; then the enhancement (mean, spread) in the arterial,
# portal and delayed phase.
Pair = tuple[float, float]
SOFT: dict[Tissue, tuple[Pair, Pair, Pair, Pair]] = {
    Tissue.LIVER: ((58, 7), (14, 9), (52, 14), (40, 9)),
    Tissue.SPLEEN: ((52, 5), (62, 24), (68, 12), (48, 8)),
    Tissue.PANCREAS: ((42, 7), (44, 11), (46, 12), (30, 8)),
    Tissue.KIDNEY_RIGHT: ((32, 4), (160, 30), (148, 24), (105, 18)),
    Tissue.KIDNEY_LEFT: ((32, 4), (160, 30), (148, 24), (105, 18)),
    Tissue.ADRENAL_RIGHT: ((20, 9), (48, 16), (62, 14), (45, 10)),
    Tissue.ADRENAL_LEFT: ((20, 9), (48, 16), (62, 14), (45, 10)),
    Tissue.AORTA: ((42, 4), (310, 70), (110, 24), (72, 12)),
    Tissue.ARTERY: ((42, 4), (290, 70), (105, 24), (70, 12)),
    Tissue.CAVA: ((40, 4), (40, 18), (78, 16), (70, 12)),
    Tissue.GREAT_VEIN: ((40, 4), (60, 60), (85, 25), (70, 12)),
    Tissue.PORTAL_VEIN: ((42, 4), (45, 30), (105, 20), (72, 12)),
    Tissue.HEART: ((42, 4), (230, 60), (105, 20), (70, 12)),
    Tissue.ESOPHAGUS_WALL: ((32, 6), (12, 8), (24, 9), (20, 8)),
    Tissue.STOMACH_WALL: ((38, 6), (35, 14), (42, 12), (32, 8)),
    Tissue.DUODENUM_WALL: ((38, 6), (38, 14), (44, 12), (32, 8)),
    Tissue.SMALL_BOWEL_WALL: ((38, 6), (40, 16), (46, 12), (34, 8)),
    Tissue.COLON_WALL: ((38, 6), (25, 10), (38, 10), (30, 8)),
    Tissue.MUSCLE: ((52, 6), (6, 3), (12, 4), (12, 4)),
    Tissue.GLAND: ((45, 8), (35, 20), (45, 20), (40, 12)),
    Tissue.GALLBLADDER: ((18, 9), (0, 0), (3, 4), (5, 6)),
    Tissue.BLADDER: ((4, 5), (0, 0), (2, 3), (60, 80)),
    Tissue.CYST: ((8, 6), (2, 2), (3, 3), (3, 3)),
    Tissue.SPINAL_CANAL: ((28, 6), (3, 2), (5, 3), (5, 3)),
    Tissue.BRAIN: ((34, 3), (4, 2), (5, 2), (5, 2)),
    Tissue.CARTILAGE: ((95, 25), (0, 0), (0, 0), (0, 0)),
    Tissue.BONE: ((125, 40), (0, 0), (8, 4), (8, 4)),
}
# Unevenness within a tissue: standard deviation in HU.
TEXTURE: dict[Tissue, float] = {
    Tissue.VISCERAL_FAT: 11,
    Tissue.MUSCLE: 13,
    Tissue.BONE: 70,
    Tissue.CARTILAGE: 35,
    Tissue.LUNG: 35,
    Tissue.HEART: 9,
    Tissue.LIVER: 5,
    Tissue.SPLEEN: 5,
    Tissue.PANCREAS: 17,
    Tissue.KIDNEY_RIGHT: 32,
    Tissue.KIDNEY_LEFT: 32,
    Tissue.ADRENAL_RIGHT: 8,
    Tissue.ADRENAL_LEFT: 8,
    Tissue.STOMACH_WALL: 9,
    Tissue.DUODENUM_WALL: 9,
    Tissue.SMALL_BOWEL_WALL: 9,
    Tissue.COLON_WALL: 9,
    Tissue.GLAND: 9,
    Tissue.ESOPHAGUS_WALL: 6,
}


@dataclass(frozen=True)
class Appearance:
    """One scan's lookup tables.

    Attributes:
        phase: one of PHASES.
        hounsfield: HU by code (256 * tissue + position), float32.
        texture: standard deviation of the unevenness in HU by code.
        vessels: HU that a vessel adds, by tissue; 0 where none is drawn.
    """

    phase: str
    hounsfield: Tensor
    texture: Tensor
    vessels: Tensor


def draw_appearance(draw: Draw, device: torch.device) -> Appearance:
    """Choose the phase, the patient and what the bowel holds."""
    point, phase = draw.uniform(0, 1), 0
    while point > PHASE_SHARES[phase] and phase < len(PHASES) - 1:
        point -= PHASE_SHARES[phase]
        phase += 1
    means = _means(draw, phase)
    rows = torch.zeros((len(Tissue), 256))
    texture = torch.zeros((len(Tissue), 256))
    for tissue, mean in means.items():
        rows[tissue] = mean
    for tissue, deviation in TEXTURE.items():
        texture[tissue] = deviation * draw.uniform(0.6, 1.4)
    if PHASES[phase] == "arterial":
        texture[Tissue.SPLEEN] *= 4  # the moiré spleen
    depth_mm, height = POSITION / DEPTH_STEPS_PER_MM, POSITION / (POSITIONS - 1)
    fat = draw.normal(FAT, 6)
    _body_wall(draw, rows, texture, fat, means[Tissue.MUSCLE])
    _solid_organs(draw, rows, depth_mm, means)
    _lung_and_fat(draw, rows, texture, height, fat)
    _hollow_organs(draw, rows, texture, height)
    vessels = torch.zeros(len(Tissue))
    vessels[Tissue.LIVER] = means[Tissue.PORTAL_VEIN] - means[Tissue.LIVER]
    vessels[Tissue.LUNG] = 850
    vessels[Tissue.VISCERAL_FAT] = 0.7 * (means[Tissue.PORTAL_VEIN] - fat)
    return Appearance(
        PHASES[phase],
        rows.reshape(-1).to(device),
        texture.reshape(-1).to(device),
        vessels.to(device),
    )


def _means(draw: Draw, phase: int) -> dict[Tissue, float]:
    """HU of the soft tissues and bone. Enhancement scales with dose and tube voltage."""
    dose = draw.lognormal(1.0, 0.16)
    stray = 22.0 if draw.chance(0.15) else 0.0  # some scans leave the measured ranges
    means = {}
    for tissue, values in SOFT.items():
        mean = draw.normal(*values[0]) + draw.normal(0, 1) * stray
        if phase:
            mean += max(0.0, dose * draw.normal(*values[phase]))
        means[tissue] = mean
    # Paired organs share their blood, up to a little.
    means[Tissue.KIDNEY_LEFT] = means[Tissue.KIDNEY_RIGHT] + draw.normal(0, 4)
    means[Tissue.ADRENAL_LEFT] = means[Tissue.ADRENAL_RIGHT] + draw.normal(0, 5)
    if draw.chance(0.2):
        means[Tissue.LIVER] -= draw.uniform(10, 50)  # fatty liver
    return means


def _body_wall(draw: Draw, rows: Tensor, texture: Tensor, fat: float, muscle: float) -> None:
    """Muscle, subcutaneous fat, skin and air by the distance outside the trunk's structures."""
    outwards_mm = (POSITION / OUTSIDE_STEPS) ** 2
    wall = draw.uniform(6, 14)
    skin = wall + min(max(draw.lognormal(17, 0.55), 3), 60)
    rows[Tissue.OUTSIDE] = GAS
    rows[Tissue.OUTSIDE, outwards_mm < skin + 2.5] = draw.uniform(0, 40)
    rows[Tissue.OUTSIDE, outwards_mm < skin] = fat - draw.uniform(0, 8)
    rows[Tissue.OUTSIDE, outwards_mm < wall] = muscle
    texture[Tissue.OUTSIDE, outwards_mm < skin] = 7
    texture[Tissue.OUTSIDE, outwards_mm < wall] = texture[Tissue.MUSCLE, 0]


def _solid_organs(draw: Draw, rows: Tensor, depth_mm: Tensor, means: dict[Tissue, float]) -> None:
    """Renal cortex, heart muscle, and the cortex of bones, by the depth below the surface."""
    plain = SOFT[Tissue.KIDNEY_RIGHT][0][0]
    cortex_mm, corticomedullary = draw.uniform(4.5, 7.5), draw.uniform(0.1, 0.9)
    inner = torch.sigmoid((depth_mm - cortex_mm) / 0.6)
    for kidney in (Tissue.KIDNEY_RIGHT, Tissue.KIDNEY_LEFT):
        uptake = max(0.0, means[kidney] - plain)
        rows[kidney] = means[kidney] - (1 - corticomedullary) * uptake * inner
    chamber = torch.sigmoid((depth_mm - draw.uniform(6, 12)) / 1.0)
    blood = means[Tissue.HEART]
    rows[Tissue.HEART] = 45 + 0.45 * (blood - 45) * (1 - chamber) + (blood - 45) * chamber
    shell = torch.sigmoid((draw.uniform(1.2, 2.4) - depth_mm) / 0.4)
    rows[Tissue.BONE] += shell * draw.uniform(200, 500)
    rows[Tissue.AIRWAY] = torch.where(depth_mm < 1.0, 20.0, GAS)


def _lung_and_fat(draw: Draw, rows: Tensor, texture: Tensor, height: Tensor, fat: float) -> None:
    """Lungs denser towards the back; now and then an effusion or ascites with a level."""
    rows[Tissue.LUNG] = draw.normal(-860, 35) + draw.uniform(20, 110) * height
    if draw.chance(0.08):
        wet = height > draw.uniform(0.45, 0.95)
        rows[Tissue.LUNG, wet], texture[Tissue.LUNG, wet] = draw.normal(10, 8), 4
    rows[Tissue.VISCERAL_FAT] = fat
    if draw.chance(0.07):
        wet = height > draw.uniform(0.3, 0.9)
        rows[Tissue.VISCERAL_FAT, wet] = draw.normal(9, 6)
        texture[Tissue.VISCERAL_FAT, wet] = 4
    if draw.chance(0.1):  # sludge or stones in the gallbladder
        low = height > draw.uniform(0.6, 0.9)
        rows[Tissue.GALLBLADDER, low] += draw.lognormal(60, 0.8)
    if draw.chance(0.04):  # contrast excreted into bile
        rows[Tissue.GALLBLADDER] += draw.uniform(40, 150)


def _hollow_organs(draw: Draw, rows: Tensor, texture: Tensor, height: Tensor) -> None:
    """Gas above a level, below it fluid, food, stool or oral contrast."""
    oral = draw.uniform(100, 350) if draw.chance(0.4) else None
    # Tissue: HU of its contents, unevenness in HU, chance of gas, its highest level, chance that
    # oral contrast arrived.
    contents = {
        Tissue.ESOPHAGUS_LUMEN: (25, 5.0, 0.35, 1.2, 0.05),
        Tissue.STOMACH_LUMEN: (40, 35.0, 0.75, 0.4, 0.9),
        Tissue.DUODENUM_LUMEN: (35, 12.0, 0.3, 0.4, 0.6),
        Tissue.SMALL_BOWEL_LUMEN: (28, 12.0, 0.25, 0.2, 0.7),
        Tissue.COLON_LUMEN: (25, 110.0, 0.85, 0.9, 0.4),
    }
    assert len(contents) == len(LUMENS)
    for lumen, (mean, unevenness, gas_chance, highest, arrival) in contents.items():
        rows[lumen] = draw.normal(mean, 15)
        texture[lumen] = unevenness * draw.uniform(0.1, 1.2)
        if oral is not None and draw.chance(arrival):
            rows[lumen] = oral * draw.uniform(0.5, 1.1)
            texture[lumen] = rows[lumen, 0] * draw.uniform(0.05, 0.5)  # mixed in by loops
        if draw.chance(gas_chance):
            gas = height < draw.uniform(0, highest)
            rows[lumen, gas], texture[lumen, gas] = GAS, 0
