"""Which channels of logits pass somewhere, in every layout and precision that engines give."""

from __future__ import annotations

import numpy as np
import pytest

from inference.halves import positive_channels


def bfloat16(values: np.ndarray) -> np.ndarray:
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
        bits = bfloat16(np.moveaxis(values, 0, -1).copy() if last else values)
        values = np.moveaxis(bits, -1, 0) if last else bits
    if layout == "part of a plane":
        assert positive_channels(values[:, 1:, 1:]) == [1]
        assert positive_channels(values[:, :4, :6]) == [4]
    assert positive_channels(values) == [1, 4]
