"""One stack of slices on one grid: where each lies, what is missing between, how they are shifted.

Slices are put in order along their normal by Image Position (Patient) alone: instance numbers, file
names and Slice Location promise nothing. Where they do not form a rectangular grid of their own
(uneven steps, a tilted gantry), one is laid over them for the network, and the way back is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import HeaderError
from ...grid import Direction, Grid
from ..limits import check_grid, check_spacing
from .headers import Header
from .passes import SAME_PLACE_MM, along_normal, axes_of
from .series import Series
from .source import DicomSource

# Steps differ by what scanners round positions to; labels go back to the slices themselves.
_EVEN_SHARE, _EVEN_MM = 0.15, 0.1
# A step of four, where those around are one, lacks three slices.
_MOST_MISSING = 2
_AROUND = 5
# Less than half a pixel from first to last is no tilt.
_STRAIGHT_PIXELS = 0.5
_NAMED_GAPS = 3
_AXES = "xyz"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stack:
    """The slices of a series in order, and the grid of the volume that is made of them.

    Attributes:
        headers: one for each place, along the normal.
        doubles: further slices at the place of ``headers[k]``, as (k, slice).
        index: where each slice lies on the volume's z axis; whole numbers unless ``uneven``.
        shifts: (n, 2): pixels by which each slice is moved down and right on the volume's grid.
        uneven: slices are interpolated to even steps; else each is one of the volume's.
        source: the frames, the grid, and the way back.
        notes: what is odd, in words.
    """

    headers: tuple[Header, ...]
    doubles: tuple[tuple[int, Header], ...]
    index: Floats
    shifts: Floats
    uneven: bool
    source: DicomSource
    notes: tuple[str, ...]


def stack_of(series: Series) -> Stack:
    """Put the slices of a series in order.

    Raises:
        HeaderError: more than two neighbouring slices are missing; slices lie beside one another
            rather than over; or the grid is none that a CT has.
    """
    headers, doubles = _in_order(series.headers)
    along = along_normal(headers)
    if len(headers) < 2:
        raise HeaderError("is a single slice", "give the folder of the whole series")
    check_spacing(np.array(headers[0].frame.pixel_spacing))
    notes = [*series.notes, *_lost_uids(headers)]
    index, step, uneven = _steps(headers, along, notes)
    shifts, corner = _shifts(headers, along, notes)
    count = round(float(index[-1])) + 1
    grid = _grid(headers[0], corner, step, count, shifts)
    check_grid(grid)
    first = headers[0]
    source = DicomSource(
        frames=tuple(header.frame for header in headers),
        study_uid=first.study_uid,
        series_uid=first.series_uid,
        frame_of_reference_uid=first.frame_of_reference_uid,
        grid=grid,
        slices=tuple(int(i) for i in np.rint(index)),
        offsets=tuple((int(row), int(column)) for row, column in np.rint(shifts)),
        exact=not uneven and not np.any(shifts % 1),
    )
    return Stack(headers, doubles, index, shifts, uneven, source, tuple(notes))


def _lost_uids(headers: tuple[Header, ...]) -> list[str]:
    """What anonymisers leave who give every slice the same UID, in words."""
    uids = {header.frame.sop_instance_uid for header in headers}
    if len(uids) == len({header.frame.file for header in headers}):
        return []
    return ["slices share SOP Instance UIDs: DICOM results cannot refer to single ones"]


def _in_order(
    headers: tuple[Header, ...],
) -> tuple[tuple[Header, ...], tuple[tuple[int, Header], ...]]:
    """One slice for each place along the normal, and those that lie where another does."""
    along = along_normal(headers)
    ordered: list[Header] = []
    doubles: list[tuple[int, Header]] = []
    last = -np.inf
    # Ties by file, so that the same one of two duplicates is taken whatever the folder's order.
    by_place = sorted(range(len(headers)), key=lambda i: (along[i], str(headers[i].frame.file)))
    for i in by_place:
        if along[i] - last > SAME_PLACE_MM:
            ordered.append(headers[i])
            last = along[i]
            continue
        first, second = ordered[-1].frame.position, headers[i].frame.position
        if max(abs(a - b) for a, b in zip(first, second, strict=True)) > 2 * SAME_PLACE_MM:
            raise HeaderError(
                f"holds slices side by side ({name_of(ordered[-1])} and {name_of(headers[i])})",
                "give them as series of their own",
            )
        doubles.append((len(ordered) - 1, headers[i]))
    return tuple(ordered), tuple(doubles)


def _steps(
    headers: tuple[Header, ...], along: Floats, notes: list[str]
) -> tuple[Floats, float, bool]:
    """(where each slice lies in steps, the step in mm, whether that is resampling).

    Raises:
        HeaderError: more than two neighbouring slices are missing.
    """
    steps = np.diff(along)
    usual = np.array([
        np.median(steps[max(0, i - _AROUND) : i + _AROUND + 1]) for i in range(len(steps))
    ])  # fmt: skip
    gaps = np.flatnonzero(steps > 1.5 * usual)
    missing = np.rint(steps / usual).astype(int) - 1
    wide = [int(g) for g in gaps if missing[g] > _MOST_MISSING]
    if wide:
        raise HeaderError(
            f"lacks slices: {_gaps(headers, wide, missing)}",
            "send the missing slices again, or give the parts as series of their own",
        )
    extent, many = float(along[-1] - along[0]), 2 * len(along)
    whole = np.maximum(np.rint(steps / np.median(steps)), 1)
    index = np.concatenate(([0.0], np.cumsum(whole)))
    step = extent / float(index[-1])
    off = float(np.abs(along - along[0] - index * step).max())
    if off <= min(_EVEN_SHARE * step, _EVEN_MM) and index[-1] < many:
        if len(gaps):
            notes.append(f"interpolated: {_gaps(headers, list(gaps), missing)}")
        elif index[-1] >= len(along):
            notes.append(_unequal(steps, step))
        return index, step, False
    # The finest step, so that the finest slices keep their detail, but no flood of slices.
    count = max(2, round(extent / max(float(steps.min()), extent / many)) + 1)
    step = extent / (count - 1)
    notes.append(_unequal(steps, step))
    return (along - along[0]) / step, step, True


def _unequal(steps: Floats, step: float) -> str:
    return (
        f"the slices lie {steps.min():.2f} to {steps.max():.2f} mm apart: resampled to even steps "
        f"of {step:.2f} mm; DICOM labels lie on the slices themselves"
    )


def _gaps(headers: tuple[Header, ...], gaps: list[int], missing: npt.NDArray[np.int64]) -> str:
    """Where slices are missing, in patient coordinates."""
    axis = int(np.abs(axes_of(headers[0])[2]).argmax())
    words = [
        f"{missing[g]} missing between {_AXES[axis]} = {headers[g].frame.position[axis]:.2f} and "
        f"{headers[g + 1].frame.position[axis]:.2f} mm"
        for g in gaps[:_NAMED_GAPS]
    ]
    more = len(gaps) - len(words)
    return ", ".join(words) + (f", and {more} gaps more" if more else "")


def _shifts(headers: tuple[Header, ...], along: Floats, notes: list[str]) -> tuple[Floats, Floats]:
    """How far each slice lies down and right of the grid's first corner, in pixels; that corner."""
    row, column, normal = axes_of(headers[0])
    positions = np.array([header.frame.position for header in headers])
    rest = positions - positions[0] - np.outer(along - along[0], normal)
    down_mm, right_mm = rest @ column, rest @ row
    spacing = headers[0].frame.pixel_spacing
    shifts = np.stack((down_mm / spacing[0], right_mm / spacing[1]), axis=1)
    spread = np.ptp(shifts, axis=0)
    if (spread <= _STRAIGHT_PIXELS).all():
        return np.zeros_like(shifts), positions[0]
    frame = headers[0].frame
    if (spread > 2 * np.array((frame.rows, frame.columns))).any():
        raise HeaderError("holds slices that do not lie over one another", "check their positions")
    corner = positions[0] + down_mm.min() * column + right_mm.min() * row
    notes.append(_tilt(along, down_mm, right_mm))
    return np.round(shifts - shifts.min(axis=0), 6), corner


