"""Pictures of the paper's kind: what stands where, and the shaded surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import main, picture, rows_of, surface
from inference.errors import ScanError
from inference.grid import Grid
from inference.labels import COLORS
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image, write_labels

SHAPE = (20, 30, 40)
GRID = Grid(SHAPE, (3.0, 2.0, 2.0))


def test_the_surface_is_seen_from_the_front():
    labels = np.zeros(SHAPE, np.uint8)
    labels[:10, 5:10, :20] = 1  # right, below, in front
    labels[:, 20:25, :] = 3  # behind everything
    seen = np.asarray(surface(labels, GRID.spacing, 1.0)).astype(int)
    assert seen.shape == (60, 80, 3)

    def hue(row: int, column: int, label: int) -> bool:
        color = np.array(COLORS[label])
        ratio = seen[row, column] / color
        return ratio.min() > 0.3 and ratio.max() - ratio.min() < 0.02

    assert hue(45, 20, 1)  # the patient's right is on the left, and below is below
    assert hue(15, 20, 3) and hue(45, 60, 3)


def test_slopes_to_the_light_are_brighter():
    ball = np.zeros((40, 40, 40), np.uint8)
    z, y, x = np.ogrid[:40, :40, :40]
    ball[(z - 20) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 < 15**2] = 1
    seen = np.asarray(surface(ball, (1.0, 1.0, 1.0), 1.0)).astype(int).sum(axis=2)
    assert seen[10, 14] > seen[30, 26]  # above and to the patient's right, against the opposite
    assert seen[2, 2] == 0


def test_stored_another_way_it_is_the_same_picture(tmp_path: Path):
    rng = np.random.default_rng(0)
    image = rng.integers(-100, 200, SHAPE).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:9, 5:20, 5:20] = 1
    turned = Grid(SHAPE, GRID.spacing, (78.0, 58.0, 0.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    paths = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]
    write_labels(paths[0], labels, NiftiHeader.of_grid(GRID))
    write_labels(paths[1], labels[:, ::-1, ::-1], NiftiHeader.of_grid(turned))
    one = picture(image, rows_of(None, paths[:1], GRID), GRID)
    other = picture(image[:, ::-1, ::-1], rows_of(None, paths[1:], turned), turned)
    top = one.height  # titles differ: they are the files' names
    assert top == other.height
    width = one.width - 210
    assert np.array_equal(np.asarray(one)[:, :width], np.asarray(other)[:, :width])


def test_dsc_beside_the_reference(tmp_path: Path):
    true, found = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    true[:10, :10, :10] = 3
    found[:10, :10, 5:15] = 3
    found[15:, 20:, 20:] = 1
    header = NiftiHeader.of_grid(GRID)
    write_labels(tmp_path / "true.nii.gz", true, header)
    write_labels(tmp_path / "found.nii.gz", found, header)
    rows = rows_of(tmp_path / "true.nii.gz", [tmp_path / "found.nii.gz"], GRID)
    assert [row.title for row in rows] == ["reference", "found: DSC"]
    assert rows[0].dsc is None and rows[1].dsc == {1: 0.0, 3: 0.5}
    # Of what the reference does not know, nothing is said.
    partly = rows_of(tmp_path / "true.nii.gz", [tmp_path / "found.nii.gz"], GRID, (3, 4))
    assert partly[1].dsc == {3: 0.5}
    image = np.random.default_rng(0).integers(-1000, 500, SHAPE).astype(np.int16)
    write_image(tmp_path / "scan.nii.gz", image, header)
    words = ["--scan", "scan", "--labels", "found", "--reference", "true"]
    files = [str(tmp_path / f"{w}.nii.gz") if not w.startswith("--") else w for w in words]
    assert main([*files, "--out", str(tmp_path / "a.png")]) == 0
    with Image.open(tmp_path / "a.png") as drawn:
        # Three rows; columns: axial (80 mm), coronal (80 mm), surface (80 mm), and the words.
        assert drawn.width == 3 * (round(80 / 1.5) + 6) + 210
        height = drawn.height
    # Whose scan it is stands below, in as many lines as it takes, and changes nothing above.
    source = ["--source", "A collection, its archive, its licence; " * 3]
    assert main([*files, *source, "--out", str(tmp_path / "b.png")]) == 0
    with Image.open(tmp_path / "a.png") as plain, Image.open(tmp_path / "b.png") as drawn:
        assert drawn.height == height + 17 * 3
        pixels = np.asarray(drawn)
        assert np.array_equal(pixels[:height], np.asarray(plain))
        assert all(pixels[height + 17 * k : height + 17 * (k + 1)].any() for k in range(3))


def test_labels_of_another_scan_are_refused(tmp_path: Path, capsys):
    write_labels(
        tmp_path / "a.nii.gz", np.zeros((2, 3, 4), np.uint8),
        NiftiHeader.of_grid(Grid((2, 3, 4), (1.0, 1.0, 1.0))),
    )  # fmt: skip
    with pytest.raises(ScanError, match="another grid"):
        rows_of(None, [tmp_path / "a.nii.gz"], GRID)
    words = ["--scan", str(tmp_path / "none.nii.gz"), "--labels", "x", "--out", "y.png"]
    assert main(words) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
