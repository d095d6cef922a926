"""Contours of masks along the edges of their pixels: closed, planar, holes joined by keyholes.

A contour encloses its pixels whole, corner to corner: its area is theirs, and on any other raster
the centres within it are those whose nearest pixel is the mask's. (Through the midpoints between
centres, as by marching squares, it would cut corners, three hundredths of an adrenal gland; through
the centres of the outermost pixels it would lose half a pixel all around.)
Pixels that touch by a corner are apart. A hole and what surrounds it become one contour with a
channel of no width between them, which is DICOM's keyhole technique (PS3.3, C.8.8.6.3): whatever
fills polygons reads it right, by the even-odd rule or not, one contour at a time or all together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...types import Mask

# (row, column) steps. A crack between a pixel inside and its neighbour outside is walked along with
# the inside on the left: with the outside to the east, north, west, south one goes north, west, ...
_OUTSIDE = np.array([(0, 1), (-1, 0), (0, -1), (1, 0)])
_AHEAD = np.array([(-1, 0), (0, -1), (1, 0), (0, 1)])
_NORTH = 1
_SLAB_VOXELS = 1 << 23

Points = npt.NDArray[np.float64]  # (n, 2): row and column, in pixels, (0, 0) the first centre


def contours(mask_KRC: Mask) -> list[list[Points]]:
    """The contours of each slice of a mask.

    Args:
        mask_KRC: (slices, rows, columns).

    Returns:
        For each slice its contours; the first point of each is not repeated at its end.
    """
    found: list[list[Points]] = [[] for _ in range(len(mask_KRC))]
    occupied = np.flatnonzero(mask_KRC.any((1, 2)))
    if not len(occupied):
        return found
    rows = np.flatnonzero(mask_KRC.any((0, 2)))
    columns = np.flatnonzero(mask_KRC.any((0, 1)))
    top, left = int(rows[0]), int(columns[0])
    box = (slice(top, int(rows[-1]) + 1), slice(left, int(columns[-1]) + 1))
    count = max(1, _SLAB_VOXELS // mask_KRC[0][box].size)
    for start in range(0, len(occupied), count):
        slices = occupied[start : start + count]
        for index, corner in _slab(mask_KRC[slices, box[0], box[1]]):
            points = _without_straight(corner) + np.array((top, left))
            found[slices[index]].append(points)
    return found


def _slab(mask_KRC: Mask) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """(slice, points in half pixels) of every contour, keyholes cut."""
    padded = np.pad(mask_KRC, ((0, 0), (1, 1), (1, 1)))
    _, height, width = padded.shape
    ids, following = _cracks(padded)
    side, pixel = np.divmod(ids, padded.size)
    slices, within = np.divmod(pixel, height * width)
    places = np.stack(np.divmod(within, width), 1) - 1  # of the pixels, without the rim
    middles = 2 * places + _OUTSIDE[side]
    starts = middles - _AHEAD[side]
    # A crack's start is its number, its middle the number after all starts.
    points, count = np.concatenate((starts, middles)), len(ids)
    outer, holes = [], {}
    for loop in _loops(following.tolist()):
        top = loop[int(middles[loop, 0].argmin())]
        if side[top] == _NORTH:
            outer.append(loop)
            continue
        # Above a hole's top the mask goes on, up to the contour that surrounds it or is another's.
        above = int(pixel[top])
        while padded.flat[above - width]:
            above -= width
        holes[int(np.searchsorted(ids, _NORTH * padded.size + above))] = (loop, top)
    return [(int(slices[loop[0]]), points[_with_holes(loop, holes, count)]) for loop in outer]


def _with_holes(outer: list[int], holes: dict[int, tuple[list[int], int]], count: int) -> list[int]:
    """The points of a contour, of the holes that hang on its cracks, and of those on theirs.

    The channel to a hole runs through the pixels' middles, from a crack's to that above it.

    Args:
        outer: the contour's cracks.
        holes: for a crack, the hole that lies below it, and that one's top. Used up.
        count: of all cracks; ``count + i`` is the middle of crack ``i``, ``i`` its start.
    """
    if not holes:
        return outer
    walked: list[int] = []
    stack = [iter(outer)]
    while stack:
        point = next(stack[-1], None)
        if point is None:
            stack.pop()
            continue
        walked.append(point)
        if point in holes:
            loop, top = holes.pop(point)
            at = loop.index(top)
            ways = count + point, count + top
            stack.append(iter((*ways, *loop[at + 1 :], *loop[: at + 1], *ways[::-1])))
    return walked


def _cracks(padded: Mask) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids (side x size + pixel) of all cracks, rising, and for each the index of the next one."""
    width, flat, size = padded.shape[2], padded.reshape(-1), padded.size
    inside = np.flatnonzero(flat)
    ids, nexts = [], []
    for side in range(4):
        out = int(_OUTSIDE[side] @ (width, 1))
        ahead = int(_AHEAD[side] @ (width, 1))
        pixel = inside[~flat[inside + out]]
        free_left, free_right = ~flat[pixel + ahead], ~flat[pixel + ahead + out]
        left = (side + 1) % 4 * size + pixel
        straight = side * size + pixel + ahead
        right = (side - 1) % 4 * size + pixel + ahead + out
        ids.append(side * size + pixel)
        nexts.append(np.where(free_left, left, np.where(free_right, straight, right)))
    every = np.concatenate(ids)
    return every, np.searchsorted(every, np.concatenate(nexts))


def _loops(following: list[int]) -> list[list[int]]:
    """The cycles of a permutation."""
    seen = bytearray(len(following))
    loops = []
    for first in range(len(following)):
        if seen[first]:
            continue
        loop, at = [], first
        while not seen[at]:
            seen[at] = 1
            loop.append(at)
            at = following[at]
        loops.append(loop)
    return loops


def _without_straight(corners: npt.NDArray[np.int64]) -> Points:
    """Points in pixels, those on a straight way left out."""
    before = corners - np.roll(corners, 1, 0)
    after = np.roll(corners, -1, 0) - corners
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    # A keyhole's way in and out lies on one line, too, but turns round.
    onward = (before * after).sum(1) > 0
    points: Points = corners[(cross != 0) | ~onward] / 2.0
    return points
