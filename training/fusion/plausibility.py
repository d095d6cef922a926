"""Whether a machine-made organ label is anatomically believable, judged without a second opinion.

Used for classes that only one pseudo-label source has: one dominant piece, a volume in the range
of adults unless the field of view cuts the organ, and a place that fits its neighbours. The
limits are deliberately wide; they catch organs found in the wrong place, not rough borders.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.labels import NAMES
from inference.types import Labels, Mask, Triple

# Adult volumes in ml with room for splenomegaly, a lone kidney and an empty or full stomach.
VOLUME_ML: dict[int, tuple[float, float]] = {
    1: (600, 3800),
    2: (50, 450),
    3: (40, 1500),
    4: (20, 200),
    5: (25, 450),
    6: (15, 200),
    7: (1.2, 15),
    8: (1.2, 15),
    9: (3, 200),
    10: (4, 80),
    11: (30, 2000),
    12: (15, 200),
    13: (50, 450),
}
# Of an organ that the field of view cuts at least this share of the smallest volume must be there:
# what teachers call an organ in the last slices of a scan is mostly a guess.
CUT_SHARE = 0.2
# Share of the organ's voxels that its largest piece must hold, and the size, relative to the
# largest, from which a further piece is kept (the aorta leaves and re-enters a scan at the arch).
DOMINANT = 0.8
SECOND_PIECE = 0.1

# (organ, direction, reference): the organ's centroid lies in that direction of the reference's.
PLACES: tuple[tuple[int, str, int], ...] = (
    (1, "right", 5),
    (2, "right", 5),
    (3, "left", 5),
    (6, "right", 5),
    (7, "right", 5),
    (8, "left", 5),
    (9, "right", 5),
    (13, "left", 5),
    (11, "left", 6),
    (12, "right", 13),
    (4, "front", 5),
    (7, "above", 2),
    (8, "above", 13),
    (10, "above", 12),
    (9, "front", 2),
)
# (organ, reference, mm): the largest distance of the two centroids in the axial plane.
NEAR_MM: tuple[tuple[int, int, float], ...] = (
    (10, 5, 60),
    (6, 5, 80),
    (12, 4, 90),
    (7, 2, 80),
    (8, 13, 80),
    (9, 1, 130),
)
# Directions in canonical LPS order: axis of (z, y, x) and the sign of the difference.
_DIRECTIONS = {"right": (2, -1), "left": (2, 1), "front": (1, -1), "above": (0, 1)}
_WORDS = {"right": "right of", "left": "left of", "front": "in front of", "above": "above"}


@dataclass(frozen=True)
class Piece:
    """One organ after :func:`main_pieces`.

    Attributes:
        ml: volume of the largest piece and the further ones that were kept.
        dominance: share of all labelled voxels that the largest piece holds.
        cut: it touches a border of the volume.
        slices: z indices of the slices that show it.
        centroids_mm: for each of them the centroid (z, y, x) in mm.
        areas: for each of them the number of voxels.
    """

    ml: float
    dominance: float
    cut: bool
    slices: npt.NDArray[np.int64]
    centroids_mm: npt.NDArray[np.float64]
    areas: npt.NDArray[np.int64]

    def centroid(self, rows: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float64]:
        """Centroid (z, y, x) in mm, of chosen rows of :attr:`slices` or of all."""
        chosen = slice(None) if rows is None or not rows.any() else rows
        return np.average(self.centroids_mm[chosen], axis=0, weights=self.areas[chosen])


def main_pieces(mask_ZYX: Mask) -> Mask:
    """The largest 26-connected piece and those at least a tenth as large; specks are dropped."""
    pieces, count = ndimage.label(mask_ZYX, np.ones((3, 3, 3)))
    if count <= 1:
        return mask_ZYX
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept = sizes >= max(1.0, SECOND_PIECE * sizes.max())
    main: Mask = kept[pieces]
    return main


def clean(labels_ZYX: Labels, classes: tuple[int, ...]) -> Labels:
    """A copy that holds only the main pieces of ``classes``."""
    out = np.zeros_like(labels_ZYX)
    for value, box in enumerate(ndimage.find_objects(labels_ZYX, max(NAMES)), start=1):
        if box is not None and value in classes:
            out[box][main_pieces(labels_ZYX[box] == value)] = value
    return out


def doubts(labels_ZYX: Labels, spacing: Triple, classes: tuple[int, ...]) -> dict[int, str]:
    """Why each doubtful class is not believable; believable classes are missing from the result.

    Args:
        labels_ZYX: label map in canonical LPS axis order (z to the head, y to the back, x to the
            patient's left). All its organs serve as references.
        spacing: (z, y, x) in mm.
        classes: the values to judge.
    """
    pieces = {value: _piece(labels_ZYX, value, spacing) for value in NAMES}
    found = {value: piece for value, piece in pieces.items() if piece is not None}
    reasons: dict[int, str] = {}
    for value in classes:
        piece = found.get(value)
        reason = "absent, and nobody confirms it" if piece is None else _doubt(value, piece, found)
        if reason:
            reasons[value] = reason
    return reasons


def _doubt(value: int, piece: Piece, found: dict[int, Piece]) -> str | None:
    lowest, highest = VOLUME_ML[value]
    if piece.dominance < DOMINANT:
        return f"the largest piece holds only {piece.dominance:.0%}"
    if piece.ml > highest or piece.ml < lowest * (CUT_SHARE if piece.cut else 1):
        return f"{piece.ml:.1f} ml{', cut by the field of view' if piece.cut else ''}"
    for organ, direction, reference in PLACES:
        if organ == value and reference in found:
            axis, sign = _DIRECTIONS[direction]
            if sign * _offset_mm(piece, found[reference])[axis] <= 0:
                return f"not {_WORDS[direction]} the {NAMES[reference]}"
    for organ, reference, limit in NEAR_MM:
        if organ == value and reference in found:
            distance = float(np.hypot(*_offset_mm(piece, found[reference])[1:]))
            if distance > limit:
                return f"{distance:.0f} mm from the {NAMES[reference]}"
    return None


def _offset_mm(piece: Piece, reference: Piece) -> npt.NDArray[np.float64]:
    """Centroid difference (z, y, x); in plane over the slices that both share, where there are any.

    A long vessel's overall centroid may lie far from where it passes the organ.
    """
    shared = np.intersect1d(piece.slices, reference.slices)
    in_plane = piece.centroid(np.isin(piece.slices, shared)) - reference.centroid(
        np.isin(reference.slices, shared)
    )
    offset = piece.centroid() - reference.centroid()
    offset[1:] = in_plane[1:]
    return offset


def _piece(labels_ZYX: Labels, value: int, spacing: Triple) -> Piece | None:
    all_ZYX = labels_ZYX == value
    (box,) = ndimage.find_objects(all_ZYX.astype(np.uint8)) or [None]
    if box is None:
        return None
    mask_ZYX = main_pieces(all_ZYX[box])
    sizes = np.bincount(ndimage.label(mask_ZYX, np.ones((3, 3, 3)))[0].ravel())[1:]
    areas = mask_ZYX.sum(axis=(1, 2))
    rows = np.flatnonzero(areas)
    y, x = (np.arange(n) + part.start for n, part in zip(mask_ZYX.shape[1:], box[1:], strict=True))
    over_x, over_y = mask_ZYX.sum(axis=2)[rows], mask_ZYX.sum(axis=1)[rows]
    centroids = np.stack(
        [rows + box[0].start, over_x @ y / areas[rows], over_y @ x / areas[rows]], axis=1
    )
    edges = itertools.chain.from_iterable(
        (part.start == 0, part.stop == n) for part, n in zip(box, labels_ZYX.shape, strict=True)
    )
    return Piece(
        ml=float(areas.sum() * np.prod(spacing) / 1000),
        dominance=float(sizes.max() / all_ZYX[box].sum()),
        cut=any(edges),
        slices=rows + box[0].start,
        centroids_mm=centroids * np.array(spacing),
        areas=areas[rows],
    )
