"""Sliding windows: where they lie, how they are weighted, how their logits are gathered.

Gaussian-weighted overlapping windows as in nnU-Net (Isensee et al. 2021), with the accumulator cut
down to the height of one window: planes that no later window touches are handed on at once, so that
memory does not grow with the length of the scan. The code runs on NumPy arrays and torch tensors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import ceil, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.grid import Shape

# Logit of voxels that no window was asked about: far on the background's side.
UNSEEN_LOGIT = -10.0
# Least weight of a voxel in its window, as a share of the centre's.
MIN_WEIGHT = 1e-3
# A window cut to the patient holds at most so many training patches' voxels.
FIT_PATCHES = 2.5

Array = Any  # numpy.ndarray or torch.Tensor: the caller's engine decides


def window_starts(size: int, patch: int, step: float) -> list[int]:
    """First indices of windows that cover an axis, evenly spread, at most ``step`` patches apart.

    Rounded to whole voxels, and never two at one place, however small the step.

    Args:
        size: axis length, at least ``patch``.
        patch: window length.
        step: fraction of the patch in (0, 1].
    """
    if size < patch:
        raise ValueError(f"axis of {size} is shorter than the patch of {patch}")
    count = ceil((size - patch) / max(1.0, patch * step)) + 1
    if count == 1:
        return [0]
    return [round(i * (size - patch) / (count - 1)) for i in range(count)]


@cache
def importance(patch: Shape) -> npt.NDArray[np.float32]:
    """Weight of each voxel of a window: Gaussian, SD of an eighth of the patch, 1 at the centre."""
    weight: npt.NDArray[np.float64] = np.ones((1, 1, 1))
    for axis, n in enumerate(patch):
        profile = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2)
        weight = weight * profile.reshape([-1 if a == axis else 1 for a in range(3)])
    clipped: npt.NDArray[np.float32] = np.maximum(
        weight / weight.max(), MIN_WEIGHT, dtype=np.float32
    )
    clipped.flags.writeable = False
    return clipped


@cache
def mirror_index(size: int, wanted: int) -> tuple[npt.NDArray[np.int64], int]:
    """Indices that mirror an axis at its edges up to ``wanted`` samples, half on either side.

    Returns:
        (indices into the axis, place of the original's first sample). Axes that are long enough
        stay as they are. ``size`` 3 to 8 gives 1 0 0 1 2 2 1 0: the edge voxel is repeated, as
        suits edge-aligned grids.
    """
    if size >= wanted:
        return np.arange(size), 0
    before = (wanted - size) // 2
    folded = (np.arange(wanted) - before) % (2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded), before


@dataclass(frozen=True)
class Placement:
    """Where the windows of one scan lie.

    Attributes:
        patch: window shape (z, y, x).
        shape: of the image that they cover, mirrored up to the patch where it is smaller.
        layers: by ascending first plane, the (z, y, x) starts of the windows that begin there.
    """

    patch: Shape
    shape: Shape
    layers: tuple[tuple[Shape, ...], ...]

    @classmethod
    def plan(
        cls, shape: Shape, patch: Shape, step: float, body_ZYX: npt.NDArray[np.bool_] | None = None
    ) -> Placement:
        """Cover ``shape`` and leave out the windows that hold nothing of ``body_ZYX``.

        Args:
            shape: padded image shape, at least the patch.
            step: fraction of the patch.
            body_ZYX: True in the patient; None asks for every window.
        """
        starts = [window_starts(n, p, step) for n, p in zip(shape, patch, strict=True)]

        def wanted(start: Shape) -> bool:
            return body_ZYX is None or bool(body_ZYX[box(start, patch)].any())

        layers = (
            tuple(s for s in product((z,), starts[1], starts[2]) if wanted(s)) for z in starts[0]
        )
        return cls(patch, shape, tuple(layer for layer in layers if layer))

    @classmethod
    def fit(cls, body_ZYX: npt.NDArray[np.bool_], patch: Shape, divisor: Shape) -> Placement:
        """Cover the patient with as few voxels as possible: windows cut to the patient's size.

        Usually one window. Where that would be larger than :data:`FIT_PATCHES` patches, several,
        which overlap by a quarter of the patch.

        Args:
            body_ZYX: True in the patient.
            patch: the shape (z, y, x) that the network was trained on.
            divisor: what a window's shape must be divisible by.
        """
        first, size = [], []
        for axis, extent in enumerate(body_ZYX.shape):
            others = tuple(a for a in range(3) if a != axis)
            inside = np.flatnonzero(body_ZYX.any(axis=others))
            start = max(0, int(inside[0]) - divisor[axis] // 2)
            first.append(start)
            size.append(min(extent, int(inside[-1]) + 1 + divisor[axis] // 2) - start)
        window = fitted_window((size[0], size[1], size[2]), patch, divisor)
        shape = tuple(max(n, w) for n, w in zip(body_ZYX.shape, window, strict=True))
        starts = []
        for axis in range(3):
            extent, length = shape[axis], max(size[axis], window[axis])
            # What the image is mirrored up to the window lies half on either side.
            origin = min(first[axis], extent - length)
            steps = window_starts(length, window[axis], 1 - patch[axis] / window[axis] / 4)
            starts.append([origin + start for start in steps])
        layers = tuple(tuple(product((z,), starts[1], starts[2])) for z in starts[0])
        return cls(window, (shape[0], shape[1], shape[2]), layers)

    @property
    def count(self) -> int:
        """Number of windows."""
        return sum(len(layer) for layer in self.layers)

    def accumulator_bytes(self, channels: int) -> int:
        """Memory of the accumulator: float32 logits and weights, one window high."""
        return 4 * (channels + 1) * self.patch[0] * prod(self.shape[1:])


def fitted_window(size: Shape, patch: Shape, divisor: Shape) -> Shape:
    """The window that covers ``size`` at the least cost: see :meth:`Placement.fit`.

    Cost is the number of windows times their voxels; of equals, the fewest windows.
    """
    best: tuple[int, int, Shape] | None = None
    for counts in product(range(1, 9), repeat=3):
        z, y, x = (
            -(-(n + (k - 1) * (p // 4)) // (k * d)) * d
            for n, k, p, d in zip(size, counts, patch, divisor, strict=True)
        )
        if z * y * x > FIT_PATCHES * prod(patch):
            continue
        windows = prod(counts)
        candidate = (windows * z * y * x, windows, (z, y, x))
        best = candidate if best is None else min(best, candidate)
    if best is None:
        raise ValueError(f"{size} voxels do not fit into 512 windows")
    return best[2]


def box(start: Shape, patch: Shape) -> tuple[slice, slice, slice]:
    """The slices (z, y, x) of a window."""
    z, y, x = (slice(s, s + p) for s, p in zip(start, patch, strict=True))
    return (z, y, x)


class Accumulator:
    """Weighted sum of overlapping windows, one window high, moved down the scan.

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
        """Add the logits of the window at ``start``. ``logits_CZYX`` is overwritten."""
        inside = box((start[0] - self._first, start[1], start[2]), self._placement.patch)
        logits_CZYX *= self._weight
        self._logits[(slice(None), *inside)] += logits_CZYX
        self._weights[inside] += self._weight

    def advance(self, until: int) -> Iterator[tuple[int, Array]]:
        """Hand on the planes before ``until``, which no later window touches.

        Yields:
            (first plane, logits (channels, planes, y, x)); the logits are only valid until the
            next step.
        """
        height = self._placement.patch[0]
        while self._first < until:
            count = min(until - self._first, height)
            weights = self._weights[:count]
            logits = self._logits[:, :count]
            unseen = weights == 0
            logits /= weights + unseen
            logits += UNSEEN_LOGIT * unseen
            yield self._first, logits
            # Plane by plane, because source and target overlap.
            for plane in range(height - count):
                self._logits[:, plane] = self._logits[:, plane + count]
                self._weights[plane] = self._weights[plane + count]
            self._logits[:, height - count :] = 0
            self._weights[height - count :] = 0
            self._first += count
