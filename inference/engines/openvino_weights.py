"""A network's weights as constants of an OpenVINO graph: in bytes, or of layers that are merged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .offline_openvino import ops

Node = Any  # openvino.Output, which has no type information
Floats = npt.NDArray[np.float32]
# The most that two weights of one sign may add up to so that their products with bytes keep within
# 16 bits: 255 * 128 < 2 ** 15.
_PAIR = 128


def merged_kernels(up: Floats, conv: Floats) -> Floats:
    """Of the transposed convolution that is as good as one without overlaps and a convolution after
    it, padded by half its kernel.

    Args:
        up: weights (inputs, between, *stride) of the transposed convolution.
        conv: weights (outputs, between, *kernel) of the convolution.

    Returns:
        Weights (inputs, outputs, *(stride + kernel - 1)); the stride stays, and half of ``kernel``
        is cut off at every side.
    """
    stride, kernel = up.shape[2:], conv.shape[2:]
    products = np.tensordot(up, conv[:, :, ::-1, ::-1, ::-1], axes=(1, 1))
    size = [s + k - 1 for s, k in zip(stride, kernel, strict=True)]
    kernels = np.zeros((up.shape[0], conv.shape[0], *size), np.float32)
    for place in np.ndindex(*stride):
        part = tuple(slice(p, p + k) for p, k in zip(place, kernel, strict=True))
        kernels[(slice(None), slice(None), *part)] += products[(slice(None), *place)]
    return kernels


def weights_node(values: Floats, factors: Floats | None, inputs: int, pairs: bool = False) -> Node:
    """Weights for a map, in signed bytes where it is in bytes.

    Args:
        inputs: their axis of the map's channels, 1 where ``pairs``.
        pairs: whether products are added up in pairs; see :data:`_PAIR`.
    """
    if factors is None:
        return constant(values)
    values = values * along(factors, inputs)
    others = tuple(axis for axis in range(values.ndim) if axis != 1 - inputs)
    most = np.abs(values).max(axis=others, keepdims=True) / np.float32(127)
    if pairs:
        # Half a unit less: rounding may add that much to either weight.
        sums = _highest_pair(values).max(axis=others, keepdims=True) / np.float32(_PAIR - 0.5)
        most = np.maximum(most, sums)
    # Where an output channel has no weights, any unit does.
    unit = np.where(most > 0, most, np.float32(1))
    # Rounded here and not by the compiler, which takes three times as long for it.
    in_bytes = ops.constant(np.rint(values / unit).astype(np.int8))
    return ops.multiply(ops.convert(in_bytes, "f32"), constant(unit)).output(0)


def _highest_pair(weights: Floats) -> Floats:
    """Of each two neighbouring inputs (axis 1; the last of an odd number alone) the magnitude that
    their weights of one sign add up to, whichever sign adds up to more."""
    signs = np.maximum(np.stack([weights, -weights]), 0)
    signs = np.pad(signs, [(0, 0), (0, 0), (0, signs.shape[2] % 2), *[(0, 0)] * 3])
    highest: Floats = (signs[:, :, ::2] + signs[:, :, 1::2]).max(axis=0)
    return highest


def along(values: Floats, axis: int) -> Floats:
    """One value per channel, to be multiplied along an axis of weights."""
    shape = [1] * 5
    shape[axis] = -1
    return values.reshape(shape)


def per_channel(values: Floats) -> Node:
    """One value per channel of a map."""
    return constant(along(values, 1))


def constant(values: npt.NDArray[np.generic]) -> Node:
    return ops.constant(np.ascontiguousarray(values, np.float32)).output(0)
