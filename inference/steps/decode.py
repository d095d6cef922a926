"""From logits on the network's grid to labels on the scan's, in NumPy.

``nearest`` is the paper's quick way (Table 1: sigmoid, threshold, resample): decide at network
resolution, then enlarge. ``linear`` is its "normal inference" (Table 7): enlarge the logits, then
decide. Logits arrive slab by slab from the top of a region of the network's grid and never exist at
full resolution; scan voxels outside the region are background.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..labels import TUMOR
from ..machine.threads import in_threads
from ..types import Array, Box, Decode, Labels, Logits, Shape
from .bfloat16 import as_float32, copied, positive_channels
from .resample import Taps, gather_labels, reaches

Indices = npt.NDArray[np.int64]

# Share of voxels in doubt above which interpolating a plane's whole rectangle is quicker than
# gathering them one by one, and the rows of it that are worked on at once (they stay in the cache).
_DENSE = 0.25
_ROWS = 128


class Decoder(Protocol):
    """Takes logits plane by plane, gives labels."""

    def push(self, logits_CZYX: Array) -> None:
        """Take the region's next planes (channels, z, y, x), in order. They are not kept."""

    def finish(self) -> Labels:
        """The labels (z, y, x) on the scan's grid, once every plane has been pushed."""


class NearestDecoder:
    """Labels at network resolution, enlarged by nearest neighbour.

    Args:
        network: the network's grid (z, y, x).
        scan: the scan's grid (z, y, x).
        region: the part of the network's grid that logits will come from.
    """

    def __init__(self, network: Shape, scan: Shape, region: Box) -> None:
        self._reach = reaches(network, scan, region)
        self._labels = np.empty([part.stop - part.start for part in region], np.uint8)
        self._next = 0
        self._scan = scan

    def push(self, logits_CZYX: Array) -> None:
        first, count = self._next, logits_CZYX.shape[1]

        def decide(plane: int) -> None:
            self._labels[first + plane] = winners(as_float32(logits_CZYX[:, plane]))

        in_threads(decide, range(count))
        self._next += count

    def finish(self) -> Labels:
        labels = np.zeros(self._scan, np.uint8)
        z, y, x = self._reach
        gather_labels(
            self._labels, z.nearest, y.nearest, x.nearest, labels[z.inside, y.inside, x.inside]
        )
        return labels


class _Plane(NamedTuple):
    """One plane of the network's grid: half or single precision logits, and what they decide.

    Attributes:
        logits_CYX: of all labels.
        passing: float32 logits (y, x) of the labels that pass somewhere.
        labels_YX: who wins.
    """

    logits_CYX: Array
    passing: dict[int, Logits]
    labels_YX: Labels

    @classmethod
    def of(cls, logits_CYX: Array) -> _Plane:
        ballot = Ballot(logits_CYX.shape[1:])
        passing = {}
        for channel in positive_channels(logits_CYX):
            passing[channel + 1] = as_float32(logits_CYX[channel])
            ballot.cast(channel + 1, passing[channel + 1])
        return cls(logits_CYX, passing, ballot.labels)

    def logits(self, label: int, y: slice, x: slice) -> Logits:
        """Float32 logits (y, x) of a label in a part of the plane."""
        if label in self.passing:
            return self.passing[label][y, x]
        part: Logits = as_float32(self.logits_CYX[label - 1, y, x])
        return part

    def kept(self) -> _Plane:
        """The same in memory of its own."""
        passing = {label: logits.copy() for label, logits in self.passing.items()}
        return _Plane(copied(self.logits_CYX), passing, self.labels_YX)


class LinearDecoder:
    """Logits enlarged trilinearly, then decided: exactly, but only where it matters.

    Where the eight network voxels around a scan voxel have the same label, interpolation cannot
    change it: the winner's logits are positive and the highest at all eight, so they are in between
    (likewise for background and tumour). Only the other voxels, a few per cent, need their logits,
    and only those of labels that pass somewhere in the two planes around them.

    Args:
        network: the network's grid (z, y, x).
        scan: the scan's grid (z, y, x).
        region: the part of the network's grid that logits will come from.
    """

    def __init__(self, network: Shape, scan: Shape, region: Box) -> None:
        reach = reaches(network, scan, region)
        self._z, self._y, self._x = (axis.linear for axis in reach)
        self._labels = np.zeros(scan, np.uint8)
        self._inside: Labels = self._labels[tuple(axis.inside for axis in reach)]
        self._planes: dict[int, _Plane] = {}
        self._seen = 0
        self._done = 0

    def push(self, logits_CZYX: Array) -> None:
        first, planes = self._seen, range(logits_CZYX.shape[1])
        new = in_threads(lambda plane: _Plane.of(logits_CZYX[:, plane]), planes)
        self._planes |= dict(enumerate(new, first))
        self._seen += len(planes)
        ready = int(np.searchsorted(self._z.upper, self._seen))
        # One by one: so many short steps lose more by waiting for one another than threads gain.
        for z in range(self._done, ready):
            self._decode(z)
        self._done = ready
        # Where the scan is coarser than the network's grid, planes to come are passed over.
        needed = self._z.lower[ready] if ready < len(self._z.lower) else self._seen
        for index in [*self._planes]:
            if index < needed:
                del self._planes[index]
            elif index >= first:
                self._planes[index] = self._planes[index].kept()

    def finish(self) -> Labels:
        return self._labels

    def _decode(self, z: int) -> None:
        below = self._planes[int(self._z.lower[z])]
        above = self._planes[int(self._z.upper[z])]
        occupied = (below.labels_YX | above.labels_YX) != 0
        if not occupied.any():
            return
        rows, part_y, y = _around(self._y, occupied.any(axis=1))
        columns, part_x, x = _around(self._x, occupied.any(axis=0))
        labels = below.labels_YX[part_y, part_x]
        mixed = _mixed_cells(labels, above.labels_YX[part_y, part_x])
        doubt = mixed.take(y.lower, axis=0).take(x.lower, axis=1)
        out = self._inside[z, rows, columns]
        out[:] = labels.take(y.lower, axis=0).take(x.lower, axis=1)
        places = np.flatnonzero(doubt)
        if not len(places):
            return

        def blended(label: int) -> Logits:
            first, second = (plane.logits(label, part_y, part_x) for plane in (below, above))
            return _between(first, second, self._z.fraction[z])

        passing = sorted(below.passing.keys() | above.passing.keys())
        logits = {label: blended(label) for label in passing}
        if len(places) > _DENSE * doubt.size:
            for first in range(0, len(out), _ROWS):
                block = slice(first, first + _ROWS)
                decided = _enlarged_winners(logits, y.part(block), x)
                np.copyto(out[block], decided, where=doubt[block])
        else:
            row, column = np.divmod(places, doubt.shape[1])
            out[row, column] = _winners_at(logits, y, x, row, column)


