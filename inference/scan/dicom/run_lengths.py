"""DICOM's RLE Lossless (PS3.5, Annex G) of label maps: PackBits, a whole frame at once."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

_LONGEST = 128  # of a run that one code holds


def rle_frame(frame: npt.NDArray[np.uint8]) -> bytes:
    """Encode a frame (rows, columns) of bytes, each row by itself.

    Every run is a code of two bytes, also one of a single value: as short as can be where values
    come in runs, as labels do, and at most twice as long as the frame where they do not.
    """
    starts = np.ones(frame.shape, bool)
    starts[:, 1:] = frame[:, 1:] != frame[:, :-1]
    first = np.flatnonzero(starts)
    lengths = np.diff(first, append=frame.size)
    codes = -(-lengths // _LONGEST)
    last = np.cumsum(codes) - 1
    run = np.full(codes.sum(), _LONGEST)
    run[last] = lengths - _LONGEST * (codes - 1)
    pairs = np.empty((len(run), 2), np.uint8)
    pairs[:, 0] = (1 - run) & 255  # 1 - n, signed: n times; 0: one as it is
    pairs[:, 1] = np.repeat(frame.reshape(-1)[first], codes)
    return struct.pack("<16I", 1, 64, *[0] * 14) + pairs.tobytes()
