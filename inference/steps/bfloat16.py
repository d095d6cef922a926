"""Half-precision values, as engines take images and hand logits on, and back to float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..machine.threads import in_chunks
from ..types import Array


def as_float32(values: Array) -> Array:
    """Values as a float32 array in C order; it may be the given one.

    Args:
        values: of any layout: NumPy's float32, NumPy's uint16 holding the bits of bfloat16 (the
            upper half of a float32's), or torch's floating-point types.
    """
    if not isinstance(values, np.ndarray):
        return values.float()
    if values.dtype == np.uint16:
        bits = values.astype(np.uint32, order="C")
        bits <<= 16
        return bits.view(np.float32)
    return np.ascontiguousarray(values, np.float32)


def bfloat16(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    """The bits of finite float32 values rounded to bfloat16, ties to even, in C order."""
    wholes = np.ascontiguousarray(values).view(np.uint32)
    bits = np.empty(values.shape, np.uint16)

    def convert(first: int, last: int) -> None:
        # One plane at a time, which stays in the processor's cache.
        for i in range(first, last):
            odd = (wholes[i] >> 16) & 1
            odd += 0x7FFF
            odd += wholes[i]
            odd >>= 16
            bits[i] = odd

    in_chunks(convert, len(bits))
    return bits


def weighted(values: Array, weights: Array) -> Array:
    """Values times weights as a new float32 array, laid out in memory as the values are.

    Args:
        values: as for :func:`as_float32`; ``weights``: float32, of a shape that broadcasts to
            theirs, and of the same kind.
    """
    if isinstance(values, np.ndarray) and values.dtype == np.uint16:
        bits = values.astype(np.uint32)
        bits <<= 16
        product = bits.view(np.float32)
        product *= weights
        return product
    return values * weights if isinstance(values, np.ndarray) else values.float() * weights


def copied(values: Array) -> Array:
    """A copy, laid out in memory as the values are; ``values`` as for :func:`as_float32`."""
    return values.copy(order="K") if isinstance(values, np.ndarray) else values.clone()


def positive_channels(values_CYX: npt.NDArray[np.generic]) -> list[int]:
    """Channels that exceed 0 somewhere, of NumPy values as for :func:`as_float32`."""
    if values_CYX.dtype == np.uint16:
        # As whole numbers with a sign they are above 0 where what they stand for is.
        values_CYX = values_CYX.view(np.int16)
    if values_CYX.strides[0] == values_CYX.itemsize:
        # Row by row, which is quick where channels come last in memory.
        rows = np.moveaxis(values_CYX, 0, -1)
        highest = rows.reshape(len(rows), -1).max(axis=0).reshape(rows.shape[1:]).max(axis=0)
    else:
        highest = values_CYX.max(axis=(1, 2))
    return [int(channel) for channel in np.flatnonzero(highest > 0)]
