"""NRRD and MetaImage files made by hand, with no code of inference, so that anything may be wrong.

https://teem.sourceforge.net/nrrd/format.html, https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

SPACING = (0.75, 0.875, 2.5)
ORIGIN = (-100.5, 20.25, 3.0)


def nrrd_fields(voxels_ZYX: np.ndarray, **changed: str | None) -> dict[str, str]:
    """The usual fields; ``changed`` ones take an underscore for a blank, None leaves one out."""
    names = {
        "i1": "signed char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int",
        "u4": "uint", "i8": "longlong", "u8": "ulonglong", "f4": "float", "f8": "double",
    }  # fmt: skip
    dtype = voxels_ZYX.dtype
    fields: dict[str, str | None] = {
        "type": names[dtype.str[1:]],
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(str(n) for n in voxels_ZYX.shape[::-1]),
        "space directions": "({},0,0) (0,{},0) (0,0,{})".format(*SPACING),
        "kinds": "domain domain domain",
        "endian": "big" if dtype.str[0] == ">" else "little",
        "encoding": "raw",
        "space origin": "({},{},{})".format(*ORIGIN),
    }
    fields |= {name.replace("_", " "): value for name, value in changed.items()}
    return {name: value for name, value in fields.items() if value is not None}


def nrrd_bytes(
    voxels_ZYX: np.ndarray, data: bytes | None = None, end: str = "\n", **changed: str | None
) -> bytes:
    """An NRRD file. ``data`` takes the voxels' place; ``end`` ends every line of the header."""
    fields = nrrd_fields(voxels_ZYX, **changed)
    lines = ["NRRD0005", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return end.join(lines).encode() + (voxels_ZYX.tobytes() if data is None else data)


def metaimage_bytes(
    voxels_ZYX: np.ndarray,
    data: bytes | None = None,
    file: str = "LOCAL",
    end: str = "\n",
    **changed: str | None,
) -> bytes:
    """A MetaImage file whose voxels are in ``file``; as for :func:`nrrd_bytes`."""
    names = {
        "i1": "CHAR", "u1": "UCHAR", "i2": "SHORT", "u2": "USHORT", "i4": "INT", "u4": "UINT",
        "i8": "LONG_LONG", "u8": "ULONG_LONG", "f4": "FLOAT", "f8": "DOUBLE",
    }  # fmt: skip
    dtype = voxels_ZYX.dtype
    fields: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "True" if dtype.str[0] == ">" else "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "{} {} {}".format(*ORIGIN),
        "ElementSpacing": "{} {} {}".format(*SPACING),
        "DimSize": " ".join(str(n) for n in voxels_ZYX.shape[::-1]),
        "ElementType": f"MET_{names[dtype.str[1:]]}",
    }
    fields |= changed
    lines = [f"{name} = {value}" for name, value in fields.items() if value is not None]
    text = end.join((*lines, f"ElementDataFile = {file}", ""))
    return text.encode() + (voxels_ZYX.tobytes() if data is None else data)


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
