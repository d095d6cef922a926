"""Connected pieces against SciPy, and islands by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from inference.labels import TUMOR
from inference.model.description import ModelDescription
from inference.scan.volume import Volume
from inference.segmenter import Segmenter
from inference.steps.components import Pieces, clear_islands
from phantom import Phantom

TOUCHING = np.ones((3, 3, 3))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("smoothness", [0.4, 1.5])
def test_pieces_are_those_of_scipy(seed: int, smoothness: float) -> None:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=rng.integers(1, 30, 3)), smoothness)
    labels = np.digitize(field / field.std(), [0.6, 1.0, 1.6]).astype(np.uint8)
    if not labels.any():
        labels[0, 0, 0] = 1
    pieces = Pieces.of(labels)
    voxels = pieces.runs.voxels()
    assert np.array_equal(np.argwhere(labels), voxels)
    found = np.zeros(labels.shape, int)
    lengths = pieces.runs.last - pieces.runs.first + 1
    found[tuple(voxels.T)] = pieces.numbers.repeat(lengths) + 1
    for value in np.unique(labels[labels > 0]):
        mask = labels == value
        wanted, count = ndimage.label(mask, TOUCHING)
        pairs = {*zip(wanted[mask].tolist(), found[mask].tolist(), strict=True)}
        assert len(pairs) == count == np.count_nonzero(pieces.labels == value)
    assert np.array_equal(pieces.sizes, np.bincount(found[found > 0] - 1))


def islands() -> np.ndarray:
    """20x20x20: a liver of 512 voxels with islands of 64 and 8, a spleen of 8, a tumour of 1."""
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[1:9, 1:9, 1:9] = 1
    labels[12:16, 12:16, 12:16] = 1
    labels[17:19, 17:19, 1:3] = 1
    labels[17:19, 1:3, 17:19] = 3
    labels[4, 4, 4] = labels[0, 19, 0] = TUMOR
    return labels


@pytest.mark.parametrize(("share", "left"), [(0.0, 583), (0.1, 575), (0.2, 511), (1.0, 511)])
def test_small_pieces_go_by_their_share_of_the_largest(share: float, left: int) -> None:
    labels = islands()
    clear_islands(labels, (20, 20, 20), share)
    assert np.count_nonzero(labels == 1) == left
    assert np.count_nonzero(labels == 3) == 8, "an organ's only piece is its largest"
    assert np.count_nonzero(labels == TUMOR) == 2, "tumours are small and many"


@pytest.mark.parametrize("network", [(20, 20, 20), (11, 9, 14), (40, 33, 20)])
def test_pieces_are_cleared_whole_from_a_grid_of_another_size(network: tuple[int, ...]) -> None:
    big = islands().repeat(3, axis=0).repeat(4, axis=1).repeat(5, axis=2)
    wanted = big.copy()
    wanted[16 * 3 :, 16 * 4 :, : 4 * 5] = 0
    clear_islands(big, network, 0.1)  # type: ignore[arg-type]
    assert np.array_equal(big, wanted)


def test_a_piece_that_a_tumor_cuts_off_stays() -> None:
    """A kidney of 500 voxels, a tumour right through it, a pole of 50 behind: and one elsewhere."""
    labels = np.zeros((30, 12, 12), np.uint8)
    labels[0:20, 1:6, 1:6] = 2
    labels[20:23, 1:6, 1:6] = TUMOR
    labels[23:25, 1:6, 1:6] = 2
    labels[27:29, 8:11, 8:11] = 2
    wanted = labels.copy()
    wanted[27:29, 8:11, 8:11] = 0
    clear_islands(labels, (30, 12, 12), 0.2)
    assert np.array_equal(labels, wanted)
    # The tumour of another organ holds nothing together.
    labels[10:13, 1:6, 1:6], labels[20:23, 1:6, 1:6] = 0, 0
    labels[23:25, 6, 1:6] = TUMOR
    wanted = labels.copy()
    wanted[23:25, 1:6, 1:6] = 0
    clear_islands(labels, (30, 12, 12), 0.3)
    assert np.array_equal(labels, wanted)


def test_the_rim_of_what_stays_is_kept() -> None:
    """An island one network voxel away; the organ's own border reaches into the gap."""
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[0:23, :20, :20] = 1  # 11.5 network voxels: the sample of the 12th is the organ's, too
    labels[26:28, :4, :4] = 1
    wanted = labels.copy()
    wanted[26:28] = 0
    clear_islands(labels, (20, 20, 20), 0.1)
    assert np.array_equal(labels, wanted)


def test_nothing_labelled_stays_so() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    clear_islands(labels, (2, 2, 2), 0.5)
    assert not labels.any()


def test_a_model_says_whether_islands_go(make_model: Callable[..., Path], phantom: Phantom) -> None:
    """Random weights scatter labels; the model that drops islands gives one piece per organ."""
    volume = Volume.of_array(phantom.image_ZYX, phantom.grid)
    folders = [make_model("all"), make_model("one", islands=1.0)]
    assert ModelDescription.load(folders[1]).islands == 1.0
    kept, cleared = (Segmenter.load(f, "cpu").segment(volume) for f in folders)
    assert "islands" in cleared.timings and "islands" not in kept.timings
    assert (cleared.labels[cleared.labels > 0] == kept.labels[cleared.labels > 0]).all()
    assert 0 < np.count_nonzero(cleared.labels) < np.count_nonzero(kept.labels)


def buttock(with_spleen: bool, kidneys: tuple[int, ...] = (2, 13)) -> np.ndarray:
    """40 planes: kidneys in 20 to 29, a liver above them, a large "spleen" in 2 to 9."""
    labels = np.zeros((40, 20, 20), np.uint8)
    for x, kidney in zip((2, 14), kidneys, strict=False):
        labels[20:30, 8:12, x : x + 4] = kidney
    labels[26:38, 2:8, 1:10] = 1
    labels[2:10, 10:18, 10:18] = 3
    if with_spleen:
        labels[32:36, 12:16, 14:18] = 3
    return labels


@pytest.mark.parametrize("with_spleen", [True, False])
def test_a_spleen_below_the_kidneys_goes_however_large(with_spleen: bool) -> None:
    """512 voxels in a buttock; the true spleen, of 64, stays."""
    labels = buttock(with_spleen)
    assert clear_islands(labels, (40, 20, 20), 0.2) == (3,)
    assert np.count_nonzero(labels == 3) == (64 if with_spleen else 0)
    assert {2, 13, 1} <= {*np.unique(labels)}


def test_without_kidneys_nothing_is_misplaced() -> None:
    labels = buttock(False, ())
    assert clear_islands(labels, (40, 20, 20), 0.2) == ()
    assert np.count_nonzero(labels == 3) == 512


def test_what_reaches_up_to_the_kidneys_stays() -> None:
    labels = buttock(False)
    labels[10:21, 10, 10] = 3
    assert clear_islands(labels, (40, 20, 20), 0.2) == ()
    assert np.count_nonzero(labels == 3) == 512 + 11
