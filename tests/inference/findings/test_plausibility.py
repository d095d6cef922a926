"""Labels that can be no abdomen's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from inference.findings.plausibility import doubts
from inference.grid import Grid
from inference.scan.volume import read_volume
from inference.segmenter import Segmenter

GRID = Grid((40, 40, 40), (5.0, 5.0, 5.0))


@pytest.mark.parametrize(
    ("liver", "aorta", "doubted"), [(30, 0, True), (30, 2, False), (0, 0, False), (0, 30, False)]
)
def test_much_liver_and_no_aorta(liver: int, aorta: int, doubted: bool):
    """A slice is 200 ml."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:liver] = 1
    labels[40 - aorta :] = 5
    assert bool(doubts(labels, GRID)) == doubted


def test_it_says_how_much():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:10] = 1
    assert doubts(labels, GRID) == (
        "2000 ml of organs are found and 0.0 ml of aorta: is there an abdomen?",
    )


@pytest.mark.parametrize("shape", [(7, 10, 12), (1, 9, 16), (2, 3, 4)])
def test_a_scan_that_is_turned_is_doubted_alike(shape: tuple[int, int, int]):
    labels = np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)
    grid = Grid(shape, (20.0, 20.0, 20.0))
    said = doubts(labels, grid)
    assert said
    for axes in itertools.permutations(range(3)):
        turned = labels.transpose(axes)
        for flipped in itertools.product((1, -1), repeat=3):
            view = turned[tuple(slice(None, None, step) for step in flipped)]
            assert doubts(view, Grid(view.shape, (20.0, 20.0, 20.0))) == said


@pytest.mark.slow
def test_real_scans_are_not_doubted_and_legs_are(shared_data):
    """The bundled model."""
    from benchmarks.no_abdomen import head, legs

    segmenter = Segmenter.load(device="cpu")
    for path in sorted((shared_data / "ct").glob("*_0000.nii.gz")):
        result = segmenter.segment(read_volume(path))
        assert doubts(result.labels, result.grid) == (), path
    for volume in (head(), legs()):
        result = segmenter.segment(volume)
        assert doubts(result.labels, result.grid) or not result.labels.any()
