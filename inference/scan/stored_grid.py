"""The grid that a file's header states; the voxels are left to who reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from isal import isal_zlib

from ..errors import HeaderError
from ..grid import Grid
from .axes import straighten
from .nifti_header import NiftiHeader
from .regular_file import open_regular
from .text_formats import READERS
from .text_header import read_head

# Grids are compared with the tolerance that float32 NIfTI headers need.
TOLERANCE_MM = 1e-3
_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has fewer
_START_BYTES = 1 << 16
_INFLATE_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]
# What :func:`stored_grid` raises.
UNREADABLE: tuple[type[Exception], ...] = (HeaderError, OSError, _INFLATE_ERROR)


def stored_grid(path: Path) -> Grid:
    """The grid of a NIfTI, NRRD or MetaImage file.

    Raises:
        HeaderError: the header makes no sense.
        OSError, isal_zlib.error: it is missing, may not be read, or is corrupt.
    """
    with open_regular(path) as file:
        if reader := READERS.get(path.suffix.lower()):
            return straighten(reader(path, read_head(file)).grid)[0]
        start = file.read(_START_BYTES)
    if start[:2] == b"\x1f\x8b":
        start = isal_zlib.decompressobj(wbits=31).decompress(start, _HEADER_BYTES)
    return NiftiHeader.parse(start).grid


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids are one, but for what float32 headers make of their numbers."""
    return one.shape == other.shape and all(
        np.allclose(getattr(one, what), getattr(other, what), atol=TOLERANCE_MM)
        for what in ("spacing", "origin", "direction")
    )
