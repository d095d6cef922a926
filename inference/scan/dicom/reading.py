"""A DICOM series as one volume of HU, and the way of its labels back to the slices."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import HeaderError
from ...machine.memory import Admit
from ...machine.threads import worker_count
from ...types import Image
from .candidates import candidates
from .gdcm import Gdcm
from .headers import Header
from .pixels import AIR_HU, read_frames
from .series import Series, find_series
from .source import DicomSource
from .stack import Stack, name_of, stack_of


def only_series(path: Path) -> Series:
    """The one series of a file, folder, tree or .zip.

    Raises:
        HeaderError: there is none, or there are several.
    """
    found = candidates(path)
    series, left_out = find_series(found, path)
    if len(series) == 1:
        return series[0]
    if series:
        names = ", ".join(s.name for s in series[:5])
        raise HeaderError(f"holds {len(series)} CT series ({names})", "give one of them")
    reasons = dict.fromkeys(out.reason for out in left_out)
    said = f": {'; '.join(list(reasons)[:3])}" if reasons else ""
    raise HeaderError(f"holds no CT series{said}", "give a CT series, whole")


def source_of(path: Path) -> DicomSource:
    """The frames of the one series at ``path`` and the grid of its volume; no pixels are read.

    Raises:
        HeaderError: see :func:`only_series` and :func:`inference.scan.dicom.stack.stack_of`.
    """
    return stack_of(only_series(path)).source


def stored_series(series: Series, admit: Admit) -> tuple[Image, DicomSource, tuple[str, ...]]:
    """HU (z, y, x), the source, and what is odd about it in words.

    Args:
        series: of :func:`inference.scan.dicom.series.find_series`.
        admit: told how many bytes reading will take, before it takes them.

    Raises:
        HeaderError: the stack lacks slices, a file is damaged, or slices at one place differ.
        OSError: a file cannot be read any more.
    """
    stack = stack_of(series)
    grid, n = stack.source.grid, len(stack.headers)
    plane = grid.shape[1] * grid.shape[2]
    # The slices, the volume on even steps where that is another, and the labels.
    admit(plane * (2 * n * stack.uneven + 3 * grid.shape[0]))
    notes = dict.fromkeys(stack.notes)
    slots = np.arange(n) if stack.uneven else np.rint(stack.index).astype(int)
    planes = _Planes((n if stack.uneven else grid.shape[0], *grid.shape[1:]))
    for k, hu in _slices(list(stack.headers), notes):
        planes.put(int(slots[k]), hu, stack.shifts[k])
    _compare(stack, notes)
    index = stack.index if stack.uneven or n < grid.shape[0] else None
    voxels = planes.voxels if index is None else _filled(planes.voxels, slots, index, grid.shape[0])
    return voxels, stack.source, tuple(notes)


class _Planes:
    """Slices on the volume's in-plane grid, int16 until one of them is not whole."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.voxels: npt.NDArray[Any] = np.empty(shape, np.int16)

    def put(self, slot: int, hu: Image, shift: npt.NDArray[np.float64]) -> None:
        if hu.dtype != np.int16 and self.voxels.dtype == np.int16:
            self.voxels = self.voxels.astype(np.float32)
        plane = self.voxels[slot]
        if plane.shape == hu.shape:
            plane[:] = hu
            return
        plane[:] = AIR_HU
        moved = hu.astype(np.float32)
        whole = np.floor(shift).astype(int)
        for axis, part in enumerate(shift - whole):
            if part:
                # Between two pixels, held at the border.
                edge = [(0, 0), (0, 0)]
                edge[axis] = (1, 1)
                wide = np.pad(moved, edge, mode="edge")
                before = np.delete(wide, -1, axis)
                moved = before * np.float32(part) + np.delete(wide, 0, axis) * np.float32(1 - part)
        if plane.dtype == np.int16:
            moved = np.rint(moved)
        rows, columns = moved.shape
        plane[whole[0] : whole[0] + rows, whole[1] : whole[1] + columns] = moved


