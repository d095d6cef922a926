"""The overlay picture: views, display convention, aspect ratio."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from examples.overlay import main, organ_volumes, overlay_png, richest_slice
from inference.grid import Grid
from inference.labels import COLORS

SHAPE = (10, 20, 30)


def corner_case() -> tuple[np.ndarray, np.ndarray]:
    """Black scan; the right kidney's label in the right, front, lower corner."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[:5, :8, :10] = 2
    return np.full(SHAPE, -1000, np.int16), labels


def colored(path, left: int, width: int, height: int) -> np.ndarray:
    """Mask of label colour in one panel; its caption covers a part of the top."""
    panel = np.asarray(Image.open(path))[:height, left : left + width].astype(int)
    return (panel[..., 2] > panel[..., 0] + 20) & (panel[..., 2] > 40)


def test_radiological_display_and_aspect(tmp_path) -> None:
    image, labels = corner_case()
    overlay_png(image, labels, Grid(SHAPE, (6.0, 2.0, 2.0)), tmp_path / "a.png")
    axial = colored(tmp_path / "a.png", 0, 60, 40)
    coronal = colored(tmp_path / "a.png", 66, 60, 60)
    sagittal = colored(tmp_path / "a.png", 132, 40, 60)
    assert axial[:16, :20].mean() > 0.7  # right of the patient on the left, front up
    assert not axial[18:].any() and not axial[:, 22:].any()
    assert coronal[30:, :20].all()  # lower end of the patient is down
    assert not coronal[:28].any()
    assert sagittal[30:, :16].all()  # front on the left
    assert not sagittal[:, 18:].any()


def test_flipped_storage_gives_the_same_picture(tmp_path) -> None:
    image, labels = corner_case()
    spacing = (6.0, 2.0, 2.0)
    overlay_png(image, labels, Grid(SHAPE, spacing), tmp_path / "a.png")
    flipped = Grid(SHAPE, spacing, (58.0, 38.0, 0.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    turned = np.s_[:, ::-1, ::-1]
    overlay_png(image[turned], labels[turned], flipped, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_richest_slice_counts_organs_before_area() -> None:
    labels = np.zeros((4, 6, 6), np.uint8)
    labels[1] = 1
    labels[2, 0, 0], labels[2, 0, 1] = 1, 7
    assert richest_slice(labels, 0) == 2
    assert richest_slice(np.zeros((4, 6, 6), np.uint8), 0) == 2


def test_organ_volumes_in_millilitres() -> None:
    labels = np.zeros((2, 5, 5), np.uint8)
    labels[0, 0, :4] = 3
    assert organ_volumes(labels, Grid((2, 5, 5), (10.0, 5.0, 5.0))) == {"spleen": 1.0}


def test_every_label_has_a_color() -> None:
    assert set(COLORS) == set(range(1, 15))


def test_shapes_must_agree(tmp_path) -> None:
    with pytest.raises(ValueError, match="differ"):
        overlay_png(
            np.zeros((2, 2, 2)),
            np.zeros((2, 2, 3), np.uint8),
            Grid((2, 2, 2), (1, 1, 1)),
            tmp_path / "x.png",
        )


def test_a_missing_scan_gets_one_line(tmp_path, capsys) -> None:
    words = [str(tmp_path / name) for name in ("scan.nii.gz", "labels.nii.gz", "picture.png")]
    assert main(words) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
