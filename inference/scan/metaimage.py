"""What SimpleITK's MetaImage reader overlooks, or complains of on the terminal itself."""

from __future__ import annotations

import math
from pathlib import Path

from ..errors import HeaderError
from .compressed_voxels import check_compressed
from .limits import check_size
from .regular_file import beside

_LONGEST_HEADER = 1 << 20
_NEEDED = ("NDims", "DimSize", "ElementType", "ElementDataFile")
_BYTES = {
    "CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4,
    "LONG_LONG": 8, "ULONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip


def check_metaimage(path: Path) -> None:
    """Refuse a header that lacks what it needs, and voxels that are cut or corrupt.

    Raises:
        HeaderError, EOFError, isal_zlib.error: either.
        OSError: the file with the voxels cannot be read.
    """
    with open(path, "rb") as file:
        fields, end = _fields(file.read(_LONGEST_HEADER))
    missing = [name for name in _NEEDED if name not in fields]
    if missing:
        raise HeaderError(f"is no MetaImage file (its header lacks {', '.join(missing)})")
    wanted = _wanted(fields)
    data, start = path, end
    if fields["ElementDataFile"].upper() != "LOCAL":
        data, start = beside(path, fields["ElementDataFile"]), 0
    if fields.get("CompressedData", "False").upper().startswith("T"):
        check_compressed(data, start, "zlib", wanted)
        return
    have = data.stat().st_size - start
    if have < wanted and fields.get("BinaryData", "True").upper().startswith("T"):
        raise HeaderError(
            f"holds {max(have, 0)} of the {wanted} bytes that its header announces",
            "copy the file again from its source",
        )


def _fields(data: bytes) -> tuple[dict[str, str], int]:
    """The header's fields, the last of which is ElementDataFile, and the bytes up to its end."""
    fields: dict[str, str] = {}
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        text = line.decode("latin-1")
        key, separator, value = text.partition("=" if "=" in text else ":")
        if not separator:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            break
    return fields, end


def _wanted(fields: dict[str, str]) -> int:
    """Bytes of the voxels, decompressed. Raises HeaderError for sizes that no CT has."""
    sizes = fields["DimSize"].split()
    if not all(size.isdecimal() for size in sizes):
        raise HeaderError("is no MetaImage file (DimSize is no list of whole numbers)")
    numbers = [int(size) for size in sizes]
    if len(numbers) >= 3:
        check_size((numbers[2], numbers[1], numbers[0]))
    channels = fields.get("ElementNumberOfChannels", "1")
    voxel = _BYTES.get(fields["ElementType"].removeprefix("MET_"), 1)
    return math.prod(numbers) * voxel * (int(channels) if channels.isdecimal() else 1)
