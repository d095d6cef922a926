"""A sheet of samples to judge by eye: ``python -m training.synthesis.sheet``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from inference.labels import COLORS, TUMOR
from inference.types import Triple
from training.synthesis.source import SyntheticSource, load_anatomies

WINDOW_HU = (-160.0, 240.0)
SPACING: Triple = (2.42, 1.95, 1.95)
PATCH = (112, 208, 208)
COLUMNS, ROWS = 3, 4
OPACITY = 0.4

Picture = npt.NDArray[np.uint8]


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(prog="python -m training.synthesis.sheet", description=__doc__)
    parser.add_argument("--label-maps", type=Path, nargs="+", required=True)
    parser.add_argument("--structures", type=Path, required=True, help="JSON id -> name")
    parser.add_argument("--cache", type=Path, required=True, help="folder for built bodies")
    parser.add_argument("--out", type=Path, required=True, help="PNG")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    anatomies = load_anatomies(arguments.label_maps, arguments.structures, arguments.cache)
    source = SyntheticSource(anatomies, SPACING, tumor_chance=1.0)
    generator = torch.Generator().manual_seed(arguments.seed)
    rows = [
        np.concatenate([pair(source, generator) for _ in range(COLUMNS)], axis=1)
        for _ in range(ROWS)
    ]
    Image.fromarray(np.concatenate(rows)).save(arguments.out, optimize=True)


def pair(source: SyntheticSource, generator: torch.Generator) -> Picture:
    """One sample's slice with the most tumour, or its middle one: plain, and with its labels."""
    image, labels, _ = (part.numpy() for part in source.sample(generator, PATCH))
    z = int(((labels == TUMOR).sum(axis=(1, 2)) * 10 + (labels > 0).sum(axis=(1, 2))).argmax())
    low, high = WINDOW_HU
    grey = (np.clip((image[z] - low) / (high - low), 0, 1) * 255)[..., None].repeat(3, axis=2)
    colored = grey.copy()
    for value, color in COLORS.items():
        marked = labels[z] == value
        colored[marked] = (1 - OPACITY) * grey[marked] + OPACITY * np.array(color)
    return np.concatenate([grey, colored], axis=1).astype(np.uint8)


if __name__ == "__main__":
    main()
