"""The voxels of a NIfTI file as they are stored: all of them, or an error that says why not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..machine.memory import Admit, check_memory
from .encoded import AGAIN, Decoded, decoded, fill, skip, to_end, what_follows
from .nifti_header import NiftiHeader
from .regular_file import open_regular


def stored_nifti(path: Path, admit: Admit = check_memory) -> tuple[NiftiHeader, npt.NDArray[Any]]:
    """The checked header and the voxels (z, y, x) in the file's type and byte order.

    ``admit`` is told how many bytes reading will take, before it takes them.

    Raises:
        HeaderError: see :meth:`NiftiHeader.parse`; also more or fewer bytes than announced, or more
            than there is memory for.
        EOFError, isal_zlib.error: the compressed data are cut or corrupt.
        OSError: the file is missing or may not be read.
    """
    with _open(path) as file:
        start = _read_up_to(file, 540)
        if not start:
            raise HeaderError("is empty", AGAIN)
        header = NiftiHeader.parse(start)
        voxels = math.prod(header.grid.shape)
        wanted = voxels * header.voxel_type.itemsize
        admit(wanted + voxels * (1 if header.voxel_type == np.int16 else 3))
        lead = start[header.data_offset :]
        gap = header.data_offset - len(start)
        if gap > 0:
            skip(file, gap)
        data = np.empty(wanted, np.uint8)
        head = min(len(lead), wanted)
        data[:head] = np.frombuffer(lead, np.uint8, head)
        fill(file, data.data[head:], wanted)
        trailing = to_end(file)
        notes = what_follows(file, trailing, wanted // header.grid.shape[0])
    if trailing and int(header.fields["bitpix"]) > 8 * header.voxel_type.itemsize:
        raise HeaderError(
            f"says {int(header.fields['bitpix'])} bits per voxel and holds more than its type needs"
        )
    if trailing and header.data_offset < header.fields.dtype.itemsize + 4:
        raise HeaderError(
            f"puts the voxels at byte {header.data_offset}, where four bytes of the header may be"
        )
    header = replace(header, warnings=(*header.warnings, *notes))
    return header, data.view(header.voxel_type).reshape(header.grid.shape)


@contextmanager
def _open(path: Path) -> Iterator[Decoded]:
    """The file's contents, decompressed where they are compressed, whatever its name says."""
    with open_regular(path) as file:
        yield decoded(file, "gzip" if file.peek(2)[:2] == b"\x1f\x8b" else "raw")


def _read_up_to(file: Decoded, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
