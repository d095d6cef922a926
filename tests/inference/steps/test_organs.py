"""Cropping to the organs: the box by hand, and a segmenter that only looks inside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference import segmenter as module
from inference.errors import ModelError
from inference.grid import Grid, Orientation
from inference.labels import TUMOR
from inference.model.description import Crop, ModelDescription
from inference.scan.volume import Volume
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from inference.steps.organs import agreement, agreements, clipped_organs, organ_box
from phantom import Phantom

LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Grid((50, 200, 400), (4.0, 2.0, 1.0), (0.0, 0.0, 0.0), LPS)  # 200 x 400 x 400 mm


def labelled(*boxes: tuple[int, tuple[slice, slice, slice]]) -> np.ndarray:
    """Labels on a grid of 10 mm."""
    labels = np.zeros((20, 40, 40), np.uint8)
    for label, box in boxes:
        labels[box] = label
    return labels


def test_the_box_by_hand():
    liver = (1, (slice(5, 15), slice(10, 20), slice(2, 12)))  # 50-150, 100-200, 20-120 mm
    far = (TUMOR, (slice(0, 20), slice(0, 40), slice(39, 40)))
    labels = labelled(liver, far)
    assert organ_box(labels, GRID, 0.0) == (slice(12, 38), slice(50, 100), slice(20, 120))
    assert organ_box(labels, GRID, 30.0) == (slice(5, 45), slice(35, 115), slice(0, 150))
    assert organ_box(labels, GRID, 999.0) == (slice(0, 50), slice(0, 200), slice(0, 400))


def test_islands_make_no_box_larger():
    liver = (1, (slice(5, 15), slice(10, 20), slice(2, 12)))
    island = (1, (slice(0, 2), slice(30, 36), slice(30, 36)))  # 7 % of the liver
    other = (3, (slice(18, 19), slice(10, 12), slice(2, 4)))  # small, but all there is of a spleen
    alone = organ_box(labelled(liver), GRID, 0.0)
    assert organ_box(labelled(liver, island), GRID, 0.0) == alone
    assert organ_box(labelled(liver, other), GRID, 0.0) == (slice(12, 48), slice(50, 100), alone[2])


def test_a_spleen_in_a_buttock_makes_no_box_larger():
    liver = (1, (slice(10, 18), slice(10, 20), slice(2, 12)))
    kidney = (2, (slice(8, 12), slice(22, 26), slice(4, 8)))
    spleen = (3, (slice(0, 6), slice(26, 36), slice(26, 36)))  # as large as three quarters of it
    alone = organ_box(labelled(liver, kidney), GRID, 20.0)
    assert organ_box(labelled(liver, kidney, spleen), GRID, 20.0) == alone


def test_too_little_is_no_box():
    liver = (1, (slice(5, 10), slice(10, 15), slice(2, 10)))  # 200 ml
    assert organ_box(labelled(liver), GRID, 0.0) is not None
    assert organ_box(labelled((1, (*liver[1][:2], slice(2, 9)))), GRID, 0.0) is None
    assert organ_box(labelled((TUMOR, (slice(0, 20),) * 3)), GRID, 0.0) is None
    assert organ_box(labelled(), GRID, 0.0) is None


def test_agreement_by_hand():
    liver, spleen = (1, (slice(0, 10),) * 3), (3, (slice(0, 10),) * 3)
    shifted = (1, (slice(5, 15), slice(0, 10), slice(0, 10)))
    tumor = (TUMOR, (slice(0, 10), slice(20, 40), slice(0, 40)))
    first = labelled(liver)
    assert agreement(first, first) == agreement(labelled(), labelled()) == 1
    assert agreement(first, labelled(shifted)) == 0.5
    assert agreement(first, labelled(spleen)) == agreement(first, labelled()) == 0
    assert agreement(labelled(liver, tumor), labelled(shifted)) == 0.5
    finer = labelled(shifted).repeat(2, axis=0).repeat(3, axis=1).repeat(3, axis=2)
    assert agreement(first, finer) == 0.5


def segment(folder: Path, phantom: Phantom, step: float | None = None) -> Segmentation:
    segmenter = Segmenter.load(folder, "cpu", precision="f32")
    return segmenter.segment(Volume.of_array(phantom.image_ZYX, phantom.grid), step=step)


@pytest.fixture
def models(make_model: Callable[..., Path]) -> tuple[Path, Path]:
    """The same network, without and with a crop to what itself finds."""
    make_model("finder", spacing=(16.0, 16.0, 16.0))
    whole = make_model("whole", step=None)
    return whole, make_model("cropping", step=None, crop=Crop("finder", 10.0))


def test_only_inside_the_box(
    models: tuple[Path, Path], phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    # One axis of each direction is turned round: the box is found in canonical order.
    flipped = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    grid = Grid(phantom.grid.shape, phantom.grid.spacing, (0.0, 0.0, 0.0), flipped)
    box = (slice(4, 20), slice(8, 30), slice(20, 44))
    monkeypatch.setattr(module, "organ_box", lambda *_: box)
    segmenter = Segmenter.load(models[1], "cpu", precision="f32")
    result = segmenter.segment(Volume.of_array(phantom.image_ZYX, grid))
    assert result.timings["organs"] > 0 < result.timings["organs network"]
    labels = Orientation.of(flipped).apply(result.labels)
    outside = np.ones(labels.shape, bool)
    # The scan has the network's voxels, and windows are multiples of 4: y grows by two.
    assert result.window == (16, 24, 24)
    outside[4:20, 8:32, 20:44] = False
    assert len(np.unique(labels[~outside])) > 5
    assert not labels[outside].any()


def test_a_box_around_everything_changes_nothing(models: tuple[Path, Path], phantom: Phantom):
    whole, cropping = models
    description = ModelDescription.load(cropping)
    assert description.crop == Crop("finder", 10.0)
    expected = segment(whole, phantom).labels
    document = (cropping / "model.json").read_text()
    (cropping / "model.json").write_text(document.replace('10.0, "agr', '9999.0, "agr'))
    assert ModelDescription.load(cropping).crop == Crop("finder", 9999.0)
    np.testing.assert_array_equal(segment(cropping, phantom).labels, expected)


def test_the_finder_lies_beside_the_folder_one_stands_in(
    models: tuple[Path, Path], phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    expected = segment(models[1], phantom).labels
    monkeypatch.chdir(models[1])
    np.testing.assert_array_equal(segment(Path(), phantom).labels, expected)


def test_a_step_looks_at_the_whole_scan(models: tuple[Path, Path], phantom: Phantom):
    whole, cropping = models
    result = segment(cropping, phantom, step=0.5)
    np.testing.assert_array_equal(result.labels, segment(whole, phantom, step=0.5).labels)
    assert "organs" not in result.timings


def test_without_organs_the_whole_body_is_taken_and_said(
    models: tuple[Path, Path], phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "organ_box", lambda *_: None)
    result = segment(models[1], phantom)
    np.testing.assert_array_equal(result.labels, segment(models[0], phantom).labels)
    assert any("whole body" in warning for warning in result.warnings)


@pytest.mark.parametrize(("least", "empty"), [(0.0, False), (0.5, False), (0.7, True)])
def test_what_two_models_do_not_agree_about_is_not_believed(
    make_model: Callable[..., Path],
    phantom: Phantom,
    monkeypatch: pytest.MonkeyPatch,
    least: float,
    empty: bool,
):
    make_model("finder", spacing=(16.0, 16.0, 16.0))
    folder = make_model("cropping", step=None, crop=Crop("finder", 10.0, least))
    description = ModelDescription.load(folder)
    assert description.crop == Crop("finder", 10.0, least)
    monkeypatch.setattr(module, "agreements", lambda *_: (0.6, {}, {}))
    result = segment(folder, phantom)
    assert result.labels.any() != empty
    assert any("no abdomen" in warning for warning in result.warnings) == empty
    looked = segment(folder, phantom, step=0.5)
    assert looked.labels.any() and not any("no abdomen" in w for w in looked.warnings)


def test_a_model_that_names_itself_is_told(make_model: Callable[..., Path]):
    folder = make_model("selfish", step=None, crop=Crop("selfish", 10.0))
    with pytest.raises(ModelError, match=r"model\.json: names itself as the model that finds"):
        Segmenter.load(folder, "cpu")
    (folder.parent / "alias").symlink_to(folder)
    with pytest.raises(ModelError, match="names itself"):
        Segmenter.load(folder.parent / "alias", "cpu")


def test_what_finds_the_organs_has_no_finder_itself(
    make_model: Callable[..., Path], phantom: Phantom
):
    """Two models that name each other would look for one another for ever."""
    one = make_model("one", step=None, crop=Crop("two", 9999.0))
    make_model("two", step=None, crop=Crop("one", 10.0))
    segmenter = Segmenter.load(one, "cpu", precision="f32")
    finder = segmenter._finder
    assert finder is not None and finder._finder is None
    assert finder.description.crop is None
    whole = make_model("whole", step=None)
    np.testing.assert_array_equal(segment(one, phantom).labels, segment(whole, phantom).labels)


def test_a_crop_model_that_is_missing(models: tuple[Path, Path]):
    (models[1].parent / "finder" / "model.json").unlink()
    with pytest.raises(ModelError, match=r"finder.* is not there, and cropping finds"):
        Segmenter.load(models[1], "cpu")


def test_agreement_organ_by_organ():
    """Of the liver half is seen alike; the second has no spleen, the first no kidney."""
    liver, shifted = (1, (slice(0, 10),) * 3), (1, (slice(5, 15), slice(0, 10), slice(0, 10)))
    spleen, kidney = (3, (slice(16, 20),) * 3), (2, (slice(15, 20), slice(20, 30), slice(20, 30)))
    tumor = (TUMOR, (slice(0, 20), slice(39, 40), slice(39, 40)))
    overall, by_organ, found_ml = agreements(
        labelled(liver, spleen, tumor), labelled(shifted, kidney), GRID
    )
    assert by_organ == {1: 0.5, 2: 0.0, 3: 0.0}
    assert found_ml == {1: pytest.approx(1000), 3: pytest.approx(64)}
    assert overall == pytest.approx(2 * 500 / (1000 + 64 + 1000 + 500))


@pytest.mark.parametrize(
    ("inside", "clipped"),
    [
        ((slice(0, 20), slice(0, 40), slice(0, 40)), ()),
        ((slice(5, 15), slice(10, 20), slice(2, 12)), (1,)),
        ((slice(0, 20), slice(10, 40), slice(0, 40)), (1,)),  # one face is enough
        ((slice(4, 20), slice(9, 40), slice(1, 40)), ()),  # a voxel lies between
        ((slice(0, 15), slice(0, 21), slice(0, 13)), (1,)),
    ],
)
def test_what_the_box_clips(inside, clipped: tuple[int, ...]):
    labels = labelled(
        (1, (slice(5, 15), slice(10, 20), slice(2, 12))),
        (3, (slice(19, 20), slice(39, 40), slice(39, 40))),
    )
    assert clipped_organs(labels, inside) == clipped
