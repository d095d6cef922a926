"""How the logits of overlapping windows come together, streaming down the scan.

Planes that no later window touches are handed on at once, so that memory does not grow with the
length of the scan. The code runs on NumPy arrays and torch tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..machine.threads import in_threads
from ..types import Array, Shape
from .bfloat16 import copied, weighted
from .boxes import window_box
from .windows import BLENDED_PLANES, Placement, accumulator_bytes, importance, importance_planes

# Logit of voxels that no window was asked about: far on the background's side.
UNSEEN_LOGIT = -10.0


class Accumulator(Protocol):
    """Takes windows, layer by layer, and hands on finished planes."""

    def add(self, start: Shape, logits_CZYX: Array) -> None:
        """Add the logits of the window at ``start``, valid until :meth:`advance` is through."""

    def advance(self, until: int) -> Iterator[tuple[int, Array]]:
        """Hand on the planes before ``until``, which no later window touches.

        Yields:
            (first plane, logits (channels, planes, y, x)); the logits are only valid until the
            next step.
        """


def accumulator(
    placement: Placement,
    channels: int,
    sums: Callable[[int, Shape], Array],
    zeros: Callable[[Shape], Array],
    array: Callable[[npt.NDArray[np.float32]], Array],
) -> Accumulator:
    """The accumulator that suits a placement.

    Args:
        placement: the windows to come.
        channels: of their logits.
        sums, zeros, array: make its arrays; see :class:`..engines.interface.Arrays`.
    """
    if placement.stacked:
        return Stack(placement, array)
    z, (y, x) = placement.patch[0], placement.shape[1:]
    return Weighted(
        placement,
        sums(channels, (z, y, x)),
        zeros((z, y, x)),
        array(importance(placement.patch)),
    )


def memory_of(placement: Placement, channels: int) -> int:
    """Bytes that the accumulator of a placement takes."""
    plane = prod(placement.shape[1:])
    if not placement.stacked:
        return accumulator_bytes(placement.patch, plane, channels, None)
    firsts = [layer[0][0] for layer in placement.layers]
    overlaps = [a + placement.patch[0] - b for a, b in pairwise(firsts)]
    return accumulator_bytes(placement.patch, plane, channels, max(overlaps, default=0))


class Stack:
    """Windows one above the other: only their overlaps are kept, and blended along z.

    Args:
        placement: the windows to come; :attr:`Placement.stacked`.
        array: brings a NumPy array to where the logits are.
    """

    def __init__(
        self, placement: Placement, array: Callable[[npt.NDArray[np.float32]], Array]
    ) -> None:
        self._patch, self._array = placement.patch, array
        self._logits: Array = None  # of the latest window, whose first plane is self._first
        self._first = 0
        self._kept: Array = None  # the window before: the overlap

    def add(self, start: Shape, logits_CZYX: Array) -> None:
        self._logits, self._first = logits_CZYX, start[0]

    def advance(self, until: int) -> Iterator[tuple[int, Array]]:
        if self._logits is None:
            return
        blended = 0
        if self._kept is not None:
            blended = self._kept.shape[1]
            for first in range(0, blended, BLENDED_PLANES):
                part = slice(first, min(first + BLENDED_PLANES, blended))
                later = self._shares(blended, part)
                logits = weighted(self._kept[:, part], self._array(1 - later))
                logits += weighted(self._logits[:, part], self._array(later))
                yield self._first + first, logits
            self._kept = None
        count = until - self._first
        if count > blended:
            yield self._first + blended, self._logits[:, blended:count]
        if count < self._patch[0]:
            self._kept = copied(self._logits[:, count:])
        self._logits = None

    def _shares(self, overlap: int, part: slice) -> npt.NDArray[np.float32]:
        """The later window's share (z, y, x) in some planes of the overlap."""
        first = self._patch[0] - overlap
        later = importance_planes(self._patch, part)
        earlier = importance_planes(self._patch, slice(first + part.start, first + part.stop))
        shares: npt.NDArray[np.float32] = later / (later + earlier)
        return shares


class Weighted:
    """Sum of overlapping windows weighted by a Gaussian, for one window's height of planes at once.

    The planes are a ring: plane z is kept in row z modulo the patch's height, and what is handed on
    makes room for what lies that much further down.

    Args:
        placement: the windows to come, which must be added layer by layer.
        logits_CZYX: zeros of (channels, patch z, shape y, shape x), NumPy or torch.
        weights_ZYX: zeros of (patch z, shape y, shape x).
        weight_ZYX: :func:`importance` of the patch, in the same kind of array.
    """

    def __init__(
        self, placement: Placement, logits_CZYX: Array, weights_ZYX: Array, weight_ZYX: Array
    ) -> None:
        self._placement = placement
        self._logits, self._weights, self._weight = logits_CZYX, weights_ZYX, weight_ZYX
        self._threads = isinstance(logits_CZYX, np.ndarray)
        self._first = 0

    def add(self, start: Shape, logits_CZYX: Array) -> None:
        height = self._placement.patch[0]
        _, y, x = window_box(start, self._placement.patch)

        def add_plane(plane: int) -> None:
            row = (start[0] + plane) % height
            self._logits[:, row, y, x] += weighted(logits_CZYX[:, plane], self._weight[plane])
            self._weights[row, y, x] += self._weight[plane]

        # Plane by plane, so that no other array of a window's size is made.
        if self._threads:
            in_threads(add_plane, range(height))
        else:
            for plane in range(height):
                add_plane(plane)

    def advance(self, until: int) -> Iterator[tuple[int, Array]]:
        height = self._placement.patch[0]
        while self._first < until:
            row = self._first % height
            count = min(until - self._first, height - row)
            logits, weights = self._logits[:, row : row + count], self._weights[row : row + count]

            def average(
                planes: int | slice, logits: Array = logits, weights: Array = weights
            ) -> None:
                unseen = weights[planes] == 0
                logits[:, planes] /= weights[planes] + unseen
                # A device would have to be waited for to tell whether there are any.
                if not self._threads or unseen.any():
                    logits[:, planes] += UNSEEN_LOGIT * unseen

            def clear(
                planes: int | slice, logits: Array = logits, weights: Array = weights
            ) -> None:
                logits[:, planes] = 0
                weights[planes] = 0

            # Only rows that another plane of the scan will come to need to be cleared.
            again = max(min(count, self._placement.shape[0] - height - self._first), 0)
            if self._threads:
                in_threads(average, range(count))
                yield self._first, logits
                in_threads(clear, range(again))
            else:
                average(slice(count))
                yield self._first, logits
                clear(slice(again))
            self._first += count
