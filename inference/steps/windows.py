"""Sliding windows: where they lie and how they are weighted.

Gaussian-weighted overlapping windows as in nnU-Net (Isensee et al. 2021), or windows cut to the
patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from math import ceil, prod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..labels import NAMES
from ..types import Shape
from .boxes import window_box
from .resample import CACHED_AXES, read_only

# Least weight of a voxel in its window, as a share of the centre's.
MIN_WEIGHT = 1e-3
# A window cut to the patient holds at most so many training patches' voxels.
FIT_PATCHES = 3
# Windows beside one another are only worth it where they save so much computation.
_BESIDE = 1.2
# Planes of an overlap that are blended at once: little enough that their memory is used again.
BLENDED_PLANES = 4


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


@lru_cache(2)  # for a model and its finder; each is as large as a window
def importance(patch: Shape) -> npt.NDArray[np.float32]:
    """Weight of each voxel of a window: Gaussian, SD of an eighth of the patch, 1 at the centre."""
    return read_only(importance_planes(patch, slice(None)))


def importance_planes(patch: Shape, planes: slice) -> npt.NDArray[np.float32]:
    """Some planes (z) of :func:`importance`."""
    profiles = []
    for n in patch:
        profile = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2)
        profiles.append((profile / profile.max()).astype(np.float32))
    z, y, x = profiles
    weight: npt.NDArray[np.float32] = z[planes, None, None] * (y[:, None] * x)
    return np.maximum(weight, np.float32(MIN_WEIGHT), out=weight)


@lru_cache(maxsize=CACHED_AXES)
def mirror_index(size: int, wanted: int) -> tuple[npt.NDArray[np.int64], int]:
    """Indices that mirror an axis at its edges up to ``wanted`` samples, half on either side.

    Returns:
        (indices into the axis, place of the original's first sample). Axes that are long enough
        stay as they are. ``size`` 3 to 8 gives 1 0 0 1 2 2 1 0: the edge voxel is repeated, as
        suits edge-aligned grids.
    """
    if size >= wanted:
        return read_only(np.arange(size)), 0
    before = (wanted - size) // 2
    folded = (np.arange(wanted) - before) % (2 * size)
    return read_only(np.where(folded < size, folded, 2 * size - 1 - folded)), before


class NoRoomError(RuntimeError):
    """No windows fit into the memory that there is for them."""


class Room(NamedTuple):
    """Memory that windows cut to the patient may take.

    Attributes:
        total: bytes for the network and the accumulator.
        per_voxel: bytes that the network takes for each voxel of a window.
        firm: there is no more; else a scan for which it does not do takes as little as it can.
        least: the smallest window (z, y, x) that the network computes rightly.
    """

    total: int
    per_voxel: int
    firm: bool = False
    least: Shape = (1, 1, 1)


def accumulator_bytes(window: Shape, plane: int, channels: int, overlap: int | None) -> int:
    """Memory of the accumulator of windows (:mod:`.accumulator`), float32.

    Args:
        window: shape (z, y, x) of the windows.
        plane: voxels of a plane of the image that they cover.
        channels: of the logits.
        overlap: planes that windows one above the other share; None where windows lie beside one
            another.

    Returns:
        Bytes: sums of logits and weights and one window's weights, all one window high; or one
        overlap's logits, and what is blended at once.
    """
    if overlap is None:
        return 4 * (channels + 1) * window[0] * plane + 4 * prod(window)
    blended = 2 * (channels + 1) * min(overlap, BLENDED_PLANES)
    return 4 * plane * (channels * overlap + blended)


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
            return body_ZYX is None or bool(body_ZYX[window_box(start, patch)].any())

        layers = (
            tuple(s for s in product((z,), starts[1], starts[2]) if wanted(s)) for z in starts[0]
        )
        return cls(patch, shape, tuple(layer for layer in layers if layer))

    @classmethod
    def fit(cls, size: Shape, patch: Shape, divisor: Shape, room: Room) -> Placement:
        """Cover ``size`` with as few voxels as possible: usually one window, cut to it.

        Where one would be too large, several, which overlap by a quarter of the patch.

        Args:
            size: of the region (z, y, x).
            patch: the shape (z, y, x) that the network was trained on.
            divisor: what a window's shape must be divisible by.
            room: memory for them.
        """
        window = fitted_window(size, patch, divisor, room)
        z, y, x = (max(n, w) for n, w in zip(size, window, strict=True))
        starts = [
            window_starts(n, w, 1 - p / w / 4)
            for n, w, p in zip((z, y, x), window, patch, strict=True)
        ]
        layers = tuple(tuple(product((first,), starts[1], starts[2])) for first in starts[0])
        return cls(window, (z, y, x), layers)

    @property
    def count(self) -> int:
        """Number of windows."""
        return sum(len(layer) for layer in self.layers)

    @property
    def stacked(self) -> bool:
        """Whether the windows lie one above the other, and no plane in three of them."""
        firsts = [layer[0][0] for layer in self.layers] or [-1]
        return (
            self.patch[1:] == self.shape[1:]
            and (firsts[0], firsts[-1] + self.patch[0]) == (0, self.shape[0])
            and all(b <= a + self.patch[0] for a, b in pairwise(firsts))
            and all(b >= a + self.patch[0] for a, b in zip(firsts, firsts[2:], strict=False))
        )


def fitted_window(size: Shape, patch: Shape, divisor: Shape, room: Room) -> Shape:
    """The window that covers ``size`` at the least cost: see :meth:`Placement.fit`.

    Cost is the number of windows times their voxels. Windows one above the other are preferred
    where they cost little more: each sees a whole cross-section, and little has to be kept.

    Raises:
        NoRoomError: the room is firm and too small.
    """
    best: tuple[float, int, Shape] | None = None
    least: tuple[int, int, Shape] | None = None
    limit = FIT_PATCHES * prod(patch)
    for counts in product(range(1, 33), range(1, 9), range(1, 9)):
        z, y, x = (
            -(-(n + (k - 1) * (p // 4)) // (k * d)) * d
            for n, k, p, d in zip(size, counts, patch, divisor, strict=True)
        )
        z, y, x = (max(n, m) for n, m in zip((z, y, x), room.least, strict=True))
        if z * y * x > limit:
            continue
        windows, beside = prod(counts), counts[1:] != (1, 1)
        overlap = max(0, -(-(counts[0] * z - size[0]) // max(1, counts[0] - 1)))
        overlap = overlap if counts[0] > 1 else 0
        plane = max(size[1], y) * max(size[2], x)
        gathered = accumulator_bytes((z, y, x), plane, len(NAMES), None if beside else overlap)
        memory = z * y * x * room.per_voxel + gathered
        smaller = (memory, windows, (z, y, x))
        least = smaller if least is None else min(least, smaller)
        if memory > room.total:
            continue
        cost = windows * z * y * x * (_BESIDE if beside else 1)
        candidate = (cost, windows, (z, y, x))
        best = candidate if best is None else min(best, candidate)
    if best is not None:
        return best[2]
    if room.firm or least is None:
        raise NoRoomError(f"windows for {size} voxels do not fit into {room}")
    return least[2]
