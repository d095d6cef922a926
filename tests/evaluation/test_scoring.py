"""Scores of one case, and each way in which the ``flare23`` mode differs from the default."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.rules import MODES, TOLERANCES_MM
from evaluation.scoring import evaluate_case, rounded
from tests.evaluation.oracle import TOLERANCES, official_scores

SPACING = (2.0, 1.0, 1.0)
AORTA, LIVER, TUMOR = 5, 1, 14


def _bar(label: int, first: int, last: int, length: int = 10) -> np.ndarray:
    """A bar of 3x3 voxels along z, from slice ``first`` to slice ``last`` inclusive."""
    labels = np.zeros((length, 7, 7), np.uint8)
    labels[first : last + 1, 2:5, 2:5] = label
    return labels


def test_tolerances_are_the_challenge_s() -> None:
    assert tuple(TOLERANCES_MM[label] for label in range(1, 15)) == TOLERANCES


@pytest.mark.parametrize("mode", MODES)
def test_empty_classes(mode: str) -> None:
    scores = evaluate_case(_bar(LIVER, 0, 3), _bar(TUMOR, 0, 3), SPACING, mode=mode)
    assert scores[LIVER] == scores[TUMOR] == (0.0, 0.0)
    assert all(scores[label] == (1.0, 1.0) for label in range(2, 14))
    assert list(scores) == list(range(1, 15))


@pytest.mark.parametrize("mode", MODES)
def test_each_class_has_its_own_tolerance(mode: str) -> None:
    # Shifted by one 4 mm slice: the liver's 5 mm forgive it, the tumor's 2 mm do not.
    scores = {
        label: evaluate_case(_bar(label, 2, 7), _bar(label, 1, 6), (4.0, 1.0, 1.0), mode=mode)[
            label
        ]
        for label in (LIVER, TUMOR)
    }
    assert scores[LIVER][0] == scores[TUMOR][0] == pytest.approx(10 / 12, abs=1e-4)
    assert scores[LIVER][1] == 1.0
    assert scores[TUMOR][1] < 0.95


def test_partly_labelled_vessels_are_scored_in_the_reference_s_slices_only() -> None:
    ref, pred = _bar(AORTA, 3, 6), _bar(AORTA, 0, 9)
    assert evaluate_case(pred, ref, SPACING)[AORTA] == (1.0, 1.0)
    # Any other organ is charged for the six slices too many.
    assert evaluate_case(pred // 5, ref // 5, SPACING)[LIVER][0] == 2 * 4 / (10 + 4)


def test_flare23_drops_the_highest_labelled_slice() -> None:
    ref, pred = _bar(AORTA, 3, 6), _bar(AORTA, 3, 5)
    # Slice 6 is missed: 3 slices of 3 in common, against 4 slices. The official script never looks.
    assert evaluate_case(pred, ref, SPACING)[AORTA][0] == 2 * 3 / (3 + 4)
    assert evaluate_case(pred, ref, SPACING, mode="flare23")[AORTA] == (1.0, 1.0)


def test_flare23_looks_for_absent_classes_before_it_cuts() -> None:
    ref, pred = _bar(AORTA, 3, 6), _bar(AORTA, 6, 9)
    # The only common slice is the dropped one: present in both, yet nothing is left of one.
    assert evaluate_case(pred, ref, SPACING)[AORTA][0] == 2 * 1 / (1 + 4)
    assert evaluate_case(pred, ref, SPACING, mode="flare23")[AORTA] == (0.0, 0.0)


def test_flare23_has_no_score_for_a_vessel_labelled_in_one_slice() -> None:
    ref, pred = _bar(AORTA, 4, 4), _bar(AORTA, 3, 6)
    assert evaluate_case(pred, ref, SPACING)[AORTA] == (1.0, 1.0)
    assert all(map(math.isnan, evaluate_case(pred, ref, SPACING, mode="flare23")[AORTA]))


@pytest.mark.parametrize(("common", "kept"), [(2, True), (1, False)])
def test_flare23_gives_no_nsd_below_a_dsc_of_one_fifth(common: int, kept: bool) -> None:
    # Two lines of ten voxels with 2 (DSC 0.2 exactly) or 1 (DSC 0.1) voxels in common.
    ref, pred = np.zeros((2, 1, 1, 20), np.uint8)
    ref[..., :10] = LIVER
    pred[..., 10 - common : 20 - common] = LIVER
    dsc, nsd = evaluate_case(pred, ref, SPACING)[LIVER]
    official_dsc, official_nsd = evaluate_case(pred, ref, SPACING, mode="flare23")[LIVER]
    assert dsc == official_dsc == common / 10
    assert nsd > 0.5
    assert official_nsd == (round(nsd, 4) if kept else 0.0)


def test_flare23_rounds_to_four_decimals() -> None:
    ref, pred = np.zeros((2, 1, 1, 7), np.uint8)
    ref[..., :3] = pred[..., 1:5] = LIVER
    assert evaluate_case(pred, ref, SPACING)[LIVER][0] == 2 * 2 / 7
    assert evaluate_case(pred, ref, SPACING, mode="flare23")[LIVER][0] == 0.5714


def test_rounding_is_numpy_s() -> None:
    # 0.28125 lies exactly between two decimals; 0.00115 lies below the half, which NumPy's
    # multiplication by 10000 hides and Python's exact decimals show.
    assert rounded(0.28125, 4) == 0.2812
    assert (rounded(0.00115, 4), round(0.00115, 4)) == (0.0012, 0.0011)
    assert rounded(1 / 3, None) == 1 / 3


label_maps = hnp.arrays(
    np.uint8, (6, 5, 4), elements=st.sampled_from((0, 0, 0, 1, 5, 6, 10, 12, 14))
)


@settings(max_examples=60, deadline=None)
@given(pred=label_maps, ref=label_maps, spacing=st.sampled_from(((1.0, 1.0, 1.0), (2.5, 0.8, 0.7))))
def test_flare23_equals_the_official_script(
    pred: np.ndarray, ref: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    scores = evaluate_case(pred, ref, spacing, mode="flare23")
    for label in (5, 6, 10):  # where the official script stops with an error
        if math.isnan(scores[label][0]):
            assert np.unique(np.nonzero(ref == label)[0]).size == 1
            pred, ref = np.where(pred == label, 0, pred), np.where(ref == label, 0, ref)
            scores[label] = (1.0, 1.0)
    expected = official_scores(pred, ref, spacing)
    for label, score in scores.items():
        assert score == pytest.approx(expected[label], abs=1e-12)


def test_classes_that_are_not_annotated_get_no_score() -> None:
    scores = evaluate_case(_bar(TUMOR, 0, 5), _bar(LIVER, 0, 5), SPACING, annotated=[14, 3])
    assert scores == {3: (1.0, 1.0), 14: (0.0, 0.0)}


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint16])
def test_any_integers(kind: type[np.integer]) -> None:
    labels = _bar(LIVER, 2, 5).astype(kind)
    assert evaluate_case(labels, labels, SPACING)[LIVER] == (1.0, 1.0)


@pytest.mark.parametrize(
    ("pred", "change", "message"),
    [
        (np.full((2, 2, 2), 15, np.uint8), {}, "0..14"),
        (np.full((2, 2, 2), -1, np.int16), {}, "0..14"),
        (np.zeros((2, 2, 2)), {}, "integers"),
        (np.zeros((2, 2, 3), np.uint8), {}, "one shape"),
        (np.ones((2, 2, 2), np.uint8), {"mode": "flare22"}, "default, flare23"),
        (np.ones((2, 2, 2), np.uint8), {"annotated": [0]}, "annotated"),
        (np.ones((2, 2, 2), np.uint8), {"spacing_ZYX": (0.0, 1.0, 1.0)}, "spacing"),
    ],
)
def test_misuse_is_named(pred: np.ndarray, change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"spacing_ZYX": SPACING, **change}
    with pytest.raises(ValueError, match=message):
        evaluate_case(pred, np.ones((2, 2, 2), np.uint8), **arguments)  # type: ignore[arg-type]
