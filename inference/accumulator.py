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

from inference.grid import Shape
from inference.halves import as_float32, copied, weighted
from inference.resample import in_threads
from inference.windows import (
    BLENDED_PLANES,
    Array,
    Placement,
    box,
    importance,
    importance_planes,
)

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
    zeros: Callable[[tuple[int, ...]], Array],
    array: Callable[[npt.NDArray[np.float32]], Array],
) -> Accumulator:
    """The accumulator that suits a placement, its arrays made by ``zeros`` and ``array``."""
    if placement.stacked:
        return Stack(placement, array)
    plane = placement.shape[1:]
    return Weighted(
        placement,
        zeros((channels, placement.patch[0], *plane)),
        zeros((placement.patch[0], *plane)),
        array(importance(placement.patch)),
    )


def accumulator_bytes(placement: Placement, channels: int) -> int:
    """Memory of the accumulator, float32: sums of logits and weights and one window's weights, all
    one window high; or one overlap's logits, and what is blended at once."""
    plane = prod(placement.shape[1:])
    if not placement.stacked:
        return 4 * (channels + 1) * placement.patch[0] * plane + 4 * prod(placement.patch)
    firsts = [layer[0][0] for layer in placement.layers]
    overlaps = [a + placement.patch[0] - b for a, b in pairwise(firsts)]
    overlap = max(overlaps, default=0)
    return 4 * plane * (channels * overlap + 2 * (channels + 1) * min(overlap, BLENDED_PLANES))


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
    """Sum of overlapping windows weighted by a Gaussian, one window high, moved down the scan.

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
        self._first = 0

    def add(self, start: Shape, logits_CZYX: Array) -> None:
        inside = box((start[0] - self._first, start[1], start[2]), self._placement.patch)
        sums = self._logits[(slice(None), *inside)]

        def add_plane(plane: int) -> None:
            sums[:, plane] += as_float32(logits_CZYX[:, plane]) * self._weight[plane]

        # Plane by plane, so that no other array of a window's size is made.
        planes = range(self._placement.patch[0])
        if isinstance(sums, np.ndarray):
            in_threads(add_plane, planes)
        else:
            for plane in planes:
                add_plane(plane)
        self._weights[inside] += self._weight

    def advance(self, until: int) -> Iterator[tuple[int, Array]]:
        height = self._placement.patch[0]
        while self._first < until:
            count = min(until - self._first, height)
            logits = self._logits[:, :count]

            def average(planes: int | slice, logits: Array = logits) -> None:
                weights = self._weights[planes]
                unseen = weights == 0
                logits[:, planes] /= weights + unseen
                logits[:, planes] += UNSEEN_LOGIT * unseen

            if isinstance(logits, np.ndarray):
                in_threads(average, range(count))
            else:
                average(slice(count))
            yield self._first, logits
            # Plane by plane, because source and target overlap.
            for plane in range(height - count):
                self._logits[:, plane] = self._logits[:, plane + count]
                self._weights[plane] = self._weights[plane + count]
            self._logits[:, height - count :] = 0
            self._weights[height - count :] = 0
            self._first += count
