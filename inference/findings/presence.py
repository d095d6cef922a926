"""Whether a scan shows an organ whole, cut off by its border, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ..types import Shape

Face = Literal["inferior", "superior", "anterior", "posterior", "right", "left"]
FACES: tuple[Face, ...] = get_args(Face)


@dataclass(frozen=True, slots=True)
class Present:
    """The scan shows it, and it ends inside."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """It reaches the outermost voxels of the scan: a part of it may lie outside.

    Attributes:
        faces: of the scan, which it reaches; named by the patient's sides (the nearest ones where
            the scan is oblique).
    """

    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """No voxel has its label: it lies outside the scan, was removed, or was not found."""


Presence = Present | CutOff | Absent


def presence(low: Sequence[int], high: Sequence[int], shape: Shape) -> Present | CutOff:
    """Of what lies in the box from ``low`` to below ``high`` of a scan in canonical LPS order.

    Args:
        low, high: voxel indices (z, y, x).
        shape: voxels of the scan along (z, y, x).
    """
    reached = []
    for axis, (first, last, n) in enumerate(zip(low, high, shape, strict=True)):
        reached += [FACES[2 * axis]] * (first == 0) + [FACES[2 * axis + 1]] * (last == n)
    return CutOff(tuple(reached)) if reached else Present()


def name(state: Presence) -> str:
    """``present``, ``cut off`` or ``absent``."""
    match state:
        case Present():
            return "present"
        case CutOff():
            return "cut off"
        case Absent():
            return "absent"
