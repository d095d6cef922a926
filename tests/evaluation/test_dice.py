"""DSC of masks whose overlap can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.dice import dice

masks = hnp.arrays(bool, (3, 4, 5))


def test_half_overlapping_bars() -> None:
    pred, ref = np.zeros((2, 1, 1, 6), bool)
    pred[..., 0:4] = True
    ref[..., 2:6] = True
    assert dice(pred, ref) == 2 * 2 / (4 + 4)


def test_a_mask_inside_another() -> None:
    assert dice(np.ones((2, 2, 2), bool), np.eye(2, dtype=bool)[None].repeat(2, 0)) == 2 * 4 / 12


def test_empty_masks() -> None:
    empty, full = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == dice(full, empty) == 0.0


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        dice(np.ones((2, 2), bool), np.ones((1, 2), bool))


@given(pred=masks, ref=masks)
def test_symmetric_and_between_0_and_1(pred: np.ndarray, ref: np.ndarray) -> None:
    if pred.any() or ref.any():
        assert dice(pred, ref) == dice(ref, pred)
        assert 0.0 <= dice(pred, ref) <= 1.0


@given(mask=masks, padding=st.integers(0, 3))
def test_padding_changes_nothing(mask: np.ndarray, padding: int) -> None:
    if mask.any():
        other = np.roll(mask, 1, axis=2)
        assert dice(np.pad(mask, padding), np.pad(other, padding)) == dice(mask, other)
