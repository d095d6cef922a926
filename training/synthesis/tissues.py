"""Kinds of tissue that a synthetic CT is made of, and which structures of a label map they are.

Structure names are those of TotalSegmentator v2 (Wasserthal et al., doi:10.1148/ryai.230024).
"""

from __future__ import annotations

from enum import IntEnum

from inference.labels import NAMES


class Tissue(IntEnum):
    """One appearance. A hollow organ has a wall and a lumen."""

    OUTSIDE = 0  # body wall, subcutaneous fat, skin and air, told apart by the distance outwards
    VISCERAL_FAT = 1
    MUSCLE = 2
    BONE = 3
    CARTILAGE = 4
    LUNG = 5
    AIRWAY = 6
    HEART = 7
    GREAT_VEIN = 8
    PORTAL_VEIN = 9
    ARTERY = 10
    LIVER = 11
    SPLEEN = 12
    PANCREAS = 13
    KIDNEY_RIGHT = 14
    KIDNEY_LEFT = 15
    ADRENAL_RIGHT = 16
    ADRENAL_LEFT = 17
    AORTA = 18
    CAVA = 19
    GALLBLADDER = 20
    ESOPHAGUS_WALL = 21
    ESOPHAGUS_LUMEN = 22
    STOMACH_WALL = 23
    STOMACH_LUMEN = 24
    DUODENUM_WALL = 25
    DUODENUM_LUMEN = 26
    SMALL_BOWEL_WALL = 27
    SMALL_BOWEL_LUMEN = 28
    COLON_WALL = 29
    COLON_LUMEN = 30
    BLADDER = 31
    GLAND = 32  # prostate, thyroid
    CYST = 33
    SPINAL_CANAL = 34
    BRAIN = 35


# FLARE label of each tissue that belongs to one; see inference.labels.
LABELS: dict[Tissue, int] = {
    Tissue.LIVER: 1,
    Tissue.KIDNEY_RIGHT: 2,
    Tissue.SPLEEN: 3,
    Tissue.PANCREAS: 4,
    Tissue.AORTA: 5,
    Tissue.CAVA: 6,
    Tissue.ADRENAL_RIGHT: 7,
    Tissue.ADRENAL_LEFT: 8,
    Tissue.GALLBLADDER: 9,
    Tissue.ESOPHAGUS_WALL: 10,
    Tissue.ESOPHAGUS_LUMEN: 10,
    Tissue.STOMACH_WALL: 11,
    Tissue.STOMACH_LUMEN: 11,
    Tissue.DUODENUM_WALL: 12,
    Tissue.DUODENUM_LUMEN: 12,
    Tissue.KIDNEY_LEFT: 13,
}
assert set(LABELS.values()) == set(NAMES) - {14}

# Hollow organs: wall -> lumen, and the thickness of the wall in mm.
LUMENS: dict[Tissue, tuple[Tissue, float]] = {
    Tissue.ESOPHAGUS_WALL: (Tissue.ESOPHAGUS_LUMEN, 5.0),
    Tissue.STOMACH_WALL: (Tissue.STOMACH_LUMEN, 3.5),
    Tissue.DUODENUM_WALL: (Tissue.DUODENUM_LUMEN, 3.0),
    Tissue.SMALL_BOWEL_WALL: (Tissue.SMALL_BOWEL_LUMEN, 2.5),
    Tissue.COLON_WALL: (Tissue.COLON_LUMEN, 2.5),
}

# Tissues whose second code is a height in the organ (0 at the front, where gas collects, in a
# patient on the back); of all others it is the depth below their own surface.
BY_HEIGHT: frozenset[Tissue] = frozenset(
    {Tissue.VISCERAL_FAT, Tissue.LUNG, Tissue.GALLBLADDER} | {lumen for lumen, _ in LUMENS.values()}
)

_EXACT: dict[str, Tissue] = {
    "liver": Tissue.LIVER,
    "spleen": Tissue.SPLEEN,
    "pancreas": Tissue.PANCREAS,
    "kidney_right": Tissue.KIDNEY_RIGHT,
    "kidney_left": Tissue.KIDNEY_LEFT,
    "adrenal_gland_right": Tissue.ADRENAL_RIGHT,
    "adrenal_gland_left": Tissue.ADRENAL_LEFT,
    "aorta": Tissue.AORTA,
    "inferior_vena_cava": Tissue.CAVA,
    "gallbladder": Tissue.GALLBLADDER,
    "esophagus": Tissue.ESOPHAGUS_WALL,
    "stomach": Tissue.STOMACH_WALL,
    "duodenum": Tissue.DUODENUM_WALL,
    "small_bowel": Tissue.SMALL_BOWEL_WALL,
    "colon": Tissue.COLON_WALL,
    "urinary_bladder": Tissue.BLADDER,
    "prostate": Tissue.GLAND,
    "thyroid_gland": Tissue.GLAND,
    "trachea": Tissue.AIRWAY,
    "heart": Tissue.HEART,
    "portal_vein_and_splenic_vein": Tissue.PORTAL_VEIN,
    "spinal_cord": Tissue.SPINAL_CANAL,
    "brain": Tissue.BRAIN,
    "costal_cartilages": Tissue.CARTILAGE,
    "sternum": Tissue.BONE,
    "sacrum": Tissue.BONE,
    "skull": Tissue.BONE,
    "pulmonary_vein": Tissue.HEART,
    "brachiocephalic_trunk": Tissue.ARTERY,
    "superior_vena_cava": Tissue.GREAT_VEIN,
}
_BEGINNINGS: dict[str, Tissue] = {
    "lung_": Tissue.LUNG,
    "kidney_cyst": Tissue.CYST,
    "vertebrae_": Tissue.BONE,
    "rib_": Tissue.BONE,
    "humerus": Tissue.BONE,
    "scapula": Tissue.BONE,
    "clavicula": Tissue.BONE,
    "femur": Tissue.BONE,
    "hip_": Tissue.BONE,
    "gluteus": Tissue.MUSCLE,
    "autochthon": Tissue.MUSCLE,
    "iliopsoas": Tissue.MUSCLE,
    "iliac_artery": Tissue.ARTERY,
    "iliac_vena": Tissue.GREAT_VEIN,
    "subclavian": Tissue.ARTERY,
    "common_carotid": Tissue.ARTERY,
    "brachiocephalic_vein": Tissue.GREAT_VEIN,
    "atrial_appendage": Tissue.HEART,
}


def tissue_of(structure: str) -> Tissue:
    """The tissue of a structure by its TotalSegmentator name. Raises KeyError if unknown."""
    if structure in _EXACT:
        return _EXACT[structure]
    for beginning, tissue in _BEGINNINGS.items():
        if structure.startswith(beginning):
            return tissue
    raise KeyError(structure)
