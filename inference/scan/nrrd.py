"""What SimpleITK's NRRD reader overlooks: compressed voxels that are cut or corrupt."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import HeaderError
from .compressed_voxels import check_compressed
from .regular_file import beside

_LONGEST_HEADER = 1 << 20
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_KINDS = {"gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}


def check_nrrd(path: Path, wanted: int) -> None:
    """Decompress the voxels to nowhere, if they are compressed.

    Args:
        path: header, or header and voxels.
        wanted: bytes of the voxels, decompressed.

    Raises:
        HeaderError, EOFError, isal_zlib.error: cut or corrupt.
        OSError: the file with the voxels cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(_LONGEST_HEADER)
    blank = _BLANK_LINE.search(data)
    header = data[: blank.start()] if blank else data
    fields: dict[str, str] = {}
    for line in header.decode("latin-1").splitlines():
        key, separator, value = line.partition(": ")
        if separator:
            fields[key.lower().replace(" ", "")] = value.strip()
    kind = _KINDS.get(fields.get("encoding", "").lower())
    if kind is None:
        return
    if "lineskip" in fields or "byteskip" in fields:
        raise HeaderError("skips lines or bytes before its compressed voxels")
    if "datafile" in fields:
        check_compressed(beside(path, fields["datafile"]), 0, kind, wanted)
    else:
        check_compressed(path, blank.end() if blank else len(data), kind, wanted)
