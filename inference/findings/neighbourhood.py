"""Where organs lie to each other: right of, above, in front of, and near."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..grid import Grid
from ..labels import NAMES
from .extents import Extent
from .presence import CutOff

Axis = int  # of (z, y, x) in canonical LPS order
_DIRECTIONS: dict[str, tuple[Axis, int]] = {
    "above": (0, 1),
    "in front of": (1, -1),
    "right of": (2, -1),
    "left of": (2, 1),
}
# (organ, direction, reference): so their centroids lie in whole organs of every usual anatomy.
_PLACES: tuple[tuple[int, str, int], ...] = (
    (1, "right of", 3), (1, "right of", 5), (1, "above", 2), (1, "in front of", 2),
    (2, "right of", 13), (2, "right of", 5),
    (3, "left of", 1), (3, "left of", 5), (3, "above", 13), (3, "above", 2),
    (4, "in front of", 5), (4, "left of", 1), (4, "in front of", 13),
    (6, "right of", 5),
    (7, "right of", 5), (7, "right of", 8), (7, "above", 2),
    (8, "left of", 5), (8, "left of", 7), (8, "above", 13),
    (9, "right of", 5), (9, "in front of", 2),
    (10, "above", 12), (10, "above", 2), (10, "above", 13),
    (11, "left of", 1), (11, "in front of", 5), (11, "in front of", 13),
    (12, "right of", 13), (12, "left of", 1),
    (13, "left of", 2), (13, "left of", 5),
)  # fmt: skip
# Organs of which at least one lies within some centimetres.
_NEIGHBOURS: dict[int, tuple[int, ...]] = {
    1: (2, 5, 6, 9, 11, 12, 3),
    2: (1, 12, 7, 6),
    3: (11, 13, 4, 1),
    4: (12, 11, 5, 6, 3),
    5: (6, 10, 13, 2, 1),
    6: (5, 1, 2),
    7: (1, 2, 6),
    8: (13, 11, 4, 5, 3),
    9: (1, 12, 2),
    10: (5, 11, 1),
    11: (1, 3, 4, 10),
    12: (4, 9, 2, 11, 6),
    13: (3, 8, 5, 4),
}
# Centroids that are closer than this along an axis lie in no order.
_LEVEL_MM = 10.0
# An organ that the scan's upper or lower end cuts has its centroid elsewhere.
_CUT_LEVEL_MM = 60.0
# Between the boxes of an organ and its nearest neighbour.
_NEAR_MM, _FAR_MM = 40.0, 100.0


class Relation(NamedTuple):
    """One of an organ's places, and whether it holds.

    Attributes:
        organ, reference: labels.
        words: the direction that the one should lie in.
        axis: of (z, y, x).
        holds: False where the organ lies clearly on the other side.
    """

    organ: int
    reference: int
    words: str
    axis: Axis
    holds: bool


def relations(found: Mapping[int, Extent], grid: Grid) -> Iterator[Relation]:
    """The places of organs that can be told: whole, or far enough from their reference.

    Args:
        found: extents in canonical LPS order.
        grid: theirs.
    """
    for organ, words, reference in _PLACES:
        if organ not in found or reference not in found:
            continue
        one, other = found[organ], found[reference]
        axis, sign = _DIRECTIONS[words]
        offset_mm = sign * (one.centroid[axis] - other.centroid[axis]) * grid.spacing[axis]
        cut = axis == 0 and (_cut_along_z(one) or _cut_along_z(other))
        if abs(offset_mm) > (_CUT_LEVEL_MM if cut else _LEVEL_MM):
            yield Relation(organ, reference, words, axis, offset_mm > 0)


def _cut_along_z(extent: Extent) -> bool:
    match extent.state:
        case CutOff(faces):
            return "inferior" in faces or "superior" in faces
        case _:
            return False


def isolation(organ: int, found: Mapping[int, Extent], grid: Grid) -> tuple[float, str]:
    """How near the organ's next neighbour is: 1 beside it, 0 far away or none found; and words."""
    gaps = {n: _gap_mm(found[organ], found[n], grid) for n in _NEIGHBOURS[organ] if n in found}
    if not gaps:
        return 0.0, "none of its neighbours is found"
    nearest = min(gaps, key=lambda n: gaps[n])
    score = min(1.0, max(0.0, (_FAR_MM - gaps[nearest]) / (_FAR_MM - _NEAR_MM)))
    return score, f"its nearest neighbour, the {NAMES[nearest]}, is {gaps[nearest]:.0f} mm away"


def _gap_mm(one: Extent, other: Extent, grid: Grid) -> float:
    """Distance of two boxes, mm."""
    gaps = (
        max(0, a - d, c - b) * mm
        for a, b, c, d, mm in zip(
            one.low, one.high, other.low, other.high, grid.spacing, strict=True
        )
    )
    return math.hypot(*gaps)
