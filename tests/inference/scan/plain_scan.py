"""One small scan as NRRD and MetaImage in many spellings: its voxels, and both formats' writers."""

from __future__ import annotations

import gzip
import zlib

from tests.inference.nifti_files import scan_voxels
from tests.inference.text_files import metaimage_bytes, nrrd_bytes

VOXELS = scan_voxels()
RAW = VOXELS.tobytes()
ZLIB, GZIP = zlib.compress(RAW), gzip.compress(RAW, mtime=0)
WORDS = " ".join(map(str, VOXELS.ravel())).encode()


def nrrd(data: bytes | None = None, **changed: str | None) -> bytes:
    return nrrd_bytes(VOXELS, data, **changed)


def mha(data: bytes | None = None, file: str = "LOCAL", **changed: str | None) -> bytes:
    return metaimage_bytes(VOXELS, data, file, **changed)


def zipped(data: bytes = ZLIB, **changed: str | None) -> bytes:
    return mha(data, **{"CompressedData": "True", **changed})
