"""Where each label of a map lies, how much of it there is, and in how many pieces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..grid import Grid
from ..labels import NAMES
from ..steps.components import Pieces, Runs
from ..types import Labels, Shape, Triple
from .presence import CutOff, Present, presence

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Extent:
    """One label of a map in canonical LPS order.

    Attributes:
        voxels: how many.
        low, high: of the smallest box (z, y, x) that holds them, in voxels; ``high`` is outside.
        centroid: their mean index (z, y, x).
        state: whole, or cut off by the map's border.
        pieces: 26-connected ones.
        largest: voxels of the largest piece.
    """

    voxels: int
    low: Shape
    high: Shape
    centroid: Triple
    state: Present | CutOff
    pieces: int
    largest: int

    def box_mm(self, grid: Grid) -> tuple[Triple, Triple]:
        """Least and greatest (x, y, z) of the box, voxel edge to voxel edge, in mm, LPS.

        Args:
            grid: of the map, in canonical order. Where it is oblique, the box is the one along the
                patient's axes that holds all eight corners.
        """
        corners = np.array([
            grid.physical((z - 0.5, y - 0.5, x - 0.5))
            for z in (self.low[0], self.high[0])
            for y in (self.low[1], self.high[1])
            for x in (self.low[2], self.high[2])
        ])  # fmt: skip
        return triple(corners.min(axis=0)), triple(corners.max(axis=0))

    def centroid_mm(self, grid: Grid) -> Triple:
        """Centroid (x, y, z) in mm, LPS."""
        return triple(grid.physical(self.centroid))


def triple(values: npt.NDArray[np.float64]) -> Triple:
    x, y, z = (float(v) for v in values)
    return x, y, z


def extents(labels_ZYX: Labels) -> tuple[dict[int, Extent], Pieces | None]:
    """The extent of every label that is there, and the map's connected pieces.

    Args:
        labels_ZYX: in canonical LPS order, values of inference.labels.NAMES.

    Returns:
        (extents by label, pieces); ({}, None) where there is nothing but background.
    """
    if not labels_ZYX.any():
        return {}, None
    pieces = Pieces.of(labels_ZYX)
    z, y, x = labels_ZYX.shape
    profiles = _profiles(pieces.runs, (z, y, x))
    found = {}
    for label in NAMES:
        counts = [profile[label] for profile in profiles]
        voxels = int(counts[0].sum())
        if not voxels:
            continue
        shown = [np.flatnonzero(along) for along in counts]
        low, high = ([int(side[end]) for side in shown] for end in (0, -1))
        above = [last + 1 for last in high]
        centroid = [float(along @ np.arange(len(along)) / voxels) for along in counts]
        sizes = pieces.sizes[pieces.labels == label]
        found[label] = Extent(
            voxels,
            (low[0], low[1], low[2]),
            (above[0], above[1], above[2]),
            (centroid[0], centroid[1], centroid[2]),
            presence(low, above, (z, y, x)),
            len(sizes),
            int(sizes.max()),
        )
    return found, pieces


def _profiles(runs: Runs, shape: Shape) -> list[Counts]:
    """Voxels of each label (rows) in each plane across z, y and x."""
    labels = runs.labels.astype(np.int64)
    lengths = runs.last - runs.first + 1
    rows = max(NAMES) + 1

    def binned(index: Counts, count: int, weights: Counts) -> Counts:
        # Sums of whole numbers below 2^53: exact in float64.
        sums = np.bincount(labels * count + index, weights, rows * count)
        return sums.astype(np.int64).reshape(rows, count)

    z, y, x = shape
    # Along x a run adds one from its first voxel on and takes it back behind its last.
    ones = np.ones_like(lengths)
    steps = binned(runs.first, x + 1, ones) - binned(runs.last + 1, x + 1, ones)
    return [
        binned(runs.z, z, lengths),
        binned(runs.y, y, lengths),
        np.cumsum(steps, axis=1)[:, :x],
    ]