def _slices(headers: list[Header], notes: dict[str, None]) -> Iterator[tuple[int, Image]]:
    """Each slice's index and HU, several files at a time. Raises HeaderError, naming the file."""
    by_file: dict[object, list[int]] = {}
    for k, header in enumerate(headers):
        by_file.setdefault(header.frame.file, []).append(k)

    def read(places: list[int]) -> tuple[list[tuple[int, Image]], dict[str, None]]:
        said: dict[str, None] = {}
        return list(_of_file(headers, places, said, gdcm)), said

    jobs = list(by_file.values())
    count = min(worker_count(), len(jobs))
    if count < 2:
        with Gdcm() as gdcm:
            for places in jobs:
                yield from _of_file(headers, places, notes, gdcm)
        return
    with Gdcm() as gdcm, ThreadPoolExecutor(count) as threads:
        try:
            # A window of them, so that slices do not pile up.
            waiting = deque(threads.submit(read, places) for places in jobs[: 4 * count])
            left = iter(jobs[4 * count :])
            while waiting:
                slices, said = waiting.popleft().result()
                waiting.extend(threads.submit(read, places) for places in islice(left, 1))
                notes.update(said)
                yield from slices
        finally:
            threads.shutdown(cancel_futures=True)


def _of_file(
    headers: list[Header], places: list[int], notes: dict[str, None], gdcm: Gdcm
) -> Iterator[tuple[int, Image]]:
    """The slices of one file. Raises HeaderError, which names it."""
    frames = {headers[k].frame.frame: k for k in places}
    first = headers[places[0]].frame
    numbers = sorted(frames)
    try:
        for number, hu in read_frames(first.file, numbers, first.rows, first.columns, notes, gdcm):
            yield frames[number], hu
    except HeaderError as error:
        raise HeaderError(f"{name_of(headers[places[0]])} {error}", error.remedy) from error


def _compare(stack: Stack, notes: dict[str, None]) -> None:
    """Refuse slices that lie at one place and differ. Raises HeaderError."""
    for k, other in stack.doubles:
        (_, first), (_, second) = (
            next(_slices([header], notes)) for header in (stack.headers[k], other)
        )
        if not np.array_equal(first, second):
            x, y, z = other.frame.position
            raise HeaderError(
                f"holds different slices at one place, ({x:g}, {y:g}, {z:g}) mm: "
                f"{name_of(stack.headers[k])} and {name_of(other)}",
                "give each pass as a series of its own",
            )
    if stack.doubles:
        count = len(stack.doubles)
        slices = "1 slice is" if count == 1 else f"{count} slices are"
        notes[f"{slices} there twice and equal: one of each is taken"] = None


def _filled(
    planes: npt.NDArray[Any],
    slots: npt.NDArray[np.int64],
    index: npt.NDArray[np.float64],
    count: int,
) -> npt.NDArray[Any]:
    """The volume of ``count`` even steps, interpolated linearly between the slices on either side.

    Args:
        planes: slice ``k`` is ``planes[slots[k]]``; where that is the volume itself, only the
            missing ones are made, in place.
        index: where the slices lie, in steps.
    """
    there = len(planes) == count and bool(np.array_equal(index, slots))
    out = planes if there else np.empty((count, *planes.shape[1:]), planes.dtype)
    for z in range(count):
        k = int(np.searchsorted(index, z + 1e-9, side="right")) - 1
        if there and index[k] == z:
            continue
        after = min(k + 1, len(index) - 1)
        gap = index[after] - index[k]
        weight = np.float32((z - index[k]) / gap) if gap else np.float32(0)
        low = planes[slots[k]].astype(np.float32)
        mixed = low + weight * (planes[slots[after]] - low)
        out[z] = np.rint(mixed) if planes.dtype == np.int16 else mixed
    return out
