"""NRRD and MetaImage: a header of text, and voxels behind it or in one file beside it."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..grid import Grid
from ..machine.memory import Admit, check_memory
from ..types import Shape
from .axes import straighten
from .encoded import (
    AGAIN,
    MAX_TRAILING_BYTES,
    decoded,
    fill,
    fill_from_end,
    numbers,
    skip,
    to_end,
    what_follows,
)
from .limits import check_extent
from .metaimage import metaimage_header
from .nrrd import nrrd_header
from .regular_file import open_regular
from .text_header import TextHeader, VoxelFile, read_head

# A name's end, and what reads its header.
READERS: dict[str, Callable[[Path, bytes], TextHeader]] = {
    ".nrrd": nrrd_header,
    ".nhdr": nrrd_header,
    ".mha": metaimage_header,
    ".mhd": metaimage_header,
}
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True)
class StoredScan:
    """A scan as its file holds it.

    Attributes:
        voxels: (z, y, x), in the file's type and byte order.
        grid: where they lie, its axes at right angles.
        exact: the affine where the file's axes are slightly sheared, see :func:`straighten`.
        warnings: oddities that were accepted, in words.
    """

    voxels: npt.NDArray[Any]
    grid: Grid
    exact: npt.NDArray[np.float64] | None
    warnings: tuple[str, ...]


def stored_text_format(path: Path, admit: Admit = check_memory) -> StoredScan:
    """Read a .nrrd, .nhdr, .mha or .mhd.

    ``admit`` is told how many bytes reading will take, before it takes them.

    Raises:
        HeaderError: the header makes no sense, or there are fewer voxels than it announces.
        EOFError, isal_zlib.error: the compressed voxels are cut or corrupt.
        OSError: it is missing or may not be read.
    """
    # Opened once: whatever takes the file's place meanwhile, header and voxels belong together.
    with open_regular(path) as file:
        header = READERS[path.suffix.lower()](path, read_head(file))
        grid, exact, notes = straighten(header.grid)
        check_extent(grid)
        if header.voxels.path == path:
            voxels, left = _voxels(file, header.voxels, grid.shape, admit)
        else:
            with _beside(path, header.voxels.path) as other:
                voxels, left = _voxels(other, header.voxels, grid.shape, admit)
    return StoredScan(voxels, grid, exact, (*header.warnings, *notes, *left))


def _beside(header: Path, path: Path) -> io.BufferedReader:
    """The file that a header names, opened. Raises HeaderError."""
    try:
        return open_regular(path)
    except OSError as error:
        name = os.path.relpath(path, header.parent)
        if isinstance(error, IsADirectoryError):
            raise HeaderError(f"points at something that is no file ({name})") from error
        raise HeaderError(
            f"its voxels in {name} cannot be read ({error.strerror})",
            "put that file beside it, or correct the name in the header",
        ) from error


def _voxels(
    file: io.BufferedReader, where: VoxelFile, shape: Shape, admit: Admit
) -> tuple[npt.NDArray[Any], list[str]]:
    """The voxels, and in words what was left out behind them."""
    count = math.prod(shape)
    wanted = count * where.voxel_type.itemsize
    size = os.fstat(file.fileno()).st_size
    raw = where.encoding == "raw"
    file.seek(where.start)
    if raw and where.behind is not None:
        size -= where.behind
        file.seek(max(where.start, size - wanted))
    _skip_lines(file, where.lines)
    # zlib's own readers, MetaIO among them, take gzip for it.
    zipped = where.encoding == "zlib" and file.peek(2)[:2] == b"\x1f\x8b"
    stream = decoded(file, "gzip" if zipped else where.encoding)
    skip(stream, where.skip)
    trailing = size - file.tell() - wanted if raw else 0
    _check_length(trailing + wanted, wanted)
    admit(wanted + count * (1 if where.voxel_type == np.int16 else 3))
    if where.encoding == "text":
        voxels, more = numbers(file, where.voxel_type, count)
        left = "holds more numbers than its header announces: they are left out"
        return voxels.reshape(shape), [left] if more else []
    data = np.empty(wanted, np.uint8)
    if where.behind is None or raw:
        fill(stream, data.data, wanted)
        trailing += 0 if raw else to_end(stream)
    else:
        fill_from_end(stream, data.data, where.behind)
    return (
        data.view(where.voxel_type).reshape(shape),
        what_follows(stream, trailing, wanted // shape[0]),
    )


def _check_length(have: int, wanted: int) -> None:
    if have < wanted:
        raise HeaderError(
            f"holds {max(have, 0)} of the {wanted} bytes that its header announces", AGAIN
        )
    if have - wanted > MAX_TRAILING_BYTES:
        raise HeaderError("goes on far beyond the volume that its header announces")


def _skip_lines(file: io.BufferedReader, count: int) -> None:
    """Read past lines. Raises EOFError; HeaderError for what are no lines."""
    for _ in range(count):
        line = file.readline(_LONGEST_LINE)
        if not line:
            raise EOFError
        if not line.endswith(b"\n"):
            raise HeaderError("skips lines before its voxels where there are none")
