"""Rounding to bfloat16, and which channels of logits pass somewhere, in every layout and precision
that engines give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.steps.bfloat16 import as_float32, bfloat16, positive_channels


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_rounds_to_bfloat16_like_torch(bits: list[int]) -> None:
    values = np.array(bits, np.uint32).view(np.float32)
    values = values[np.isfinite(values)].reshape(-1, 1)
    expected = torch.from_numpy(values).bfloat16()
    np.testing.assert_array_equal(as_float32(bfloat16(values)), expected.float().numpy())


def test_rounds_a_tie_to_the_even_one_whatever_the_strides() -> None:
    values = np.array([[1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8], [0, 5, 1e-40]], np.float32).T
    found = as_float32(bfloat16(values))
    assert found[:, 0].tolist() == [1, 1 + 2**-6, -1]
    assert found[:2, 1].tolist() == [0, 5] and found.shape == (3, 2)


def truncated(values: np.ndarray) -> np.ndarray:
    """The upper halves of float32's bits."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("half", [True, False], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("layout", ["channels first", "channels last", "part of a plane"])
def test_channels_above_zero(half: bool, layout: str) -> None:
    values = np.full((6, 5, 7), -1, np.float32)
    values[1, 4, 6] = 1e-30
    values[2] = 0
    values[3] = -0.0
    values[4, 0, 0] = 3e38
    values[5, 2, 3] = -np.inf
    if layout != "channels first":
        values = np.moveaxis(np.moveaxis(values, 0, -1).copy(), -1, 0)
    if half:
        last = values.strides[0] == values.itemsize
        bits = truncated(np.moveaxis(values, 0, -1).copy() if last else values)
        values = np.moveaxis(bits, -1, 0) if last else bits
    if layout == "part of a plane":
        assert positive_channels(values[:, 1:, 1:]) == [1]
        assert positive_channels(values[:, :4, :6]) == [4]
    assert positive_channels(values) == [1, 4]
