"""Organs that are none: phantoms of a few boxes, each of which tips one condition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference import segmenter as module
from inference.grid import Grid
from inference.labels import NAMES, TUMOR
from inference.model.description import Crop
from inference.scan.volume import Volume
from inference.segmenter import Segmenter
from inference.steps.organs import AGREED
from inference.steps.unlikely import clear_unlikely
from phantom import Phantom

LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Grid((40, 80, 80), (5.0, 2.5, 2.5), (0.0, 0.0, 0.0), LPS)
NETWORK = (20, 40, 40)  # 10 x 5 x 5 mm: a quarter of a ml
RIGHT, SPLEEN, GALLBLADDER, STOMACH, LEFT = 2, 3, 9, 11, 13
Labelled = tuple[int, tuple[slice, slice, slice], float]
# Network voxels: 4 x 6 x 6 of them are 36 ml.
SMALL = (slice(4, 8), slice(10, 16), slice(24, 30))
CUT = (slice(0, 4), *SMALL[1:])
LARGE = (slice(4, 12), slice(5, 25), slice(5, 25))  # 800 ml


def cleared(*organs: Labelled, agreement: dict[int, float]) -> tuple[dict[int, float], set[int]]:
    """What is cleared, and what stays, of boxes in network voxels, each with its HU."""
    labels, image = np.zeros(GRID.shape, np.uint8), np.full(GRID.shape, -100, np.int16)
    for label, box, hu in organs:
        place = tuple(slice(2 * side.start, 2 * side.stop) for side in box)
        labels[place], image[place] = label, hu
    gone = clear_unlikely(labels, image, GRID, NETWORK, agreement)
    return gone, set(np.unique(labels).tolist()) - {0}


def test_a_small_whole_spleen_that_one_model_sees_elsewhere_is_none():
    gone, left = cleared((1, LARGE, 100), (SPLEEN, SMALL, 40), agreement={1: 0.95, SPLEEN: 0.6})
    assert gone == {SPLEEN: pytest.approx(36)}
    assert left == {1}


@pytest.mark.parametrize(
    ("label", "box", "agreed"),
    [
        (SPLEEN, SMALL, AGREED[SPLEEN]),  # both see it
        (SPLEEN, CUT, 0.0),  # the rest may lie below the scan
        (SPLEEN, (slice(4, 10), *SMALL[1:]), 0.0),  # 54 ml
        (LEFT, (slice(4, 11), *SMALL[1:]), 0.0),  # 63 ml
        (GALLBLADDER, SMALL, 0.0),
        (STOMACH, SMALL, 0.0),  # what is left of one looks like this
        (4, SMALL, 0.0),
        (8, SMALL, 0.0),
    ],
)
def test_what_may_be_an_organ_stays(label: int, box: tuple[slice, slice, slice], agreed: float):
    gone, left = cleared((label, box, 40), agreement={label: agreed})
    assert gone == {} and left == {label}


def test_without_a_second_model_everything_stays():
    assert cleared((SPLEEN, SMALL, 40), agreement={}) == ({}, {SPLEEN})


def test_a_tumor_belongs_to_the_organ_that_it_has_taken():
    """A kidney of 72 ml of which a tumour has left 48."""
    inside = (slice(5, 11), slice(11, 15), slice(25, 29))
    around = (slice(4, 12), slice(10, 16), slice(24, 30))
    kidney, tumor, fluid = (LEFT, around, 100), (TUMOR, inside, 40), (0, inside, 40)
    assert cleared(kidney, tumor, agreement={LEFT: 0.5}) == ({}, {LEFT, TUMOR})
    assert cleared(kidney, fluid, agreement={LEFT: 0.5}) == ({LEFT: pytest.approx(48)}, set())
    large = (slice(4, 8), slice(8, 10), slice(10, 30))
    beside = cleared((LEFT, SMALL, 100), (TUMOR, large, 40), agreement={LEFT: 0.5})
    assert beside == ({LEFT: pytest.approx(36)}, {TUMOR})


@pytest.mark.parametrize(
    ("hu", "other_hu", "none"),
    [
        (60, 160, True),
        (90, 160, False),  # it takes up contrast as well, if late
        (20, 60, False),  # without contrast both are dark
    ],
)
def test_a_cut_kidney_is_none_if_the_other_one_alone_takes_up_contrast(
    hu: float, other_hu: float, none: bool
):
    right = (slice(6, 14), slice(10, 20), slice(4, 14))
    for own, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
        organs = (own, CUT, hu), (other, right, other_hu)
        gone, left = cleared(*organs, agreement={own: 0.7, other: 0.95})
        assert gone == ({own: pytest.approx(36)} if none else {})
        assert left == ({other} if none else {own, other})


def test_a_lone_cut_kidney_stays():
    assert cleared((LEFT, CUT, 20), agreement={LEFT: 0.3}) == ({}, {LEFT})


def test_no_voxel_of_it_is_left_where_the_grids_do_not_meet():
    labels = np.zeros((31, 67, 53), np.uint8)
    labels[9:14, 20:31, 20:29] = SPLEEN
    image = np.zeros(labels.shape, np.int16)
    grid = Grid(labels.shape, (5.0, 3.0, 3.0), (0.0, 0.0, 0.0), LPS)
    gone = clear_unlikely(labels, image, grid, (23, 41, 39), {SPLEEN: 0.1})
    assert gone[SPLEEN] == pytest.approx(5 * 11 * 9 * 0.045, rel=0.3)
    assert not labels.any()


def test_a_segmentation_tells_what_was_left_out(
    make_model: Callable[..., Path], phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    make_model("finder", spacing=(16.0, 16.0, 16.0))
    folder = make_model("cropping", step=None, crop=Crop("finder", 9999.0))
    segmenter = Segmenter.load(folder, "cpu", precision="f32")
    scan = Volume.of_array(phantom.image_ZYX, phantom.grid)
    monkeypatch.setattr(module, "agreements", lambda *_: (1.0, dict.fromkeys(NAMES, 1.0), {}))
    before = segmenter.segment(scan)
    organ = int(before.labels.max())
    assert organ > 0 and before.evidence.left_out_ml == {}
    asked = []

    def clear(labels: np.ndarray, *rest: object) -> dict[int, float]:
        asked.append(rest[-1])
        labels[labels == organ] = 0
        return {organ: 7.0}

    monkeypatch.setattr(module, "clear_unlikely", clear)
    after = segmenter.segment(scan)
    assert asked == [dict.fromkeys(NAMES, 1.0)]
    assert after.evidence.left_out_ml == {organ: 7.0}
    expected = np.where(before.labels == organ, 0, before.labels)
    np.testing.assert_array_equal(after.labels, expected)
