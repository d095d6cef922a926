"""How far two tools' labels of one scan agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from evaluation.dice import dice
from inference.labels import NAMES
from inference.types import Labels


def between(labels_ZYX: Labels, reference_ZYX: Labels) -> dict[str, Any]:
    """Agreement of two label maps on one grid.

    Returns:
        ``dsc``: by label (as text, for JSON); None where neither map has it. ``mean_dsc``: over the
        labels that either has; None where there is none. ``equal_voxels``: share of all voxels.

    Raises:
        ValueError: the shapes differ.
    """
    found = {str(label): dice(labels_ZYX == label, reference_ZYX == label) for label in NAMES}
    values = [value for value in found.values() if not math.isnan(value)]
    return {
        "dsc": {label: None if math.isnan(v) else round(v, 5) for label, v in found.items()},
        "mean_dsc": round(float(np.mean(values)), 5) if values else None,
        "equal_voxels": round(float((labels_ZYX == reference_ZYX).mean()), 6),
    }
