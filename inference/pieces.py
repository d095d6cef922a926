"""Connected pieces of a label map, and the small ones among them.

A network that sees no further than its window now and then finds a bit of liver in a shoulder. An
organ is one piece, or nearly so; what lies apart and is small beside it is not believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inference.grid import Shape
from inference.labels import ORGANS, TUMOR
from inference.resample import gather_labels, nearest_taps
from inference.windows import around

Labels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

# Rows of voxels that touch a row from behind or below, as (z, y).
_NEXT_ROWS = ((0, 1), (1, -1), (1, 0), (1, 1))


class Pieces(NamedTuple):
    """The connected pieces of a label map (neighbours share a corner at least).

    Attributes:
        voxels: (n, 3) indices (z, y, x) of all labelled voxels; there must be one.
        numbers: (n,) the piece of each, from 0.
        labels, sizes: label and voxels of each piece.
    """

    voxels: Numbers
    numbers: Numbers
    labels: Labels
    sizes: Numbers

    @classmethod
    def of(cls, labels_ZYX: Labels) -> Pieces:
        """Pieces of voxels of the same label; 0 is background."""
        box = around(labels_ZYX != 0, (0, 0, 0))
        part = labels_ZYX[box]
        filled = part != 0
        begins = filled.copy()
        begins[:, :, 1:] &= part[:, :, 1:] != part[:, :, :-1]
        # Runs of one label along x are joined, not single voxels: there are ten times fewer.
        runs = np.cumsum(begins, dtype=np.int32).reshape(part.shape) - 1
        parents = np.arange(np.count_nonzero(begins))
        for one, other in _touching(part, filled, runs):
            _join(parents, one, other)
        first = parents == np.arange(len(parents))
        numbers = (np.cumsum(first) - 1)[parents][runs[filled]]
        voxels = np.argwhere(filled) + [side.start for side in box]
        return cls(voxels, numbers, part[begins][first], np.bincount(numbers))

    def small(self, share: float) -> npt.NDArray[np.bool_]:
        """Which pieces of an organ hold less than ``share`` of the voxels of its largest one.

        A piece is not small if a tumour lies between it and one that is not: the tumour, which
        wins over the organ that it grows in, has cut it off.
        """
        largest = np.zeros(256, np.int64)
        np.maximum.at(largest, self.labels, self.sizes)
        small = np.isin(self.labels, ORGANS) & (self.sizes < share * largest[self.labels])
        if small.any():
            beside: dict[int, set[int]] = {}
            for tumor, piece in self._beside_tumors():
                beside.setdefault(tumor, set()).add(piece)
            for pieces in beside.values():
                whole = {int(self.labels[p]) for p in pieces if not small[p]}
                for piece in pieces:
                    small[piece] &= int(self.labels[piece]) not in whole
        return small

    def _beside_tumors(self) -> set[tuple[int, int]]:
        """(piece of tumour, piece of something else) of all that touch."""
        of_tumor = self.labels[self.numbers] == TUMOR
        if not of_tumor.any():
            return set()
        low = self.voxels.min(axis=0) - 1
        numbers = np.full(self.voxels.max(axis=0) - low + 2, -1, np.int32)
        numbers[tuple((self.voxels - low).T)] = self.numbers
        places, tumors = self.voxels[of_tumor] - low, self.numbers[of_tumor]
        pairs: set[tuple[int, int]] = set()
        for offset in product((-1, 0, 1), repeat=3):
            others = numbers[tuple((places + offset).T)]
            touching = (others >= 0) & (others != tumors)
            codes = tumors[touching] * len(self.sizes) + others[touching]
            # Neighbours have the same neighbours: few codes are left to sort.
            codes = np.unique(codes[np.diff(codes, prepend=-1) != 0])
            pairs.update((int(c) // len(self.sizes), int(c) % len(self.sizes)) for c in codes)
        return pairs


def clear_islands(labels_ZYX: Labels, network: Shape, share: float) -> None:
    """Turn small pieces of organs into background, in place. Tumours stay.

    So does what is smaller than a voxel of the network's and lies between their centres; decoded
    labels hold no such specks.

    Args:
        labels_ZYX: on the scan's grid.
        network: shape (z, y, x) of the network's grid over the same field of view, on which pieces
            are told apart.
        share: of an organ's largest piece, below which another one is small.
    """
    z, y, x = (nearest_taps(n, m) for n, m in zip(labels_ZYX.shape, network, strict=True))
    coarse = np.empty(network, np.uint8)
    gather_labels(labels_ZYX, z, y, x, coarse)
    if not coarse.any():
        return
    pieces = Pieces.of(coarse)
    small = pieces.small(share)
    doomed = small[pieces.numbers]
    order = np.argsort(pieces.numbers[doomed], kind="stable")
    voxels = pieces.voxels[doomed][order]
    which = np.flatnonzero(small)
    coarse[tuple(voxels.T)] = 0  # what stays
    ends = np.cumsum(pieces.sizes[which])
    for piece, first, last in zip(which, ends - pieces.sizes[which], ends, strict=True):
        _clear(labels_ZYX, coarse, voxels[first:last], pieces.labels[piece])


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
    near = _around(voxels, low, high) & ~_around(kept, low, high)
    reached = [nearest_taps(m, n) for n, m in zip(labels_ZYX.shape, network, strict=True)]
    spans = [np.searchsorted(r, (a, b)) for r, a, b in zip(reached, low, high, strict=True)]
    box = tuple(slice(int(a), int(b)) for a, b in spans)
    z, y, x = (r[side] - a for r, side, a in zip(reached, box, low, strict=True))
    part = labels_ZYX[box]
    part[near[np.ix_(z, y, x)] & (part == label)] = 0


def _around(voxels: Numbers, low: Numbers, high: Numbers) -> npt.NDArray[np.bool_]:
    """The box from ``low`` to ``high``: True at the voxels and their neighbours."""
    near = np.zeros(high - low, bool)
    for offset in product((-1, 0, 1), repeat=3):
        shifted = voxels + offset
        inside = ((shifted >= low) & (shifted < high)).all(axis=1)
        near[tuple((shifted[inside] - low).T)] = True
    return near


def _touching(
    part: Labels, filled: npt.NDArray[np.bool_], runs: npt.NDArray[np.int32]
) -> Iterator[tuple[Numbers, Numbers]]:
    """Pairs of runs of one label that share a face, an edge or a corner."""
    for dz, dy in _NEXT_ROWS:
        for dx in (-1, 0, 1):
            sides = [
                (slice(max(0, -d), n - max(0, d)), slice(max(0, d), n - max(0, -d)))
                for d, n in zip((dz, dy, dx), part.shape, strict=True)
            ]
            here, there = (tuple(side[k] for side in sides) for k in (0, 1))
            same = (part[here] == part[there]) & filled[here]
            one, other = runs[here][same], runs[there][same]
            if len(one):
                new = np.ones(len(one), bool)
                new[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
                yield one[new], other[new]


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
