"""A picture in 256 colours as PNG (W3C, third edition), without an imaging library."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt


def indexed_png(indices_RC: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> bytes:
    """Encode.

    Args:
        indices_RC: (row, column), into the palette.
        palette: (n, 3), red, green and blue, n up to 256.
    """
    rows, columns = indices_RC.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    filtered = np.zeros((rows, columns + 1), np.uint8)  # 0: no filter, before each row
    filtered[:, 1:] = indices_RC
    chunks = (
        _chunk(b"IHDR", header),
        _chunk(b"PLTE", palette.tobytes()),
        _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 9)),
        _chunk(b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
