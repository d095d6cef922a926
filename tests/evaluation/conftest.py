"""Small label maps, files and an oracle for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

WriteLabels = Callable[..., Path]


@pytest.fixture
def write_labels() -> WriteLabels:
    """A function that writes a (z, y, x) array as a NIfTI file and returns its path."""

    def write(
        path: Path,
        labels_ZYX: np.ndarray,
        spacing_ZYX: tuple[float, float, float] = (2.0, 1.0, 1.0),
        origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
        direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(labels_ZYX, isVector=False)
        image.SetSpacing(spacing_ZYX[::-1])
        image.SetOrigin(origin)
        image.SetDirection(direction)
        sitk.WriteImage(image, str(path))
        return path

    return write
