"""NIfTI files made byte by byte, with no code of inference, so that anything in them can be wrong.

https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

# Name: (offset, struct format) of the NIfTI-1 header.
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "qoffset": (268, "3f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
}
CODES = {
    "uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64, "int8": 256, "uint16": 512,
    "uint32": 768, "int64": 1024, "uint64": 1280, "complex64": 32,
}  # fmt: skip


def scan_voxels(shape_ZYX: tuple[int, ...] = (6, 7, 8), seed: int = 0) -> np.ndarray:
    """int16 voxels in the range of CT."""
    rng = np.random.default_rng(seed)
    return rng.integers(-1024, 1500, shape_ZYX).astype(np.int16)


def nifti_bytes(
    voxels_ZYX: np.ndarray,
    spacing_ZYX: tuple[float, float, float] = (5.0, 2.0, 1.0),
    *,
    big_endian: bool = False,
    **changed: Any,
) -> bytes:
    """A single-file NIfTI-1, RAS, sform and qform set; ``changed`` overrides header fields."""
    order = ">" if big_endian else "<"
    z, y, x = spacing_ZYX
    fields: dict[str, Any] = {
        "sizeof_hdr": 348,
        "dim": (voxels_ZYX.ndim, *voxels_ZYX.shape[::-1], *(1,) * (7 - voxels_ZYX.ndim)),
        "datatype": CODES[voxels_ZYX.dtype.name],
        "bitpix": 8 * voxels_ZYX.dtype.itemsize,
        "pixdim": (1, x, y, z, 1, 1, 1, 1),
        "vox_offset": 352,
        "scl_slope": 1,
        "scl_inter": 0,
        "xyzt_units": 2,
        "qform_code": 1,
        "sform_code": 1,
        "quatern": (0, 0, 0),
        "qoffset": (-10, -20, 30),
        "srow": (x, 0, 0, -10, 0, y, 0, -20, 0, 0, z, 30),
        "magic": b"n+1\0",
    }
    unknown = changed.keys() - fields.keys()
    assert not unknown, unknown
    fields |= changed
    header = bytearray(352)
    for name, value in fields.items():
        offset, code = FIELDS[name]
        values = value if isinstance(value, tuple) else (value,)
        struct.pack_into(order + code, header, offset, *values)
    stored = voxels_ZYX.astype(voxels_ZYX.dtype.newbyteorder(order))
    return bytes(header) + stored.tobytes()


def write_nifti(path: Path, voxels_ZYX: np.ndarray, *args: Any, **changed: Any) -> Path:
    """Write :func:`nifti_bytes`, compressed if the name ends in .gz."""
    data = nifti_bytes(voxels_ZYX, *args, **changed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, 1) if path.name.endswith(".gz") else data)
    return path
