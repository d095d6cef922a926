"""Small label maps, files and an oracle for the tests of evaluation."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from evaluation.__main__ import main

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


def some_labels() -> np.ndarray:
    labels = np.zeros((8, 10, 12), np.uint8)
    labels[2:6, 2:7, 2:8] = 1
    labels[1:7, 7:9, 8:11] = 5
    return labels


class Folders:
    """Predictions and references under one folder, and the command on them."""

    def __init__(self, root: Path, write: WriteLabels) -> None:
        self.pred, self.ref, self.out = root / "pred", root / "ref", root / "scores.csv"
        self.write = write
        self.pred.mkdir()
        self.ref.mkdir()

    def pair(self, name: str, pred: np.ndarray | None = None, **geometry: object) -> None:
        self.write(self.ref / name, some_labels())
        self.write(self.pred / name, some_labels() if pred is None else pred, **geometry)

    def run(self, *more: str) -> int:
        arguments = ["--pred", self.pred, "--ref", self.ref, "--out", self.out, "--jobs", "1"]
        return main([*map(str, arguments), *more])

    def rows(self) -> dict[str, dict[str, str]]:
        with self.out.open(encoding="utf-8") as file:
            return {row["Name"]: row for row in csv.DictReader(file)}


@pytest.fixture
def folders(tmp_path: Path, write_labels: WriteLabels) -> Folders:
    return Folders(tmp_path, write_labels)
