"""Headers of text, a field a line, as NRRD and MetaImage have them: read strictly.

A number that is written in another way (a decimal comma, an underscore, more or fewer of them than
there are axes) is an error here, whatever the locale of the program around.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HeaderError
from ..grid import Grid
from .encoded import AGAIN, Encoding
from .regular_file import beside, open_regular

LONGEST_HEADER = 1 << 20
_REAL = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?|[-+]?(?:nan|inf)", re.I
)
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBERED = re.compile(rb"%[0-9]*d")


@dataclass(frozen=True)
class VoxelFile:
    """Where voxels are, and how they are stored.

    Attributes:
        path: the file that holds them: the header's own, or one beside it.
        start: its first byte that is not the header's.
        from_end: whether the voxels are its last bytes; then ``lines`` and ``skip`` are 0.
        lines: how many lines then come before them.
        skip: how many bytes then come before them, decompressed.
        encoding: what they are wrapped in.
        voxel_type: the stored type, in the file's byte order.
    """

    path: Path
    start: int
    from_end: bool
    lines: int
    skip: int
    encoding: Encoding
    voxel_type: np.dtype[Any]


@dataclass(frozen=True)
class TextHeader:
    """What a header of text says: the grid as it stands there, the voxels' place, oddities."""

    grid: Grid
    voxels: VoxelFile
    warnings: tuple[str, ...]


class Fields:
    """The fields of a header by name, as bytes: a file's name may be in any encoding."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def add(self, name: str, value: bytes) -> None:
        """Take a field in. Raises HeaderError where it is there already with another value."""
        if self._values.setdefault(name, value) != value:
            raise HeaderError(f"states {name} twice, in two ways")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> bytes:
        """The value's bytes; none where it is missing."""
        return self._values.get(name, b"")

    def text(self, name: str) -> str:
        """The value; empty where it is missing."""
        return self.raw(name).decode("latin-1")

    def whole(self, name: str, default: int) -> int:
        """A whole number. Raises HeaderError."""
        return whole(self.text(name), name) if name in self else default

    def wholes(self, name: str, count: int) -> list[int]:
        """``count`` whole numbers between blanks. Raises HeaderError."""
        return [whole(word, name) for word in _words(self.text(name), name, count)]

    def reals(self, name: str, count: int) -> list[float]:
        """``count`` numbers between blanks, NaN and infinity among them. Raises HeaderError."""
        return [real(word, name) for word in _words(self.text(name), name, count)]


def read_head(path: Path) -> bytes:
    """The first bytes of a file, as many as a header may have. Raises HeaderError, OSError."""
    with open_regular(path) as file:
        data = file.read(LONGEST_HEADER)
    if not data:
        raise HeaderError("is empty", AGAIN)
    return data


def lines(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each line without its end, and where the next one begins."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        after = len(data) if end < 0 else end + 1
        yield data[start : after if end < 0 else end].removesuffix(b"\r"), after
        start = after


def whole(word: str, name: str) -> int:
    """A whole number of at most 18 digits. Raises HeaderError."""
    if not _WHOLE.fullmatch(word):
        raise HeaderError(f"states a {name} that is no whole number ({word[:40]})")
    return int(word)


def real(word: str, name: str) -> float:
    """A number, NaN or infinity. Raises HeaderError."""
    if not _REAL.fullmatch(word):
        raise HeaderError(f"states a {name} that is no number ({word[:40]})")
    return float(word)


def _words(text: str, name: str, count: int) -> list[str]:
    words = text.split()
    if len(words) != count:
        raise HeaderError(f"states a {name} of {len(words)} numbers for {count}")
    return words


def data_file(header: Path, name: bytes) -> Path:
    """The one file beside a header that holds its voxels. Raises HeaderError."""
    if not name:
        raise HeaderError("names no file with its voxels")
    several = HeaderError("keeps its voxels in several files", "convert it to one .nii.gz")
    if name.split()[0] == b"LIST":
        raise several
    path = beside(header, os.fsdecode(name))
    if _NUMBERED.search(name) and not os.path.lexists(path):
        raise several
    return path
