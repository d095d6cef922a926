"""The voxels of a NIfTI file as they are stored: all of them, or an error that says why not."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip

from ..errors import HeaderError
from ..memory import Admit, check_memory
from .nifti_header import NiftiHeader
from .regular_file import open_regular

# Voxels behind the announced ones are read past to reach the checksum, but only so many.
_MAX_TRAILING_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 24


def stored_nifti(path: Path, admit: Admit = check_memory) -> tuple[NiftiHeader, npt.NDArray[Any]]:
    """The checked header and the voxels (z, y, x) in the file's type and byte order.

    ``admit`` is told how many bytes reading will take, before it takes them.

    Raises:
        HeaderError: see :meth:`NiftiHeader.parse`; also more or fewer bytes than announced, or more
            than there is memory for.
        EOFError, gzip.BadGzipFile, isal_zlib.error: the compressed data are cut or corrupt.
        OSError: the file is missing or may not be read.
    """
    with _open(path) as file:
        start = _read_up_to(file, 540)
        if not start:
            raise HeaderError("is empty", "copy the file again from its source")
        header = NiftiHeader.parse(start)
        voxels = math.prod(header.grid.shape)
        wanted = voxels * header.voxel_type.itemsize
        admit(wanted + voxels * (1 if header.voxel_type == np.int16 else 3))
        lead = start[header.data_offset :]
        gap = header.data_offset - len(start)
        if gap > 0:
            _skip(file, gap)
        data = np.empty(wanted, np.uint8)
        head = min(len(lead), wanted)
        data[:head] = np.frombuffer(lead, np.uint8, head)
        _fill(file, data.data[head:], wanted)
        trailing = 0
        while chunk := file.read(1 << 20):
            trailing += len(chunk)
            if trailing > _MAX_TRAILING_BYTES:
                raise HeaderError("goes on far beyond the volume that its header announces")
    return header, data.view(header.voxel_type).reshape(header.grid.shape)


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedIOBase]:
    """The file's contents, decompressed where they are compressed, whatever its name says."""
    with open_regular(path) as file:
        if file.peek(2)[:2] != b"\x1f\x8b":
            yield file
            return
        with igzip.open(file, "rb") as unzipped:
            yield unzipped


def _fill(file: io.BufferedIOBase, view: memoryview, wanted: int) -> None:
    while view:
        count = file.readinto(view[:_CHUNK_BYTES])
        if not count:
            raise HeaderError(
                f"holds {wanted - len(view)} of the {wanted} bytes that its header announces",
                "copy the file again from its source",
            )
        view = view[count:]


def _skip(file: io.BufferedIOBase, count: int) -> None:
    while count > 0:
        part = file.read(min(count, _CHUNK_BYTES))
        if not part:
            raise EOFError
        count -= len(part)


def _read_up_to(file: io.BufferedIOBase, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