def _tilt(along: Floats, down_mm: Floats, right_mm: Floats) -> str:
    slopes = [np.polyfit(along - along.mean(), mm, 1) for mm in (down_mm, right_mm)]
    fitted = [np.polyval(line, along - along.mean()) for line in slopes]
    off = max(
        float(np.abs(mm - f).max()) for mm, f in zip((down_mm, right_mm), fitted, strict=True)
    )
    way = "; DICOM labels lie on the slices themselves"
    if off > 1.0:
        return f"the slices are shifted against each other by up to {off:.1f} mm: put in line" + way
    angle = float(np.degrees(np.arctan(np.hypot(slopes[0][0], slopes[1][0]))))
    return f"the gantry is tilted by {angle:.1f} degrees: its shear is undone" + way


def _grid(first: Header, corner: Floats, step: float, count: int, shifts: Floats) -> Grid:
    row, column, normal = axes_of(first)
    frame = first.frame
    more = np.ceil(shifts.max(axis=0)).astype(int)
    a, b, c, d, e, f, g, h, i = (
        float(v) + 0.0 for v in np.column_stack((row, column, normal)).ravel()
    )
    direction: Direction = (a, b, c, d, e, f, g, h, i)
    return Grid(
        (count, frame.rows + int(more[0]), frame.columns + int(more[1])),
        (step, frame.pixel_spacing[0], frame.pixel_spacing[1]),
        (float(corner[0]), float(corner[1]), float(corner[2])),
        direction,
    )


def name_of(header: Header) -> str:
    """What a person calls a slice: its file, and its frame where that has several."""
    file = header.frame.file
    name = (file.member or file.path.name).rpartition("/")[2]
    return f"{name} frame {header.frame.frame + 1}" if header.frame.frame else name
