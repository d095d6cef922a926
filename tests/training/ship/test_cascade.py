"""A cascade's second network goes through inference's windows, with the first one's labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.grid import Grid, Orientation
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_volume, write_image
from tests.random_model import TINY, write_model
from training.data.store import Store, StoredCase, StoreError, write_case, write_index
from training.ship.cascade import CascadePredictor, write_previous

COARSE = (30, 40, 48)  # on the network's grid of 8 mm: fewer slices than a window, more columns
SECOND = replace(TINY, architecture=replace(TINY.architecture, inputs=15))
# A scan whose axes are turned over and swapped.
DIRECTION = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@pytest.fixture
def case(tmp_path: Path) -> tuple[Store, StoredCase]:
    """A scan at 4 mm and a store of it at 8 mm."""
    z, y, x = (2 * n for n in COARSE)
    grid = Grid((z, x, y), (4.0, 4.0, 4.0), (3.0, 4.0, 5.0), DIRECTION)
    scan = np.random.default_rng(0).normal(60, 20, grid.shape).astype(np.int16)
    write_image(tmp_path / "a_0000.nii.gz", scan, NiftiHeader.of_grid(grid))
    stored = StoredCase(
        name="a",
        patient="a",
        split="validation",
        annotated=(1,),
        unlabelled=False,
        shape=COARSE,
        spacing=TINY.spacing,
        image=str(tmp_path / "a_0000.nii.gz"),
        label="",
    )
    write_case(tmp_path, stored, np.zeros(COARSE, np.float32), np.zeros(COARSE, np.uint8))
    write_index(tmp_path, TINY.intensity, ["a"], None)
    return Store(tmp_path), stored


def blocks() -> np.ndarray:
    """Labels on the scan's canonical grid, in blocks that the coarse grid keeps; some tumour."""
    coarse = np.random.default_rng(1).integers(0, 14, COARSE).astype(np.uint8)
    coarse[5:9, 20:25, 30:35] = 14
    return coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2)


@pytest.mark.parametrize("decode", ["nearest", "linear"])
def test_a_network_that_repeats_the_first_ones_labels(
    case: tuple[Store, StoredCase], tmp_path: Path, decode: str
):
    """Whatever comes back has been through orientation, mirroring, windows and decoding."""
    store, stored = case
    orientation = Orientation.of(read_volume(Path(stored.image)).grid.direction)
    labels = np.ascontiguousarray(orientation.invert(blocks()))
    write_previous(store, stored, labels)
    predict = CascadePredictor(write_model(tmp_path / "second", SECOND), store, "cpu", decode)
    seen = []

    def repeat(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape))
        return 20 * batch[:, 1:] - 10

    predict.network.compute = repeat
    found = predict(stored)
    assert set(seen) == {(1, 15, 32, 32, 32)} and len(seen) > 1
    equal = (found == labels).mean()
    # Linear decoding rounds the blocks' corners.
    assert equal == 1 if decode == "nearest" else 0.2 < equal < 1
    assert (found == 14).any()


def test_another_normalisation_is_refused(case: tuple[Store, StoredCase], tmp_path: Path):
    other = replace(SECOND, intensity=replace(TINY.intensity, mean=0.0))
    with pytest.raises(StoreError, match="other intensity statistics"):
        CascadePredictor(write_model(tmp_path / "second", other), case[0], "cpu", "nearest")
