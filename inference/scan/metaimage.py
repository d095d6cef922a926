"""MetaImage headers, read as ITK (MetaIO) reads them.

https://itk.org/Wiki/ITK/MetaIO/Documentation. Where ITK guesses, so does this, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..grid import Grid
from .axes import direction_of
from .encoded import AGAIN, Encoding
from .limits import check_origin, check_size, check_spacing
from .text_header import (
    LONGEST_HEADER,
    Fields,
    TextHeader,
    VoxelFile,
    check_unit,
    data_file,
    lines,
)

# ITK writes metadata as further fields, of any name: dim[0] of NIfTI, 0010|0010 of DICOM.
_FIELD = re.compile(rb"([^=:]+)[=:](.*)", re.DOTALL)
_NEEDED = ("NDims", "DimSize", "ElementType", "ElementDataFile")
_VOXEL_TYPES = {
    "MET_CHAR": "i1", "MET_ASCII_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2",
    "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
# Names of one thing.
_MATRIX = ("TransformMatrix", "Orientation", "Rotation")
_ORIGIN = ("Offset", "Position", "Origin")
_SPACING = ("ElementSpacing", "ElementSize")  # the first counts
_BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_SLOPE, _OFFSET = "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"
_READ = frozenset((
    *_NEEDED, *_MATRIX, *_ORIGIN, *_SPACING, *_BIG_ENDIAN, _SLOPE, _OFFSET, "ObjectType",
    "ElementNumberOfChannels", "DistanceUnits", "BinaryData", "CompressedData", "HeaderSize",
    "HeaderSizePerSlice",
))  # fmt: skip
_MOST_AXES = 10
_ONE_VOLUME = "give one 3D volume of grey values per file"

Note = Callable[[str], None]


def metaimage_header(path: Path, head: bytes) -> TextHeader:
    """Parse and check the header of a .mha, or of a .mhd whose voxels lie beside it.

    Args:
        path: where it is, for the voxels' place.
        head: the file's first bytes.

    Raises:
        HeaderError: no MetaImage, or its sizes, types, spacing or axes make no sense.
    """
    fields, end = _fields(head)
    missing = [name for name in _NEEDED if name not in fields]
    if missing:
        raise HeaderError(f"is no MetaImage file (its header lacks {', '.join(missing)})")
    kind = fields.text("ObjectType")
    if kind not in ("", "Image"):
        raise HeaderError(f"is no image but a MetaIO {kind[:40]}", "give a scan")
    notes: list[str] = []
    grid = _grid(fields, notes.append)
    scale = _scale(fields)
    if scale != (1.0, 0.0):
        notes.append(
            f"ElementToIntensityFunction ({scale[0]:g} v + {scale[1]:g}) is not applied, as in ITK"
        )
    return TextHeader(grid, _voxel_file(path, fields, end), tuple(notes))


def _fields(data: bytes) -> tuple[Fields, int]:
    """The fields up to ElementDataFile, which is the last, and where the next line begins."""
    fields, in_note = Fields(), False
    for number, (line, after) in enumerate(lines(data), 1):
        if not (text := line.strip()) or text.startswith(b"#"):
            continue
        found = _FIELD.fullmatch(line)
        if found is None or not found[1].strip():
            # A text of several lines, as DICOM has them; but not a field that lacks its "=".
            if in_note and text.split()[0].decode("latin-1") not in _READ:
                continue
            raise HeaderError(f"is no MetaImage file (line {number} of its header is no field)")
        name = found[1].strip().decode("latin-1")
        in_note = name not in _READ
        fields.add(name, found[2].strip())
        if name == "ElementDataFile" and after < LONGEST_HEADER:  # else it may be cut
            # So may a line without its end, of a file that is still being written: the voxels
            # behind it would begin a byte too early.
            if found[2].strip().upper() == b"LOCAL" and data[after - 1 : after] != b"\n":
                raise HeaderError("ends within its header", AGAIN)
            return fields, after
    raise HeaderError("is no MetaImage file (its header lacks ElementDataFile)")


def _voxel_file(path: Path, fields: Fields, end: int) -> VoxelFile:
    if fields.text("ElementType") not in _VOXEL_TYPES:
        cause = f"has voxels of an unknown type ({fields.text('ElementType')[:40]})"
        raise HeaderError(cause, "store HU as MET_SHORT")
    voxel_type = np.dtype(_VOXEL_TYPES[fields.text("ElementType")])
    orders = {name: _flag(fields, name, False) for name in _BIG_ENDIAN if name in fields}
    _check_agreed(orders)
    voxel_type = voxel_type.newbyteorder(">" if any(orders.values()) else "<")
    compressed = _flag(fields, "CompressedData", False)
    encoding: Encoding = "zlib" if compressed else "raw"
    if not _flag(fields, "BinaryData", True):
        if compressed:
            raise HeaderError("states that its voxels are compressed, and that they are text")
        encoding = "text"
    name = fields.raw("ElementDataFile")
    local = name.upper() == b"LOCAL"
    file, start = (path, end) if local else (data_file(path, name), 0)
    before = fields.whole("HeaderSize", 0)
    if before == -1 and encoding == "raw":
        return VoxelFile(file, start, 0, 0, encoding, voxel_type, behind=0)
    # Counted from the file's first byte: of a header with its voxels it says nothing new.
    if before < 0 or (local and before not in (0, end)):
        raise HeaderError(f"states a HeaderSize of {before} before its voxels")
    if fields.whole("HeaderSizePerSlice", 0) != 0:
        raise HeaderError("has a header before every slice", "convert it to one .nii.gz")
    return VoxelFile(file, start if local else before, 0, 0, encoding, voxel_type)


def _grid(fields: Fields, note: Note) -> Grid:
    axes = fields.whole("NDims", 0)
    if not 1 <= axes <= _MOST_AXES:
        raise HeaderError(f"has {axes} dimensions", _ONE_VOLUME)
    sizes = fields.wholes("DimSize", axes)
    channels = fields.whole("ElementNumberOfChannels", 1)
    if axes < 3 or any(n != 1 for n in sizes[3:]) or channels != 1:
        text = " x ".join(str(n) for n in sizes)
        text += f" voxels of {channels} values" if channels != 1 else ""
        raise HeaderError(f"is not one volume of grey values but {text}", _ONE_VOLUME)
    x, y, z = sizes[:3]
    check_size((z, y, x))
    check_unit(fields.text("DistanceUnits"), note)
    spacing = np.ones(3)
    if name := next((name for name in _SPACING if name in fields), None):
        spacing = np.array(fields.reals(name, axes)[:3])
    else:
        note("no spacing is stated: 1 mm is assumed")
    check_spacing(spacing)
    origin = np.zeros(3)
    if stated := _stated(fields, _ORIGIN, axes):
        origin = check_origin(np.array(stated[1][:3]))
    return Grid(
        (z, y, x),
        (float(spacing[2]), float(spacing[1]), float(spacing[0])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        direction_of(_matrix(fields, axes, note)),
    )


def _matrix(fields: Fields, axes: int, note: Note) -> npt.NDArray[np.float64]:
    """The direction, its columns the axes: the rows of the field."""
    stated = _stated(fields, _MATRIX, axes * axes)
    if stated is None:
        note("no TransformMatrix is stated: the patient's orientation is taken as ITK does")
        return np.eye(3)
    name, matrix = stated[0], np.array(stated[1]).reshape(axes, axes).T
    if not np.isfinite(matrix).all():
        raise HeaderError(f"has a {name} that is not all numbers")
    if matrix[:3, 3:].any() or matrix[3:, :3].any():
        raise HeaderError(f"has a {name} that mixes space with other axes", _ONE_VOLUME)
    return matrix[:3, :3]


def _scale(fields: Fields) -> tuple[float, float]:
    return (
        fields.reals(_SLOPE, 1)[0] if _SLOPE in fields else 1.0,
        fields.reals(_OFFSET, 1)[0] if _OFFSET in fields else 0.0,
    )


def _stated(
    fields: Fields, names: tuple[str, ...], count: int
) -> tuple[str, tuple[float, ...]] | None:
    """The name by which a header states numbers, and these. Raises HeaderError for two answers."""
    stated = {name: tuple(fields.reals(name, count)) for name in names if name in fields}
    _check_agreed(stated)
    return next(iter(stated.items()), None)


def _check_agreed(stated: Mapping[str, object]) -> None:
    if len({*stated.values()}) > 1:
        raise HeaderError(f"states {' and '.join(stated)}, which disagree", "remove one of them")


def _flag(fields: Fields, name: str, default: bool) -> bool:
    text = fields.text(name)
    if text[:1] in tuple("TtYy1"):
        return True
    if text[:1] in tuple("FfNn0"):
        return False
    if name in fields:
        raise HeaderError(f"states a {name} that is neither True nor False ({text[:40]})")
    return default
