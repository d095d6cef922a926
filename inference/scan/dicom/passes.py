"""Passes over the patient within one series: arterial and venous, two kernels, a repeated scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...errors import HeaderError
from .headers import Header

# Fewer slices are no stack of an abdomen, but a localizer, a reference or a measurement.
FEWEST_SLICES = 8
SAME_PLACE_MM = 0.01


def axes_of(header: Header) -> npt.NDArray[np.float64]:
    """Unit vectors along a row, down a column, and along the normal, as the rows of a matrix.

    Raises:
        HeaderError: the orientation is none.
    """
    row, column = np.array(header.frame.orientation, float).reshape(2, 3)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not all(0.9 < length < 1.1 for length in lengths):
        raise HeaderError("states an orientation whose vectors have not length 1")
    row, column = row / lengths[0], column / lengths[1]
    if abs(row @ column) > 0.02:
        raise HeaderError("states an orientation whose axes are not at right angles")
    column = column - (row @ column) * row
    column /= np.linalg.norm(column)
    return np.stack((row, column, np.cross(row, column)))


def along_normal(headers: Sequence[Header]) -> npt.NDArray[np.float64]:
    """Where slices of one orientation lie along their normal, mm. Raises HeaderError."""
    positions = np.array([header.frame.position for header in headers], float)
    along: npt.NDArray[np.float64] = positions @ axes_of(headers[0])[2]
    return along


def passes(headers: list[Header]) -> list[list[Header]]:
    """The passes over the patient that a group holds: by acquisition, reconstruction, time."""
    try:
        along = along_normal(headers)
    except HeaderError:  # its reader says so
        return [headers]
    places = {id(header): int(p) for header, p in zip(headers, ranks(along), strict=True)}
    extent = {id(header): float(a) for header, a in zip(headers, along, strict=True)}
    keys: list[Callable[[Header], object]] = [
        lambda h: _sortable(h.acquisition),
        lambda h: h.passes,
        lambda h: h.time,
    ]
    for key in keys:
        found = _in_turn(headers, key, places, extent)
        if len(found) > 1 and max(map(len, found)) >= FEWEST_SLICES:
            return [part for one in found for part in passes(one)]
    return [headers]


def _in_turn(
    headers: list[Header],
    key: Callable[[Header], object],
    places: dict[int, int],
    extent: dict[int, float],
) -> list[list[Header]]:
    """Slices in the order of ``key``; a new pass begins where a place is taken again.

    Or where, between the slices of the pass, the next key's slices run over the same way.
    """
    by_key: dict[object, list[Header]] = {}
    for header in headers:
        by_key.setdefault(key(header), []).append(header)
    found: list[list[Header]] = []
    taken: set[int] = set()
    for value in sorted(by_key, key=repr) if len(by_key) > 1 else []:
        part = by_key[value]
        here = {places[id(header)] for header in part}
        if found and not (taken & here or _runs_over(found[-1], part, extent)):
            found[-1] += part
            taken |= here
        else:
            found.append(list(part))
            taken = here
    return found


def _runs_over(one: list[Header], other: list[Header], extent: dict[int, float]) -> bool:
    """Whether the second's slices lie for more than half of their way among the first's."""
    if min(len(one), len(other)) < FEWEST_SLICES:
        return False
    a = [extent[id(header)] for header in one]
    b = [extent[id(header)] for header in other]
    shared = min(max(a), max(b)) - max(min(a), min(b))
    return shared > 0.5 * min(max(a) - min(a), max(b) - min(b))


def _sortable(number: str) -> tuple[str, str]:
    return (number.zfill(12) if number.isdecimal() else "", number)


def ranks(along: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """A number for each place; equal for slices at the same one."""
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order]) > SAME_PLACE_MM
    ranks = np.empty(len(along), np.int64)
    ranks[order] = np.concatenate(([0], np.cumsum(steps)))
    return ranks
