"""The calibration of the doubts: what it collects, what it counts; organs taken away by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.doubts import collecting
from benchmarks.doubts.collecting import collected
from benchmarks.doubts.runs import Run
from benchmarks.doubts.tables import counts, tables
from benchmarks.quality.absent import without
from benchmarks.quality.degrade import aside, blurred, degradations, more_degradations, stretched
from benchmarks.quality.scan import Scan
from benchmarks.quality.wrong_inputs import wrong_inputs
from inference.findings.doubts import judged
from inference.findings.look import Look
from inference.labels import NAMES
from inference.segmenter import Segmenter
from inference.steps.organs import Evidence
from phantom import Phantom

SPLEEN, LEFT_KIDNEY = 3, 13


@pytest.fixture(scope="module")
def scan(phantom: Phantom) -> Scan:
    voxels, labels = phantom.image_ZYX, phantom.labels_ZYX
    return Scan("phantom", voxels, labels, phantom.grid.spacing, tuple(NAMES))


def run_of(scan: Scan, dsc: dict[int, float], evidence: Evidence | None = None, **more) -> Run:
    volume = scan.volume
    look = Look.at(scan.labels_ZYX, volume.voxels_ZYX, volume.grid, evidence or Evidence())
    known = {"warnings": (), "empty": False, "annotated": tuple(dsc), **more}
    return Run("phantom", "as they are", "as it is", look, dsc, **known)


def test_a_removed_organ(scan: Scan):
    after = without(scan, SPLEEN)
    spleen = scan.labels_ZYX == SPLEEN
    assert not (after.labels_ZYX == SPLEEN).any()
    assert SPLEEN in after.annotated
    # Fat and bowel where it was, and nobody else's voxel is touched.
    assert np.median(scan.voxels_ZYX[spleen]) > 80
    assert -130 < np.percentile(after.voxels_ZYX[spleen], 10) < -60
    assert np.percentile(after.voxels_ZYX[spleen], 90) < 100
    others = (scan.labels_ZYX > 0) & ~spleen
    np.testing.assert_array_equal(after.voxels_ZYX[others], scan.voxels_ZYX[others])
    np.testing.assert_array_equal(after.labels_ZYX[others], scan.labels_ZYX[others])
    np.testing.assert_array_equal(without(scan, SPLEEN).voxels_ZYX, after.voxels_ZYX)
    with pytest.raises(ValueError, match="shows no spleen"):
        without(after, SPLEEN)


def test_twenty_ways_to_be_worse(scan: Scan):
    ways = degradations() | more_degradations()
    ways.pop("as it is")
    assert len(ways) == 20
    for name, worse in ways.items():
        changed = worse(scan)
        assert changed.voxels_ZYX.shape == changed.labels_ZYX.shape, name
        assert changed.voxels_ZYX.dtype == np.int16, name
        same = changed.spacing == scan.spacing and np.array_equal(
            changed.voxels_ZYX, scan.voxels_ZYX
        )
        assert not same, name


def test_ways_that_a_hand_can_follow(scan: Scan):
    x = np.flatnonzero((scan.labels_ZYX != 0).any(axis=(0, 1)))
    right = aside(scan, right=1 / 3).labels_ZYX
    assert right.shape[2] == 48 - x[0] - round((x[-1] + 1 - x[0]) / 3)
    np.testing.assert_array_equal(right, scan.labels_ZYX[:, :, -right.shape[2] :])
    left = aside(scan, left=1 / 3).labels_ZYX
    np.testing.assert_array_equal(left, scan.labels_ZYX[:, :, : left.shape[2]])
    assert (stretched(scan, 1.2).voxels_ZYX == np.rint(scan.voxels_ZYX * 1.2)).mean() > 0.2
    assert blurred(scan, 4.0).voxels_ZYX.std() < scan.voxels_ZYX.std()


def test_wrong_inputs(scan: Scan):
    ways = wrong_inputs()
    mirrored = ways["mirrored"](scan)
    np.testing.assert_array_equal(mirrored.voxels_ZYX, scan.voxels_ZYX[:, :, ::-1])
    np.testing.assert_array_equal(mirrored.labels_ZYX, scan.labels_ZYX[:, :, ::-1])
    assert ways["slices of a third"](scan).spacing == pytest.approx((8 / 3, 8, 8))
    unit = ways["values of 0 to 1"](scan).voxels_ZYX
    assert unit.dtype == np.float32
    assert -0.1 < unit.min() < unit.max() < 2.1
    chest = ways["chest only"](scan)
    assert len(chest.labels_ZYX) < 0.6 * len(scan.labels_ZYX)


def test_what_is_collected_comes_back(
    scan: Scan, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ways = {
        "mirrored": wrong_inputs()["mirrored"],
        "none": lambda scan: without(without(scan, 9), 9),
    }
    monkeypatch.setattr(collecting, "GROUPS", {"wrong inputs": lambda: ways})
    for name in ("head", "legs"):
        monkeypatch.setattr(collecting, name, lambda: scan.volume)
    segmenter = Segmenter.load(tiny_model, "cpu")
    found = [*collected(segmenter, [scan], {("legs", "legs")})]
    assert [(run.scan, run.variant) for run in found] == [("phantom", "mirrored"), ("head", "head")]
    again = [Run.of_json(run.json()) for run in found]
    assert [judged(run.look) for run in again] == [judged(run.look) for run in found]
    assert again == found


def test_counting_by_hand(scan: Scan):
    """Agreement of 0.1 flags the spleen. The kidney's DSC is bad and nothing tells."""
    evidence = Evidence({SPLEEN: 0.1})
    bad = run_of(scan, {SPLEEN: 0.4, LEFT_KIDNEY: 0.4, 1: 0.9}, evidence)
    good = run_of(scan, {SPLEEN: 0.9, 1: 0.9}, evidence)
    assert counts([bad], 0.5) == (2, 1, 1, 0)
    assert counts([bad, good], 0.5) == (2, 1, 3, 1)
    assert counts([bad, good], 0.5, SPLEEN) == (1, 1, 1, 1)
    assert counts([bad], 0.0) == (2, 0, 1, 0)
    text = tables([bad, good])
    assert "| spleen | 1 of 1 (100%) | 1 of 1 (100%) |" in text
    assert "| as they are | 2 | 1 of 2 (50%) | 1 of 3 (33%) |" in text


def test_what_neither_shows_is_right_and_an_emptied_scan_is_told(scan: Scan):
    absent = replace(run_of(without(scan, 9), {}), annotated=(9,))
    assert counts([absent], 0.5) == (0, 0, 1, 0)
    warning = ("no abdomen is recognised (two models agree by 0.10): the labels are left empty",)
    emptied = run_of(scan, {1: 0.0}, empty=True, warnings=warning)
    assert counts([emptied], 0.5) == (1, 1, 0, 0)
