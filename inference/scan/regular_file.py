"""Opening what somebody else has put there."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from ..errors import HeaderError


def beside(header: Path, name: str) -> Path:
    """The file ``name`` that a header points at, in the header's folder or below it.

    The name alone counts: git-annex and Nextflow make links of header and data file, and they lead
    elsewhere. A whole path is one of its folder where it begins as that does.

    Raises:
        HeaderError: it names another folder.
    """
    plain = Path(os.path.normpath(name))
    for folder in (Path.cwd() / header.parent, header.parent.resolve()):
        if plain.is_relative_to(folder):
            name = str(plain.relative_to(folder))
            plain = Path(name)
    if "\0" in name or plain.is_absolute() or plain.parts[:1] == (os.pardir,):
        raise HeaderError(
            f"points at a file outside its folder ({name})", "convert it to one .nii.gz"
        )
    return header.parent / name


def open_regular(path: Path) -> BufferedReader:
    """A file opened for reading; pipes and devices, which could be waited for forever, are refused.

    Raises:
        HeaderError: it is no regular file.
        OSError: it is missing, a directory, or may not be read.
    """
    # Opening a pipe would otherwise wait for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        file = open(descriptor, "rb")  # noqa: SIM115 (the caller closes it)
    except OSError:  # a directory
        os.close(descriptor)
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise HeaderError("is a pipe or a device, not a file", "give a file")
    return file
