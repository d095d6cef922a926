"""The coarse look that doubts are judged by, and what it might miss."""

from __future__ import annotations

import numpy as np
import pytest

from inference.findings.doubts import doubts, judged
from inference.findings.look import Look
from inference.grid import Grid
from inference.labels import ORGANS, TUMOR
from inference.steps.organs import Evidence
from phantom import Phantom, make_phantom

GALLBLADDER = 9


@pytest.fixture(scope="module")
def patient() -> Phantom:
    """From the lung bases to the pelvis."""
    return make_phantom((88, 58, 72), (5.0, 6.0, 5.0), seed=1, center_mm=(0.0, -45.0, -60.0))


def test_the_look_is_coarse_and_keeps_volumes(patient: Phantom):
    """Of voxels of 1.25 x 3 x 2.5 mm every second along z."""
    parts = (4, 2, 2)
    labels, image = patient.labels_ZYX, patient.image_ZYX
    for axis, n in enumerate(parts):
        labels, image = labels.repeat(n, axis), image.repeat(n, axis)
    spacing = tuple(s / n for s, n in zip(patient.grid.spacing, parts, strict=True))
    look = Look.at(labels, image, Grid(labels.shape, spacing), Evidence())
    assert look.grid.spacing == (2.5, 3.0, 2.5)
    for label in ORGANS:
        true = np.count_nonzero(patient.labels_ZYX == label) * patient.grid.voxel_ml
        assert look.ml(label) == pytest.approx(true)
    assert TUMOR in look.found
    assert TUMOR not in judged(look).organs


@pytest.mark.parametrize("alone", [True, False])
def test_specks_between_the_voxels_that_are_looked_at_are_doubted(alone: bool):
    """Of voxels of 1 mm every third is looked at; a gallbladder of two of the others is there."""
    labels = np.zeros((30, 60, 60), np.uint8)
    if not alone:
        labels[5:25, 5:40, 5:40] = 1
    labels[6, 45, 45:47] = GALLBLADDER
    image = np.full(labels.shape, 50, np.int16)
    found = doubts(labels, image, Grid(labels.shape, (1.0, 1.0, 1.0)))
    one = found.organs[GALLBLADDER]
    assert (one.score, one.doubtful) == (0.0, True)
    assert one.reasons == ("only specks of it are found, 0.002 ml in all",)
    assert (1 in found.organs) != alone