def _around(taps: Taps, occupied: npt.NDArray[np.bool_]) -> tuple[slice, slice, Taps]:
    """Where an axis has anything but background.

    Returns:
        (output samples with an occupied neighbour, the inputs that they need, their taps there).
    """
    found = np.flatnonzero(occupied)
    first = int(np.searchsorted(taps.upper, found[0]))
    inside = slice(first, max(first, int(np.searchsorted(taps.lower, found[-1] + 1))))
    if inside.start == inside.stop:  # a coarse scan passes over what is there
        return inside, slice(0, 0), taps.part(inside)
    part = slice(int(taps.lower[first]), int(taps.upper[inside.stop - 1]) + 1)
    return inside, part, taps.part(inside, part.start)


def _between(first: Logits, second: Logits, fraction: npt.NDArray[np.float32] | float) -> Logits:
    """Interpolated from ``first`` to ``second``, always by the same rounding."""
    between: Logits = second - first
    between *= fraction
    between += first
    return between


def _enlarged_winners(logits: dict[int, Logits], y: Taps, x: Taps) -> Labels:
    """The labels of a whole rectangle, from logits of a network plane."""
    ballot = Ballot((len(y.lower), len(x.lower)))
    part = slice(int(y.lower[0]), int(y.upper[-1]) + 1)
    for label, plane in logits.items():
        rows = plane[part]
        rows = _between(rows.take(x.lower, axis=1), rows.take(x.upper, axis=1), x.fraction)
        front = rows.take(y.lower - part.start, axis=0)
        back = rows.take(y.upper - part.start, axis=0)
        ballot.cast(label, _between(front, back, y.fraction[:, None]))
    return ballot.labels


def _winners_at(
    logits: dict[int, Logits], y: Taps, x: Taps, row: Indices, column: Indices
) -> Labels:
    """The labels at some places of the rectangle."""
    ballot = Ballot(row.shape)
    fy, fx = y.fraction[row], x.fraction[column]
    width = next(iter(logits.values())).shape[1]
    upper_row, lower_row = y.upper[row] * width, y.lower[row] * width
    left, right = x.lower[column], x.upper[column]
    for label, plane in logits.items():
        flat = plane.ravel()
        front = _between(flat.take(lower_row + left), flat.take(lower_row + right), fx)
        back = _between(flat.take(upper_row + left), flat.take(upper_row + right), fx)
        ballot.cast(label, _between(front, back, fy))
    return ballot.labels


def _mixed_cells(below: Labels, above: Labels) -> npt.NDArray[np.bool_]:
    """Cells (y, x) between two planes whose eight corners do not all have one label."""
    differs = below != above
    along_x = np.zeros_like(differs)
    along_x[:, :-1] = (below[:, :-1] != below[:, 1:]) | differs[:, 1:]
    row = differs | along_x
    cell: npt.NDArray[np.bool_] = row.copy()
    cell[:-1] |= row[1:]
    cell[:-1] |= below[:-1] != below[1:]
    return cell


def numpy_decoder(mode: Decode, network: Shape, scan: Shape, region: Box) -> Decoder:
    """The decoder for ``mode`` on arrays of the CPU."""
    kind = LinearDecoder if mode == "linear" else NearestDecoder
    return kind(network, scan, region)


def winners(logits_CV: Logits) -> Labels:
    """The label of each voxel from its logits, channels first.

    Among the organs whose probability exceeds one half (logit > 0) the likeliest wins, the lower
    label where two are equal; a tumour wins over the organ that it lies in; where nothing passes,
    background.
    """
    ballot = Ballot(logits_CV.shape[1:])
    for label, logits in enumerate(logits_CV, 1):
        ballot.cast(label, logits)
    return ballot.labels


class Ballot:
    """Finds the winners of some voxels, label after label in ascending order."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.labels: Labels = np.zeros(shape, np.uint8)
        self._best = np.zeros(shape, np.float32)

    def cast(self, label: int, logits: Logits) -> None:
        wins = logits > (0 if label == TUMOR else self._best)
        np.maximum(self._best, logits, out=self._best)
        # The label rises from call to call: whoever wins now outnumbers the former winner.
        np.maximum(self.labels, wins.view(np.uint8) * np.uint8(label), out=self.labels)
