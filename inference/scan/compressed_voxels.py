"""Compressed voxels of NRRD and MetaImage: SimpleITK fills up with zeros what is missing."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isal import isal_zlib

from ..errors import HeaderError
from .regular_file import open_regular

_CHUNK_BYTES = 1 << 20
_AGAIN = "copy the file again from its source"


def check_compressed(path: Path, start: int, kind: str, wanted: int) -> None:
    """Decompress to nowhere, checksums included.

    Args:
        path: the file that holds the voxels.
        start: the first compressed byte.
        kind: ``zlib``, ``gzip`` or ``bzip2``.
        wanted: bytes that must come out.

    Raises:
        HeaderError: corrupt, or fewer bytes than wanted.
        EOFError: cut.
        isal_zlib.error: corrupt.
    """
    make: dict[str, Callable[[], Any]] = {
        "zlib": lambda: isal_zlib.decompressobj(wbits=zlib.MAX_WBITS),
        "gzip": lambda: isal_zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
        "bzip2": bz2.BZ2Decompressor,
    }
    decompressor, count = make[kind](), 0
    with open_regular(path) as file:
        file.seek(start)
        while not decompressor.eof and (chunk := file.read(_CHUNK_BYTES)):
            count += _through(decompressor, chunk, wanted - count)
    if not decompressor.eof:
        raise EOFError
    if count < wanted:
        raise HeaderError(f"holds {count} of the {wanted} bytes that its header announces", _AGAIN)


def _through(decompressor: Any, chunk: bytes, left: int) -> int:
    """Bytes that come out for ``chunk``, a bounded piece at a time."""
    count = 0
    while True:
        try:
            piece = decompressor.decompress(chunk, _CHUNK_BYTES)
        except OSError as error:  # bzip2's word for corrupt data
            raise HeaderError(f"the compressed data are corrupt ({error})", _AGAIN) from error
        count += len(piece)
        if count > left:
            raise HeaderError("goes on beyond the volume that its header announces")
        chunk = getattr(decompressor, "unconsumed_tail", b"")
        if decompressor.eof or not (piece or chunk):
            return count
