"""Oddities of a scan that its labels show: mirrored, upside down, another size, no abdomen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median

from ..grid import Grid
from ..labels import NAMES
from .extents import Extent
from .hounsfield import Hounsfield
from .neighbourhood import relations
from .presence import CutOff, Face, Present
from .reference_volumes import REFERENCES

_AORTA = 5
# On 26 abdominal and chest CTs of 40 to 480 mm a teacher's aorta is 1.2 to 5.9 % of all it labels;
# the first bundled model's is 0.2 % of what it draws into a head and 0.1 % into legs.
_LEAST_SHARE = 0.005
_LEAST_ML = 50.0
_TURNED = {
    0: "head and feet", 1: "front and back", 2: "left and right",
}  # fmt: skip
_ACROSS = 2
# In 42 scans there is at least 0.9 times as much tissue as bright as the liver on the right as on
# the left; mirrored, at most 0.72 times as much in 37 of them.
_LEAST_RIGHT, _LEAST_LIKE_ML = 0.72, 100.0
# Of the places that can be told, how many at least and which share must be wrong along an axis.
_LEAST_PLACES, _MOST_WRONG = 3, 0.5
# How far all whole organs may be off their typical volume, as a median, and how many at least.
_SMALL, _LARGE, _LEAST_WHOLE = 0.4, 2.2, 3
_SOFT_ORGANS = (1, 2, 3, 4, 13)
_SOFT_HU = (-40.0, 350.0)
_SIDES: tuple[Face, ...] = ("anterior", "posterior", "right", "left")
_MOST_SPACING_MM = 8.0


def scan_doubts(
    found: Mapping[int, Extent],
    volumes_ml: Mapping[int, float],
    hu: Mapping[int, Hounsfield],
    grid: Grid,
    liver_like_ml: tuple[float, float],
) -> tuple[str, ...]:
    """What is odd, in words.

    Args:
        found: extents by label.
        volumes_ml: of the organs among them.
        hu: by label.
        grid: of the extents, in canonical LPS order.
        liver_like_ml: tissue as bright as the liver, on the right and on the left.
    """
    said = (
        *_abdomen(volumes_ml),
        *_turned(found, grid, liver_like_ml),
        *_size(found, volumes_ml),
        *_scale(hu),
        *_field_of_view(found),
        *_slices(grid),
    )
    return tuple(said)


def _abdomen(volumes_ml: Mapping[int, float]) -> Iterator[str]:
    total, aorta = sum(volumes_ml.values()), volumes_ml.get(_AORTA, 0.0)
    if total >= _LEAST_ML and aorta < _LEAST_SHARE * total:
        yield (
            f"{total:.0f} ml of organs are found and {aorta:.1f} ml of aorta: is there an abdomen?"
        )


def _turned(
    found: Mapping[int, Extent], grid: Grid, liver_like_ml: tuple[float, float]
) -> Iterator[str]:
    places = list(relations(found, grid))
    check = "check the scan's orientation"
    for axis, words in _TURNED.items():
        told = [place for place in places if place.axis == axis]
        wrong = [place for place in told if not place.holds]
        if len(told) >= _LEAST_PLACES and len(wrong) > _MOST_WRONG * len(told):
            one = f"the {NAMES[wrong[0].organ]} is not {wrong[0].words} "
            one += f"the {NAMES[wrong[0].reference]}"
            yield (
                f"{words} seem to be exchanged: {len(wrong)} of {len(told)} places of organs are, "
                f"{one}; {check}"
            )
        elif axis == _ACROSS:
            right, left = liver_like_ml
            if left >= _LEAST_LIKE_ML and right < _LEAST_RIGHT * left:
                yield (
                    f"{words} seem to be exchanged: {left:.0f} ml as bright as the liver lie on "
                    f"the left and {right:.0f} ml on the right; {check}"
                )


def _size(found: Mapping[int, Extent], volumes_ml: Mapping[int, float]) -> Iterator[str]:
    whole = [
        math.log(ml / REFERENCES[label].typical)
        for label, ml in volumes_ml.items()
        if REFERENCES[label].typical and isinstance(found[label].state, Present)
    ]
    if len(whole) < _LEAST_WHOLE:
        return
    ratio = math.exp(median(whole))
    if not _SMALL <= ratio <= _LARGE:
        yield (f"organs have {ratio:.2f} times an adult's volumes: a child, or a wrong spacing")


def _scale(hu: Mapping[int, Hounsfield]) -> Iterator[str]:
    values = [hu[label].p50 for label in _SOFT_ORGANS if label in hu]
    low, high = _SOFT_HU
    if values and not low <= median(values) <= high:
        yield f"solid organs have {median(values):.0f} HU: the values may be no HU"


def _field_of_view(found: Mapping[int, Extent]) -> Iterator[str]:
    cut: dict[Face, list[str]] = {}
    for label, extent in found.items():
        if isinstance(extent.state, CutOff) and label in NAMES:
            for face in extent.state.faces:
                if face in _SIDES:
                    cut.setdefault(face, []).append(NAMES[label])
    for face, names in cut.items():
        yield f"the field of view cuts {' and '.join(names)} at its {face} side"


def _slices(grid: Grid) -> Iterator[str]:
    if grid.spacing[0] > _MOST_SPACING_MM:
        yield f"slices of {grid.spacing[0]:.1f} mm: small organs lie between them"
