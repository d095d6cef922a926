"""Intervals and the JSON summary."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from evaluation.bootstrap import Bootstrap
from evaluation.lesions import Lesion
from evaluation.results import CaseResult
from evaluation.summary import lesions_csv, lesions_markdown, summarise_cases, summary_json


def lesion(outcome: str, mm: float) -> Lesion:
    return Lesion(outcome, 1.0, mm, 0.5 if outcome == "detected" else 0.0)


def test_two_cases_by_hand() -> None:
    """Of the draws, a quarter each are twice the one and twice the other."""
    interval = Bootstrap(2).mean(np.array([0.0, 1.0]))
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_the_mean_s_interval_is_scipy_s() -> None:
    values = np.random.default_rng(1).beta(8, 2, 40)
    ours = Bootstrap(40).mean(values)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.005)


def test_cases_are_drawn_and_not_lesions() -> None:
    """Ten lesions in each of two cases, all found in one: with lesions drawn it were 0.3 to 0.7."""
    interval = Bootstrap(2).ratio(np.array([10.0, 0.0]), np.array([10.0, 10.0]))
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_cases_without_a_value_are_no_zeros() -> None:
    interval = Bootstrap(4).mean(np.array([0.5, math.nan, 0.5, math.nan]))
    assert (interval.value, interval.low, interval.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [math.nan, math.nan], [0.7], [0.7, math.nan]])
def test_there_is_no_interval_of_one_case_or_none(values: list[float]) -> None:
    interval = Bootstrap(len(values)).mean(np.array(values))
    assert interval.value == pytest.approx(
        np.nanmean(values) if 0.7 in values else math.nan, nan_ok=True
    )
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_the_same_draws_in_every_run() -> None:
    values = np.random.default_rng(3).random(10)
    assert Bootstrap(10).mean(values) == Bootstrap(10).mean(values)


RESULTS = [
    CaseResult("a", {1: (0.8, 0.6), 14: (0.5, 0.4)},
               lesions=(lesion("detected", 5), lesion("missed", 15), lesion("false positive", 5))),
    CaseResult("b", {1: (0.6, 1.0), 14: (1.0, 1.0)},
               lesions=(lesion("detected", 15), lesion("fragment", 5))),
    CaseResult("c", {1: (0.7, 0.8)}),
    CaseResult("d", error="d: has no prediction; segment it"),
]  # fmt: skip


def test_the_document() -> None:
    document = json.loads(summary_json(summarise_cases(RESULTS, "default")))
    assert document["cases"] == 4 and document["failed"] == ["d"]
    liver, tumor = document["classes"]["Liver"], document["classes"]["Tumor"]
    assert liver["cases"] == 3 and liver["dsc"]["value"] == pytest.approx(0.7)
    assert 0.6 <= liver["dsc"]["low"] < 0.7 < liver["dsc"]["high"] <= 0.8
    assert tumor["cases"] == 2 and tumor["nsd"]["value"] == pytest.approx(0.7)
    assert document["classes"]["Spleen"] == {
        "cases": 0, **{key: {"value": None, "low": None, "high": None} for key in ("dsc", "nsd")}
    }  # fmt: skip
    assert document["classes"]["Average"]["dsc"]["value"] == pytest.approx((0.7 + 0.75) / 2)
    lesions = document["lesions"]
    assert lesions["cases"] == 2
    found = lesions["sizes"]["all"]
    assert (found["references"], found["detected"], found["false_positives"]) == (3, 2, 1)
    assert found["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert found["precision"]["value"] == pytest.approx(2 / 3)
    assert found["f1"]["value"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["false_positives_per_case"] == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert lesions["sizes"]["10-20 mm"]["sensitivity"] == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert lesions["sizes"][">20 mm"]["f1"]["value"] is None


def test_without_lesions_there_is_no_table_of_them() -> None:
    summary = summarise_cases(RESULTS[2:], "default")
    assert "lesions" not in summary
    assert lesions_markdown(summary) == ""
    assert lesions_csv(RESULTS[2:]).count("\n") == 1


def test_no_case_at_all_was_scored() -> None:
    document = json.loads(summary_json(summarise_cases(RESULTS[3:], "default")))
    assert document["classes"]["Liver"]["dsc"]["value"] is None
