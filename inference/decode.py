"""From logits on the network's grid to labels on the scan's, in NumPy.

``nearest`` is the paper's quick way (Table 1: sigmoid, threshold, resample): decide at network
resolution, then enlarge. ``linear`` is its "normal inference" (Table 7): enlarge the logits, then
decide. Logits arrive slab by slab from the top of the volume and never exist at full resolution.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from inference.description import Decode
from inference.grid import Shape
from inference.labels import TUMOR
from inference.resample import linear_taps, resample_labels
from inference.windows import Array

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


class Decoder(Protocol):
    """Takes logits plane by plane, gives labels."""

    def push(self, logits_CZYX: Array) -> None:
        """Take the next planes (channels, z, y, x), in ascending order. They are not kept."""

    def finish(self) -> Labels:
        """The labels (z, y, x) on the scan's grid, once every plane has been pushed."""


def winners(logits_VC: Logits) -> Labels:
    """The label of each voxel from its logits, channels last.

    Among the organs whose probability exceeds one half (logit > 0) the likeliest wins; a tumour
    wins over the organ that it lies in; where nothing passes, background.
    """
    organs = logits_VC[..., : TUMOR - 1]
    best = organs.argmax(axis=-1)
    labels: Labels = (best + 1).astype(np.uint8)
    labels[np.take_along_axis(organs, best[..., None], axis=-1)[..., 0] <= 0] = 0
    labels[logits_VC[..., TUMOR - 1] > 0] = TUMOR
    return labels


class NearestDecoder:
    """Labels at network resolution, enlarged by nearest neighbour.

    Args:
        network: the network's grid (z, y, x).
        scan: the scan's grid (z, y, x).
    """

    def __init__(self, network: Shape, scan: Shape) -> None:
        self._labels = np.empty(network, np.uint8)
        self._next = 0
        self._scan = scan

    def push(self, logits_CZYX: Logits) -> None:
        count = logits_CZYX.shape[1]
        for plane in range(count):
            self._labels[self._next + plane] = winners(np.moveaxis(logits_CZYX[:, plane], 0, -1))
        self._next += count

    def finish(self) -> Labels:
        return resample_labels(self._labels, self._scan)


class LinearDecoder:
    """Logits enlarged trilinearly, then decided: exactly, but only where it matters.

    Where the eight network voxels around a scan voxel have the same label, interpolation cannot
    change it: the winner's logits are positive and the highest at all eight, so they are in between
    (likewise for background and tumour). Only the other voxels, a few per cent, need their logits.

    Args:
        network: the network's grid (z, y, x).
        scan: the scan's grid (z, y, x).
    """

    def __init__(self, network: Shape, scan: Shape) -> None:
        self._z = linear_taps(network[0], scan[0])
        self._y = linear_taps(network[1], scan[1])
        self._x = linear_taps(network[2], scan[2])
        self._labels = np.empty(scan, np.uint8)
        self._planes: dict[int, tuple[Logits, Labels]] = {}
        self._seen = 0
        self._done = 0

    def push(self, logits_CZYX: Logits) -> None:
        for plane in range(logits_CZYX.shape[1]):
            logits_YXC = np.array(np.moveaxis(logits_CZYX[:, plane], 0, -1), order="C")
            self._planes[self._seen] = (logits_YXC, winners(logits_YXC))
            self._seen += 1
            while self._done < len(self._z.lower) and self._z.upper[self._done] < self._seen:
                self._decode(self._done)
                self._done += 1
            needed = self._z.lower[self._done] if self._done < len(self._z.lower) else self._seen
            for old in [index for index in self._planes if index < needed]:
                del self._planes[old]

    def finish(self) -> Labels:
        return self._labels

    def _decode(self, z: int) -> None:
        (below, labels), (above, labels_above) = (
            self._planes[int(self._z.lower[z])],
            self._planes[int(self._z.upper[z])],
        )
        out = self._labels[z]
        labels.take(self._y.lower, axis=0).take(self._x.lower, axis=1, out=out, mode="clip")
        mixed = _mixed_cells(labels, labels_above)
        mixed_scan = mixed.take(self._y.lower, axis=0).take(self._x.lower, axis=1)
        rows, columns = np.nonzero(mixed_scan)
        if not len(rows):
            return
        fraction = self._z.fraction[z]
        logits = below if fraction == 0 else below + fraction * (above - below)
        y0, y1 = self._y.lower[rows], self._y.upper[rows]
        x0, x1 = self._x.lower[columns], self._x.upper[columns]
        fx = self._x.fraction[columns, None]
        front = logits[y0, x0]
        front += fx * (logits[y0, x1] - front)
        back = logits[y1, x0]
        back += fx * (logits[y1, x1] - back)
        front += self._y.fraction[rows, None] * (back - front)
        out[rows, columns] = winners(front)


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


def numpy_decoder(mode: Decode, network: Shape, scan: Shape) -> Decoder:
    """The decoder for ``mode`` on arrays of the CPU."""
    return LinearDecoder(network, scan) if mode == "linear" else NearestDecoder(network, scan)
