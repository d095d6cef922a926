"""Synthetic scans of bodies that were kept out of training: exact labels, tumours among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.scan import Scan
from inference.types import Shape, Triple
from training.synthesis.source import SyntheticSource, load_anatomies

# The whole abdomen of an adult at a usual spacing.
SHAPE: Shape = (112, 208, 256)
SPACING: Triple = (3.0, 1.7, 1.7)


def synthetic_scans(
    label_maps: Sequence[Path], structures: Path, cache: Path, count: int
) -> Iterator[Scan]:
    """Scans with seeds 0, 1, ...; three of five have tumours."""
    source = SyntheticSource(load_anatomies(label_maps, structures, cache), SPACING)
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        image_ZYX, labels_ZYX, annotated = source.sample(generator, SHAPE)
        known = tuple(int(label) + 1 for label in annotated.nonzero()[:, 0])
        voxels = np.rint(image_ZYX.numpy()).astype(np.int16)
        yield Scan(f"synthetic {seed}", voxels, labels_ZYX.numpy(), SPACING, known)
