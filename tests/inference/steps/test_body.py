"""The body mask: generous to the patient, blind to air and table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference.model.description import Intensity
from inference.steps.body import BODY_HU, body_mask
from inference.steps.boxes import window_box
from inference.steps.resample import resample_image
from inference.steps.windows import Placement
from phantom import Phantom, make_phantom

HU = Intensity(lower=-900.0, upper=300.0, mean=80.0, std=60.0)
THRESHOLD = HU.normalised(BODY_HU)


def mask_of(hounsfield: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    image = resample_image(hounsfield.astype(np.float32), HU, hounsfield.shape)
    return body_mask(image, THRESHOLD, spacing)


def air(shape: tuple[int, int, int] = (20, 80, 100)) -> np.ndarray:
    return np.full(shape, -1000, np.int16)


def test_the_patient_is_in(phantom: Phantom):
    mask = mask_of(phantom.image_ZYX, phantom.grid.spacing)
    tissue = (phantom.labels_ZYX > 0) & (phantom.image_ZYX > BODY_HU)  # not the stomach's gas
    assert mask[tissue].mean() > 0.99
    assert not mask.all()


@pytest.mark.parametrize("spacing", [(5.0, 2.0, 2.0), (2.4, 1.95, 1.95), (3.0, 5.0, 5.0)])
def test_air_and_table_are_out(spacing: tuple[float, float, float]):
    scan = air()
    scan[:, 20:50, 30:70] = 40
    rows_mm = spacing[1]
    table = slice(70, 70 + max(1, int(8 / rows_mm)))
    scan[:, table] = 200
    mask = mask_of(scan, spacing)
    edge = math.ceil(6 / min(spacing))  # the mask is as coarse as that
    assert mask[:, 20 + edge : 50 - edge, 30 + edge : 70 - edge].all()
    assert not mask[:, 50 + edge :].any()
    assert not mask[:, : 20 - edge].any()
    assert not mask[:, :, 70 + edge :].any()


def test_table_windows_are_left_out_and_organs_are_not():
    phantom = make_phantom((16, 60, 90), (8.0, 8.0, 8.0), seed=2)
    scan = phantom.image_ZYX.copy()
    scan[:, -3:-2] = 300  # a table top of one voxel, far behind the patient
    mask = mask_of(scan, phantom.grid.spacing)
    patch = (16, 16, 16)
    with_body = Placement.plan(scan.shape, patch, 0.5, mask)
    assert with_body.count < Placement.plan(scan.shape, patch, 0.5).count
    covered = np.zeros(scan.shape, bool)
    for layer in with_body.layers:
        for start in layer:
            covered[window_box(start, patch)] = True
    assert covered[phantom.labels_ZYX > 0].all()


def test_both_arms_beside_the_trunk_stay():
    scan = air()
    scan[:, 30:60, 30:70] = 40
    scan[:, 40:50, 5:15] = scan[:, 40:50, 85:95] = 40
    mask = mask_of(scan, (5.0, 5.0, 5.0))
    assert mask[:, 41:49, 6:14].all()
    assert mask[:, 41:49, 86:94].all()


def test_a_scan_whose_air_was_clipped_away_is_all_body():
    """Some public data sets store the soft tissue window only."""
    scan = np.random.default_rng(0).integers(-160, 240, (10, 40, 40))
    assert mask_of(scan, (5.0, 5.0, 5.0)).all()


def test_nothing_but_air_is_all_body():
    assert mask_of(air((4, 30, 30)), (5.0, 5.0, 5.0)).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (1, 40, 40), (40, 1, 2)])
def test_tiny_scans(shape: tuple[int, int, int]):
    mask = mask_of(np.full(shape, 40), (2.0, 2.0, 2.0))
    assert mask.shape == shape
    assert mask.all()


def test_a_thin_slab_of_a_patient_is_not_opened_away():
    scan = air((2, 80, 100))
    scan[:, 30:60, 30:70] = 40
    assert mask_of(scan, (1.0, 4.0, 4.0))[:, 31:59, 31:69].all()
