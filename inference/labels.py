"""The label values of FLARE 2023: one table of names, codes and colours that every format reads."""

from __future__ import annotations

from dataclasses import dataclass

BACKGROUND = 0
TUMOR = 14


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (DICOM PS3.3, 8.8): value and meaning within a coding scheme."""

    value: str
    meaning: str
    scheme: str = "SCT"  # SNOMED CT


ANATOMICAL_STRUCTURE = Code("91723000", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "Morphologically Abnormal Structure")
ABDOMEN = Code("818981001", "Abdomen")
RIGHT = Code("24028007", "Right")
LEFT = Code("7771000", "Left")


@dataclass(frozen=True, slots=True)
class Structure:
    """What one label value stands for.

    Attributes:
        name: in plain words.
        column: its prefix in the challenge's CSV files.
        type: DICOM's segmented property type.
        rgb: the colour that dcmqi and 3D Slicer give that type, 0..255; the left one of a pair of
            organs has another than the right one, at a CIELab distance of 20 or more.
        modifier: the side, if there are two.
        category: DICOM's segmented property category.
        region: where it lies, if the type does not say so.
    """

    name: str
    column: str
    type: Code
    rgb: tuple[int, int, int]
    modifier: Code | None = None
    category: Code = ANATOMICAL_STRUCTURE
    region: Code | None = None


_KIDNEY = Code("64033007", "Kidney")
_ADRENAL = Code("23451007", "Adrenal gland")
_NEOPLASM = Code("108369006", "Neoplasm")

STRUCTURES: dict[int, Structure] = {
    1: Structure("liver", "Liver", Code("10200004", "Liver"), (221, 130, 101)),
    2: Structure("right kidney", "RK", _KIDNEY, (185, 102, 83), RIGHT),
    3: Structure("spleen", "Spleen", Code("78961009", "Spleen"), (157, 108, 162)),
    4: Structure("pancreas", "Pancreas", Code("15776009", "Pancreas"), (249, 180, 111)),
    5: Structure("aorta", "Aorta", Code("15825003", "Aorta"), (224, 97, 76)),
    6: Structure("inferior vena cava", "IVC", Code("64131007", "Inferior vena cava"), (0, 70, 200)),
    7: Structure("right adrenal gland", "RAG", _ADRENAL, (249, 186, 150), RIGHT),
    8: Structure("left adrenal gland", "LAG", _ADRENAL, (249, 225, 150), LEFT),
    9: Structure("gallbladder", "Gallbladder", Code("28231008", "Gallbladder"), (139, 150, 98)),
    10: Structure("esophagus", "Esophagus", Code("32849002", "Esophagus"), (211, 171, 143)),
    11: Structure("stomach", "Stomach", Code("69695003", "Stomach"), (216, 132, 105)),
    12: Structure("duodenum", "Duodenum", Code("38848004", "Duodenum"), (255, 253, 229)),
    13: Structure("left kidney", "LK", _KIDNEY, (185, 140, 83), LEFT),
    TUMOR: Structure(
        "tumor",
        "Lesion",
        _NEOPLASM,
        (144, 238, 144),
        category=ABNORMAL_STRUCTURE,
        region=ABDOMEN,
    ),
}

KIDNEYS = (2, 13)

NAMES: dict[int, str] = {value: one.name for value, one in STRUCTURES.items()}

ORGANS: tuple[int, ...] = tuple(value for value in NAMES if value != TUMOR)

# Column prefixes of the challenge's CSV files, in label order.
COLUMNS: dict[int, str] = {value: one.column for value, one in STRUCTURES.items()}

# For overlays, where neighbours must differ: the usual colours of liver and stomach hardly do.
COLORS: dict[int, tuple[int, int, int]] = {
    1: (214, 96, 77),
    2: (67, 147, 195),
    3: (146, 197, 222),
    4: (253, 219, 109),
    5: (228, 26, 28),
    6: (55, 90, 200),
    7: (255, 152, 0),
    8: (255, 193, 7),
    9: (77, 175, 74),
    10: (166, 118, 29),
    11: (231, 138, 195),
    12: (153, 112, 171),
    13: (33, 102, 172),
    14: (255, 255, 255),
}
