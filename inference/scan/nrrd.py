"""NRRD headers, read as ITK (NrrdImageIO) reads them.

https://teem.sourceforge.net/nrrd/format.html. Where ITK guesses, so does this, and says so; what
teem refuses is refused, but for a few fields that can be understood.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import HeaderError
from .encoded import AGAIN, Encoding
from .nrrd_grid import nrrd_grid
from .text_header import Fields, TextHeader, VoxelFile, data_file, is_list, lines

_MAGIC = re.compile(rb"NRRD(?:000[1-5]|00\.01)[ \t]*")
_FIELD = re.compile(rb"([^:=]+):[ \t]*(.*)", re.DOTALL)
_KEY = re.compile(rb"[^:]*:=")
_KNOWN = frozenset((
    "content", "number", "type", "blocksize", "dimension", "space", "spacedimension", "sizes",
    "spacings", "thicknesses", "axismins", "axismaxs", "spacedirections", "centers", "centerings",
    "kinds", "labels", "units", "min", "max", "oldmin", "oldmax", "endian", "encoding", "lineskip",
    "byteskip", "sampleunits", "spaceunits", "spaceorigin", "measurementframe", "datafile",
))  # fmt: skip
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int",
           "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_VOXEL_TYPES = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
    "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
}  # fmt: skip
_MOST_LINES = 10_000
_MOST_SKIPPED = 1 << 24


def nrrd_header(path: Path, head: bytes) -> TextHeader:
    """Parse and check the header of a .nrrd, or of a .nhdr whose voxels lie beside it.

    Args:
        path: where it is, for the voxels' place.
        head: the file's first bytes.

    Raises:
        HeaderError: no NRRD, or its sizes, types, spacing or axes make no sense.
    """
    fields, end = _fields(head)
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if missing:
        raise HeaderError(f"is no NRRD file (its header lacks {', '.join(missing)})")
    notes: list[str] = []
    grid = nrrd_grid(fields, notes.append)
    return TextHeader(grid, _voxel_file(path, fields, end), tuple(notes))


def _fields(data: bytes) -> tuple[Fields, int | None]:
    """The fields, their names in lower case without blanks; where an empty line ends them."""
    fields = Fields()
    for number, (line, after) in enumerate(lines(data)):
        if number == 0:
            if not _MAGIC.fullmatch(line):
                raise HeaderError("is no NRRD file (its first line is none of NRRD0001 to 5)")
        elif not line:
            return fields, after
        elif line.startswith(b"#"):
            continue
        elif _KEY.match(line):
            continue  # somebody's own key and value
        elif found := _FIELD.fullmatch(line):
            name = found[1].decode("latin-1").lower().replace(" ", "")
            if name not in _KNOWN:
                if b":=" in line:
                    continue  # a key with a colon
                raise HeaderError(f"has a field that NRRD does not know ({name[:40]})")
            if name in fields:
                raise HeaderError(f"states {name} twice")
            fields.add(name, found[2].strip())
            if name == "datafile" and is_list(fields.raw(name)):
                break  # names of files follow, a line each
        else:
            raise HeaderError(f"is no NRRD file (line {number + 1} of its header is no field)")
    return fields, None


def _voxel_file(path: Path, fields: Fields, end: int | None) -> VoxelFile:
    encoding = _ENCODINGS.get(fields.text("encoding").lower())
    if encoding is None:
        raise HeaderError(f"has an unknown encoding ({fields.text('encoding')[:40]})")
    skipped, passed = fields.whole("byteskip", 0), fields.whole("lineskip", 0)
    least = 0 if encoding == "text" else -_MOST_SKIPPED
    if not (0 <= passed <= _MOST_LINES and least <= skipped <= _MOST_SKIPPED):
        raise HeaderError(f"skips {passed} lines and {skipped} bytes before its voxels")
    if "datafile" in fields:
        file, start = data_file(path, fields.raw("datafile")), 0
    elif end is None:
        raise HeaderError("ends before its header does", AGAIN)
    else:
        file, start = path, end
    voxel_type = _voxel_type(fields, encoding)
    if skipped >= 0:
        return VoxelFile(file, start, passed, skipped, encoding, voxel_type)
    # From the end: -1 where nothing follows the voxels, -2 where one byte does.
    passed = 0 if encoding == "raw" else passed
    return VoxelFile(file, start, passed, 0, encoding, voxel_type, behind=-1 - skipped)


def _voxel_type(fields: Fields, encoding: Encoding) -> np.dtype[Any]:
    name = " ".join(fields.text("type").lower().split())
    if name not in _VOXEL_TYPES:
        raise HeaderError(f"has voxels of an unknown type ({name[:40]})", "store HU as short")
    voxel_type = np.dtype(_VOXEL_TYPES[name])
    orders: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
    order = orders.get(fields.text("endian").lower())
    if order is None:
        if "endian" in fields:
            raise HeaderError(f"has an unknown endian ({fields.text('endian')[:40]})")
        if voxel_type.itemsize > 1 and encoding != "text":
            raise HeaderError("does not state the endian of its voxels", "add endian: little")
        return voxel_type
    return voxel_type.newbyteorder(order)
