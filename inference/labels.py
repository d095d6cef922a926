"""The label values of FLARE 2023, their names, and the short names of its result tables."""

from __future__ import annotations

BACKGROUND = 0
TUMOR = 14

NAMES: dict[int, str] = {
    1: "liver",
    2: "right kidney",
    3: "spleen",
    4: "pancreas",
    5: "aorta",
    6: "inferior vena cava",
    7: "right adrenal gland",
    8: "left adrenal gland",
    9: "gallbladder",
    10: "esophagus",
    11: "stomach",
    12: "duodenum",
    13: "left kidney",
    14: "tumor",
}

KIDNEYS = (2, 13)

ORGANS: tuple[int, ...] = tuple(value for value in NAMES if value != TUMOR)

# Column prefixes of the challenge's CSV files, in label order.
COLUMNS: dict[int, str] = {
    1: "Liver",
    2: "RK",
    3: "Spleen",
    4: "Pancreas",
    5: "Aorta",
    6: "IVC",
    7: "RAG",
    8: "LAG",
    9: "Gallbladder",
    10: "Esophagus",
    11: "Stomach",
    12: "Duodenum",
    13: "LK",
    14: "Lesion",
}

# One colour per label (red, green, blue in 0..255), for overlays.
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
