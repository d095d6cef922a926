"""Connected components of a label map, and the small ones among them.

A network that sees no further than its window now and then finds a bit of liver in a shoulder. An
organ is one piece, or nearly so; what lies apart and is small beside it is not believed, and
neither is what lies where that organ cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..labels import KIDNEYS, NAMES, ORGANS, TUMOR
from ..types import Labels, Mask, Shape
from .boxes import bounding_box
from .resample import gather_labels, nearest_taps

Numbers = npt.NDArray[np.int64]

# Organs no part of which lies below the lower poles of both kidneys.
_ABOVE_KIDNEYS = tuple(
    value
    for value, name in NAMES.items()
    if name in ("liver", "spleen", "pancreas", "esophagus") or "adrenal" in name
)
# Rows of voxels that touch a row from behind or below, as (z, y); all that do, itself among them.
_NEXT_ROWS = ((0, 1), (1, -1), (1, 0), (1, 1))
_ALL_ROWS = tuple((dz, dy) for dz in (-1, 0, 1) for dy in (-1, 0, 1))


class Runs(NamedTuple):
    """The voxels of a label map as runs of one label along x, in memory's order.

    Attributes:
        z, y, first, last: (n,) indices; both ends of a run belong to it.
        labels: (n,) never 0.
    """

    z: Numbers
    y: Numbers
    first: Numbers
    last: Numbers
    labels: Labels

    @classmethod
    def of(cls, labels_ZYX: Labels) -> Runs:
        box = bounding_box(labels_ZYX != 0)
        part = np.ascontiguousarray(labels_ZYX[box])
        begins, ends = (np.empty(part.shape, bool) for _ in range(2))
        begins[:, :, 0] = ends[:, :, -1] = True
        np.not_equal(part[:, :, 1:], part[:, :, :-1], out=begins[:, :, 1:])
        ends[:, :, :-1] = begins[:, :, 1:]
        starts = np.flatnonzero(begins)
        labels = part.ravel()[starts]
        starts, stops = starts[labels != 0], np.flatnonzero(ends)[labels != 0]
        row, first = np.divmod(starts, part.shape[2])
        z, y = np.divmod(row, part.shape[1])
        low_z, low_y, low_x = (side.start for side in box)
        first += low_x
        return cls(z + low_z, y + low_y, first, first + (stops - starts), labels[labels != 0])

    def part(self, which: npt.NDArray[Any]) -> Runs:
        """Some of them."""
        return Runs(*(values[which] for values in self))

    def voxels(self) -> Numbers:
        """(n, 3) indices (z, y, x), run by run."""
        lengths = self.last - self.first + 1
        ends = np.cumsum(lengths)
        x = np.arange(lengths.sum()) + np.repeat(self.first - (ends - lengths), lengths)
        return np.stack([np.repeat(self.z, lengths), np.repeat(self.y, lengths), x], axis=1)

    def touching(self, others: Runs, rows: Sequence[tuple[int, int]]) -> tuple[Numbers, Numbers]:
        """Which of them share a face, an edge or a corner with which others.

        Args:
            others: in memory's order.
            rows: offsets (z, y) of the rows in which others are looked for.

        Returns:
            Indices of runs and of others, in pairs.
        """
        # One number for each place; rows lie far enough apart that none touches the next.
        height, width = (1 + 2 * (1 + int(max(m.max(), n.max())))
                         for m, n in ((self.y, others.y), (self.last, others.last)))  # fmt: skip
        row = (others.z * height + others.y) * width
        begins, ends = row + others.first, row + others.last
        pairs = []
        for dz, dy in rows:
            row = ((self.z + dz) * height + self.y + dy) * width
            low = np.searchsorted(ends, row + self.first - 1)
            counts = np.searchsorted(begins, row + self.last + 1, side="right") - low
            here = np.repeat(np.arange(len(low)), counts)
            steps = np.arange(len(here)) - np.repeat(np.cumsum(counts) - counts, counts)
            pairs.append((here, low[here] + steps))
        one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
        return one, other


class Pieces(NamedTuple):
    """The connected pieces of a label map (neighbours share a corner at least).

    Attributes:
        runs: all labelled voxels; there must be one.
        numbers: (n,) the piece of each run, from 0.
        labels, sizes: label and voxels of each piece.
    """

    runs: Runs
    numbers: Numbers
    labels: Labels
    sizes: Numbers

    @classmethod
    def of(cls, labels_ZYX: Labels) -> Pieces:
        """Pieces of voxels of the same label; 0 is background."""
        runs = Runs.of(labels_ZYX)
        one, other = runs.touching(runs, _NEXT_ROWS)
        same = runs.labels[one] == runs.labels[other]
        parents = np.arange(len(runs.labels))
        _join(parents, one[same], other[same])
        first = parents == np.arange(len(parents))
        numbers = (np.cumsum(first) - 1)[parents]
        sizes = np.zeros(np.count_nonzero(first), np.int64)
        np.add.at(sizes, numbers, runs.last - runs.first + 1)
        return cls(runs, numbers, runs.labels[first], sizes)

    def misplaced(self) -> Mask:
        """Which pieces of an upper abdominal organ lie below both kidneys altogether.

        After a splenectomy a network may find a spleen in the gluteal muscles. Kidneys are taken
        at their largest piece each; without any, nothing is misplaced.
        """
        low, high = (np.full(len(self.sizes), fill) for fill in (np.iinfo(np.int64).max, -1))
        np.minimum.at(low, self.numbers, self.runs.z)
        np.maximum.at(high, self.numbers, self.runs.z)
        bottoms = []
        for kidney in KIDNEYS:
            of_it = np.flatnonzero(self.labels == kidney)
            if len(of_it):
                bottoms.append(low[of_it[self.sizes[of_it].argmax()]])
        if not bottoms:
            return np.zeros(len(self.sizes), bool)
        misplaced: Mask = np.isin(self.labels, _ABOVE_KIDNEYS) & (high < min(bottoms))
        return misplaced

    def small(self, share: float) -> npt.NDArray[np.bool_]:
        """Which pieces of an organ hold less than ``share`` of the voxels of its largest one, or
        are :meth:`misplaced`.

        A piece is not small if a tumour lies between it and one that is not: the tumour, which
        wins over the organ that it grows in, has cut it off.
        """
        misplaced = self.misplaced()
        largest = np.zeros(256, np.int64)
        np.maximum.at(largest, self.labels[~misplaced], self.sizes[~misplaced])
        small = np.isin(self.labels, ORGANS) & (self.sizes < share * largest[self.labels])
        if small.any():
            beside: dict[int, set[int]] = {}
            for tumor, piece in self._beside_tumors():
                beside.setdefault(tumor, set()).add(piece)
            for pieces in beside.values():
                whole = {int(self.labels[p]) for p in pieces if not small[p]}
                for piece in pieces:
                    small[piece] &= int(self.labels[piece]) not in whole
        return small | misplaced

    def _beside_tumors(self) -> set[tuple[int, int]]:
        """(piece of tumour, piece of something else) of all that touch."""
        of_tumor = np.flatnonzero(self.runs.labels == TUMOR)
        if not len(of_tumor):
            return set()
        one, other = self.runs.part(of_tumor).touching(self.runs, _ALL_ROWS)
        tumors, others = self.numbers[of_tumor[one]], self.numbers[other]
        codes = np.unique((tumors * len(self.sizes) + others)[tumors != others])
        return {(int(c) // len(self.sizes), int(c) % len(self.sizes)) for c in codes}


def clear_islands(labels_ZYX: Labels, network: Shape, share: float) -> tuple[int, ...]:
    """Turn small and misplaced pieces of organs into background, in place. Tumours stay.

    So does what is smaller than a voxel of the network's and lies between their centres; decoded
    labels hold no such specks.

    Args:
        labels_ZYX: on the scan's grid, z ascending to the head.
        network: shape (z, y, x) of the network's grid over the same field of view, on which pieces
            are told apart.
        share: of an organ's largest piece, below which another one is small.

    Returns:
        Labels of which a misplaced piece was taken away, in canonical order, ascending.
    """
    z, y, x = (nearest_taps(n, m) for n, m in zip(labels_ZYX.shape, network, strict=True))
    coarse = np.empty(network, np.uint8)
    gather_labels(labels_ZYX, z, y, x, coarse)
    if not coarse.any():
        return ()
    pieces = Pieces.of(coarse)
    small = pieces.small(share)
    doomed = np.flatnonzero(small[pieces.numbers])
    doomed = doomed[np.argsort(pieces.numbers[doomed], kind="stable")]
    voxels = pieces.runs.part(doomed).voxels()
    which = np.flatnonzero(small)
    coarse[tuple(voxels.T)] = 0  # what stays
    ends = np.cumsum(pieces.sizes[which])
    for piece, first, last in zip(which, ends - pieces.sizes[which], ends, strict=True):
        _clear(labels_ZYX, coarse, voxels[first:last], pieces.labels[piece])
    return tuple(sorted({int(label) for label in pieces.labels[pieces.misplaced()]}))


def _clear(labels_ZYX: Labels, staying: Labels, voxels: Numbers, label: np.uint8) -> None:
    """Take a label from the scan's voxels around some of the network's.

    ``staying`` are the labels on the network's grid that are to stay, and around them the scan's.
    """
    network = staying.shape
    low = np.maximum(voxels.min(axis=0) - 1, 0)
    high = np.minimum(voxels.max(axis=0) + 2, network)
    # One voxel more, so that the border of what stays is known there as well.
    outer = np.maximum(low - 1, 0)
    beside = tuple(slice(a, b + 1) for a, b in zip(outer, high, strict=True))
    kept = np.argwhere(staying[beside] == label) + outer
    near = _dilated(voxels, low, high) & ~_dilated(kept, low, high)
    reached = [nearest_taps(m, n) for n, m in zip(labels_ZYX.shape, network, strict=True)]
    spans = [np.searchsorted(r, (a, b)) for r, a, b in zip(reached, low, high, strict=True)]
    box = tuple(slice(int(a), int(b)) for a, b in spans)
    z, y, x = (r[side] - a for r, side, a in zip(reached, box, low, strict=True))
    part = labels_ZYX[box]
    part[near[np.ix_(z, y, x)] & (part == label)] = 0


def _dilated(voxels: Numbers, low: Numbers, high: Numbers) -> npt.NDArray[np.bool_]:
    """The box from ``low`` to ``high``: True at the voxels and their neighbours.

    The voxels lie in the box or beside it.
    """
    near = np.zeros(high - low + 2, bool)
    near[tuple((voxels - low + 1).T)] = True
    for axis in range(3):
        near = np.moveaxis(near, axis, 0)
        near = np.moveaxis(near[:-2] | near[1:-1] | near[2:], 0, axis)
    return near


def _join(parents: Numbers, one: Numbers, other: Numbers) -> None:
    """Give connected voxels one parent: the lowest of their piece, in place."""
    while len(one):
        a, b = parents[one], parents[other]
        apart = a != b
        if not apart.any():
            return
        one, other, a, b = one[apart], other[apart], a[apart], b[apart]
        np.minimum.at(parents, np.maximum(a, b), np.minimum(a, b))
        while True:
            grand = parents[parents]
            if (grand == parents).all():
                break
            parents[:] = grand
