"""The tumour label's lesions one by one: volume, longest axial diameter, host organ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..grid import Grid
from ..labels import ORGANS, TUMOR
from ..steps.components import Pieces, Runs
from ..types import Labels, Triple
from .extents import triple
from .presence import CutOff, Present, presence

Points = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lesion:
    """One 26-connected piece of the tumour label.

    Attributes:
        ml: volume.
        longest_axial_mm: its largest diameter within one axial slice, as RECIST 1.1 measures a
            target lesion (Eisenhauer et al., Eur J Cancer 2009;45:228-247): the maximum Feret
            diameter over all slices. It ends at the middles of voxel edges, so that a row of n
            voxels is n voxels long.
        ends_mm: both ends of that diameter, (x, y, z) in mm, LPS.
        centroid_mm: (x, y, z) in mm, LPS.
        state: whole, or cut off by the scan's border.
        host: label of the organ that it touches with the largest area; None where it touches none.
        host_share: of its surface, the share that touches the host.
    """

    ml: float
    longest_axial_mm: float
    ends_mm: tuple[Triple, Triple]
    centroid_mm: Triple
    state: Present | CutOff
    host: int | None
    host_share: float


def lesions(labels_ZYX: Labels, pieces: Pieces, grid: Grid) -> tuple[Lesion, ...]:
    """The lesions of a label map, the largest first.

    Args:
        labels_ZYX, grid: in canonical LPS order; axial slices are those across its z axis, whatever
            the acquisition's own were.
        pieces: of these labels.
    """
    which = np.flatnonzero(pieces.labels == TUMOR)
    if not len(which):
        return ()
    of_tumor = np.flatnonzero(pieces.labels[pieces.numbers] == TUMOR)
    runs = pieces.runs.part(of_tumor)
    numbers = np.searchsorted(which, pieces.numbers[of_tumor])
    touched = _touched_mm2(labels_ZYX, runs, numbers, len(which), grid)
    # Each lesion's runs behind one another: to look for them per lesion is slow where there are
    # thousands of specks.
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(which) + 1))
    found = []
    for number, size in enumerate(pieces.sizes[which]):
        own = runs.part(order[starts[number] : starts[number + 1]])
        organs = touched[number, list(ORGANS)]
        surface = float(touched[number].sum())
        host = int(organs.argmax())
        length, ends = _longest_axial(own, grid)
        voxels = own.voxels()
        low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
        z, y, x = labels_ZYX.shape
        found.append(
            Lesion(
                float(size) * grid.voxel_ml,
                length,
                ends,
                triple(grid.physical(triple(voxels.mean(axis=0)))),
                presence(low.tolist(), high.tolist(), (z, y, x)),
                ORGANS[host] if organs[host] > 0 else None,
                float(organs[host]) / surface if surface else 0.0,
            )
        )
    # Equal ones by where they lie from head to feet, so that a turned scan lists them alike.
    return tuple(sorted(found, key=lambda one: (-one.ml, *(-c for c in one.centroid_mm[::-1]))))


def _touched_mm2(
    labels_ZYX: Labels, runs: Runs, numbers: Numbers, count: int, grid: Grid
) -> npt.NDArray[np.float64]:
    """The area with which each lesion (rows) touches each label; column 0 is the background.

    Faces on the scan's border touch nothing.
    """
    voxels = runs.voxels()
    lesion = np.repeat(numbers, runs.last - runs.first + 1)
    labels = max(ORGANS[-1], TUMOR) + 1
    area = np.zeros(count * labels)
    for axis, n in enumerate(labels_ZYX.shape):
        face = float(np.prod(grid.spacing)) / grid.spacing[axis]
        for step in (-1, 1):
            beside = voxels[:, axis] + step
            inside = (beside >= 0) & (beside < n)
            places = voxels[inside]
            places[:, axis] = beside[inside]
            other = labels_ZYX[tuple(places.T)].astype(np.int64)
            codes = (lesion[inside] * labels + other)[other != TUMOR]
            area += face * np.bincount(codes, minlength=len(area))
    return area.reshape(count, labels)


def _longest_axial(runs: Runs, grid: Grid) -> tuple[float, tuple[Triple, Triple]]:
    """The longest diameter in any slice (mm), and its ends."""
    _, dy, dx = grid.spacing
    order = np.argsort(runs.z, kind="stable")
    slices = np.split(order, np.flatnonzero(np.diff(runs.z[order])) + 1)
    outlines = [(int(runs.z[own[0]]), _outline(runs.part(own), dy, dx)) for own in slices]
    best, ends = -1.0, ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    # A slice whose box has a shorter diagonal need not be looked at.
    for z, outline in sorted(outlines, key=lambda one: -_diagonal(one[1])):
        if _diagonal(outline) <= best:
            break
        corners = _convex_hull(outline)
        distances = np.hypot(*(corners[:, None] - corners[None]).transpose(2, 0, 1))
        a, b = divmod(int(distances.argmax()), len(corners))
        if distances[a, b] > best:
            best = float(distances[a, b])
            first, second = (
                triple(grid.physical((z, corners[end, 0] / dy, corners[end, 1] / dx)))
                for end in (a, b)
            )
            ends = (first, second)
    return best, ends


def _diagonal(points: Points) -> float:
    return float(np.hypot(*np.ptp(points, axis=0)))


def _outline(runs: Runs, dy: float, dx: float) -> Points:
    """Middles of voxel edges (y, x) in mm, of the outermost voxels of each row of a slice."""
    y = np.unique(runs.y)
    row = np.searchsorted(y, runs.y)
    first, last = np.full(len(y), np.iinfo(np.int64).max), np.full(len(y), -1)
    np.minimum.at(first, row, runs.first)
    np.maximum.at(last, row, runs.last)
    points = []
    for x, outwards in ((first, -0.5), (last, 0.5)):
        points += [(y, x + outwards), (y - 0.5, x), (y + 0.5, x)]
    return np.concatenate([np.stack([v * dy, u * dx], axis=1) for v, u in points])


def _convex_hull(points: Points) -> Points:
    """Corners of the convex hull (Andrew's monotone chain)."""
    ordered = [(float(y), float(x)) for y, x in np.unique(points, axis=0)]
    hull: list[tuple[float, float]] = []
    for way in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for point in way:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        hull += chain[:-1]
    return np.array(hull)


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Above 0 where the way from a over b to c turns to one side, below 0 to the other."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
