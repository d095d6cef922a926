"""Headers of text, a field a line, as NRRD and MetaImage have them: read strictly.

A number that is written in another way (a decimal comma, an underscore, more or fewer of them than
there are axes) is an error here, whatever the locale of the program around.
"""

from __future__ import annotations

import codecs
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HeaderError
from ..grid import Grid
from .encoded import AGAIN, Encoding
from .regular_file import beside

LONGEST_HEADER = 1 << 20
_REAL = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?|[-+]?(?:nan|inf)", re.I
)
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_LISTS = (b"LIST", b"SKIPLIST")
_NUMBERED = re.compile(rb"%[-+ 0-9.]*[diu]")
_MM = re.compile(r"|\?+|mm|millimet(?:er|re)s?", re.I)
# A text is decoded as Latin-1: in UTF-8 the letter mu is two of its characters.
_OTHER_LENGTH = re.compile(
    r"(?:c|d|n|u|\xb5|\xc2\xb5|\xce\xbc)?m|in|inch(?:es)?|microns?"
    r"|(?:centi|deci|micro|nano)?met(?:er|re)s?",
    re.I,
)


@dataclass(frozen=True)
class VoxelFile:
    """Where voxels are, and how they are stored.

    Attributes:
        path: the file that holds them: the header's own, or one beside it.
        start: its first byte that is not the header's.
        lines: how many lines then come before them.
        skip: how many bytes then come before them, decompressed.
        behind: how many bytes come behind them, decompressed, where they are counted from the end:
            then ``skip`` is 0, and of raw voxels ``lines``, too.
        encoding: what they are wrapped in.
        voxel_type: the stored type, in the file's byte order.
    """

    path: Path
    start: int
    lines: int
    skip: int
    encoding: Encoding
    voxel_type: np.dtype[Any]
    behind: int | None = None


@dataclass(frozen=True)
class TextHeader:
    """What a header of text says: the grid as it stands there, the voxels' place, oddities."""

    grid: Grid
    voxels: VoxelFile
    warnings: tuple[str, ...]


class Fields:
    """The fields of a header by name, as bytes: a file's name may be in any encoding.

    Whoever asks for one that is stated twice, in two ways, gets a HeaderError. A field that nobody
    asks for, somebody's own note, may be there as often as it likes.
    """

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._doubtful: set[str] = set()

    def add(self, name: str, value: bytes) -> None:
        """Take a field in."""
        if self._values.setdefault(name, value) != value:
            self._doubtful.add(name)

    def __contains__(self, name: str) -> bool:
        if name in self._doubtful:
            raise HeaderError(f"states {name} twice, in two ways")
        return name in self._values

    def raw(self, name: str) -> bytes:
        """The value's bytes; none where it is missing."""
        return self._values[name] if name in self else b""

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


def read_head(file: BufferedReader) -> bytes:
    """The first bytes of a file, as many as a header may have. Raises HeaderError, OSError."""
    data = file.read(LONGEST_HEADER)
    if not data:
        raise HeaderError("is empty", AGAIN)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise HeaderError("has a header in UTF-16", "save its text as plain ASCII or UTF-8")
    return data


def lines(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each line without its end, and where the next one begins; past a byte order mark.

    Raises:
        HeaderError: the header goes on where :func:`read_head` has ended.
    """
    start = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    while start < len(data):
        end = data.find(b"\n", start)
        after = len(data) if end < 0 else end + 1
        # Half an end of a line is none: the file may still be being written.
        yield data[start:] if end < 0 else data[start:end].removesuffix(b"\r"), after
        start = after
    if len(data) >= LONGEST_HEADER:
        raise HeaderError(f"has a header of more than {LONGEST_HEADER} bytes")


def check_unit(unit: str, note: Callable[[str], None]) -> None:
    """Refuse a unit of length that is not mm, and say it of a word that is none at all."""
    if _OTHER_LENGTH.fullmatch(unit.strip()):
        raise HeaderError(f"states its lengths in {unit.strip()[:40]}", "convert them to mm")
    if not _MM.fullmatch(unit.strip()):
        note(f"states its lengths in an unknown unit ({unit.strip()[:40]}): mm is assumed")


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
        raise HeaderError(f"states {name} of {len(words)} numbers for {count}")
    return words


def data_file(header: Path, name: bytes) -> Path:
    """The one file beside a header that holds its voxels. Raises HeaderError."""
    if not name:
        raise HeaderError("names no file with its voxels")
    several = HeaderError("keeps its voxels in several files", "convert it to one .nii.gz")
    path = beside(header, os.fsdecode(name))
    if not os.path.lexists(path):
        if is_list(name) or _NUMBERED.search(name):
            raise several
        if not name.isascii():
            return _same_letters(path)
    return path


def is_list(name: bytes) -> bool:
    """Whether names of several files follow in place of one."""
    return name.upper().split()[:1] in [[word] for word in _LISTS]


def _same_letters(path: Path) -> Path:
    """The one file whose name has these letters in other bytes, else ``path``.

    Composed or not (macOS), Latin-1 or UTF-8 (Windows): a file is renamed on the way, and what its
    header says is not.
    """
    try:
        listed = [*path.parent.iterdir()]
    except OSError:
        return path
    same = [other for other in listed if _letters(other.name) == _letters(path.name)]
    return same[0] if len(same) == 1 else path


def _letters(name: str) -> str:
    data = os.fsencode(name)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return unicodedata.normalize("NFC", text)
