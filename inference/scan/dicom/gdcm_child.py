"""A process that decodes frames until its input ends. Run as a script, by :mod:`.gdcm` alone.

In: 8 bytes of length (little endian), 1 byte (bytes of a value), a DICOM file with one frame.
Out: 8 bytes of length, and the frame's values as unsigned integers; length 0 where it is corrupt.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# More than any frame of a CT takes to be decoded, less than a machine has.
_MOST_BYTES = 4 << 30


def serve() -> None:
    """Answer until the input ends."""
    source = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the libraries print is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = _MOST_BYTES if hard == resource.RLIM_INFINITY else min(_MOST_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    import SimpleITK as sitk

    while len(head := source.read(9)) == 9:
        data = source.read(int.from_bytes(head[:8], "little"))
        try:
            values = _decoded(sitk, data, head[8])
        except (RuntimeError, MemoryError, ValueError):
            values = b""
        answers.write(len(values).to_bytes(8, "little") + values)
        answers.flush()


def _decoded(sitk: Any, data: bytes, width: int) -> bytes:
    with _file_of(data) as path:
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(path)
        pixels = sitk.GetArrayFromImage(reader.Execute())
    if pixels.dtype.kind not in "iu":
        raise ValueError
    values: bytes = pixels.astype(f"u{width}").tobytes()
    return values


@contextmanager
def _file_of(data: bytes) -> Iterator[str]:
    """A path to ``data``: in memory where the system can, since a container may have no disk."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("frame", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile(suffix=".dcm") as named:
        named.write(data)
        named.flush()
        yield named.name


if __name__ == "__main__":
    serve()
