"""DICOM files where they lie: on disk, or as members of a .zip that is never unpacked to disk.

Data sets are parsed by pydicom. What it would do without bounds (inflate, believe a length) is done
or checked here first.
"""

from __future__ import annotations

import io
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ...errors import HeaderError
from ..regular_file import open_regular

if TYPE_CHECKING:
    from pydicom import Dataset

AGAIN = "copy the file again from its source"
PIXELS = 0x7FE00000
# Group 2, its length (PS3.10, 7.1): "DICM", tag (0002,0000), VR "UL", 4 bytes.
_META_LENGTH = b"DICM\x02\x00\x00\x00UL\x04\x00"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1\0\0\0"
_LONGEST_META = 1 << 16
# Of a member or deflated file, how much is inflated for its header: usually, and at most.
_HEADER_BYTES, _MOST_HEADER_BYTES = 1 << 17, 1 << 25
_MOST_INFLATED = 1 << 29
_IN_MEMORY_BYTES = 1 << 26
_CHUNK_BYTES = 1 << 20

Stop = Callable[[int], bool]


class Archive:
    """A .zip that is read member by member; nothing of it is written anywhere.

    Raises:
        HeaderError: it is no .zip, or is damaged.
        OSError: it is missing or may not be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        file = open_regular(path)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
            file.close()
            raise HeaderError(f"is no sound .zip ({error})", AGAIN) from error
        # Its members are read for as long as anybody holds one of them.
        weakref.finalize(self, file.close)

    def members(self) -> list[zipfile.ZipInfo]:
        """Its files, folders left out."""
        # By hand: is_dir takes every name for one of a letter at least.
        return [info for info in self._zip.infolist() if not info.filename.endswith("/")]

    def start(self, member: str, count: int) -> bytes:
        """The first ``count`` bytes of a member, or all. Raises HeaderError."""
        with _unzipping(), self._zip.open(member) as file:
            return file.read(count)

    def size(self, member: str) -> int:
        """Bytes of a member, as the .zip states them; more are never read."""
        return self._zip.getinfo(member).file_size

    def whole(self, member: str) -> BinaryIO:
        """A member in memory, or in a nameless temporary file where it is large.

        Raises:
            HeaderError: it is damaged, or too large for one file of a series.
            OSError: there is no room for it.
        """
        if self.size(member) > _MOST_INFLATED:
            raise HeaderError(f"claims {self.size(member)} bytes within its .zip", "unpack it")
        file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 (the caller's)
        with _unzipping(), self._zip.open(member) as packed:
            while chunk := packed.read(_CHUNK_BYTES):
                file.write(chunk)
        file.seek(0)
        return cast(BinaryIO, file)


@contextmanager
def _unzipping() -> Iterator[None]:
    """Turn what zipfile, and any of its decompressors, raises over odd bytes into a HeaderError."""
    try:
        yield
    except NotImplementedError as error:  # a RuntimeError, too
        cause = f"is packed within its .zip in a way that is not read ({error})"
        raise HeaderError(cause, "unpack it") from error
    except RuntimeError as error:  # zipfile's word for a password
        raise HeaderError("is encrypted within its .zip", "unpack it") from error
    except MemoryError:
        raise
    except Exception as error:
        # bz2 raises OSErrors, too; those of the system have a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise HeaderError(f"is damaged within its .zip ({error})", AGAIN) from error


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file that may hold a DICOM data set.

    Attributes:
        path: of the file, or of the .zip that holds it.
        member: its name within that .zip.
    """

    path: Path
    member: str | None = None
    _archive: Archive | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return str(self.path if self.member is None else self.path / self.member)

    @property
    def folder(self) -> Path:
        """The folder it lies in, that of a .zip's member included."""
        return Path(str(self)).parent

    def open(self) -> BinaryIO:
        """Its bytes, seekable; within a deflated one (PS3.5, A.5), those of the inflated data set.

        Raises:
            HeaderError: it is no regular file, or damaged.
            OSError: it is missing or may not be read.
        """
        if self._archive is not None and self.member is not None:
            file = self._archive.whole(self.member)
        else:
            file = open_regular(self.path)
        try:
            opened = _inflated(file, _MOST_INFLATED, whole=True)
        except BaseException:
            file.close()
            raise
        if opened is not file:
            file.close()
        return opened

    def start(self, count: int) -> bytes:
        """Its first bytes. Raises HeaderError, OSError."""
        if self._archive is not None and self.member is not None:
            return self._archive.start(self.member, count)
        with open_regular(self.path) as file:
            return file.read(count)

    def parse(self, last: int, tags: list[int] | None = None) -> Dataset:
        """Its data set up to the tag ``last``; only ``tags`` where they are named.

        Raises:
            HeaderError: it cannot be parsed.
            OSError: it is missing or may not be read.
        """
        if self._archive is None or self.member is None:
            with open_regular(self.path) as file:
                return parse(_inflated(file, _MOST_HEADER_BYTES), last, tags)[0]
        for count in (_HEADER_BYTES, _MOST_HEADER_BYTES):
            start = io.BytesIO(self._archive.start(self.member, count))
            dataset, ended = parse(_inflated(start, _MOST_HEADER_BYTES), last, tags)
            if ended or self._archive.size(self.member) <= count:
                break
        return dataset

    def header(self) -> Dataset:
        """Its whole data set but for the pixels. Raises HeaderError, OSError."""
        return self.parse(PIXELS - 1)


def parse(file: BinaryIO, last: int, tags: list[int] | None = None) -> tuple[Dataset, bool]:
    """pydicom's data set up to the tag ``last``, the file left there; whether there was more.

    A file without preamble or meta information is taken as a data set alone.

    Raises:
        HeaderError: pydicom cannot read it.
        OSError: the file cannot be read.
    """
    from pydicom.filereader import read_partial

    ended = False

    def stop(tag: int, vr: str | None, length: int) -> bool:
        nonlocal ended
        ended = int.__gt__(tag, last)  # BaseTag's own comparison takes ten times as long
        return ended

    with parsing():
        dataset = read_partial(file, stop, force=True, specific_tags=tags)
    return dataset, ended


@contextmanager
def parsing() -> Iterator[None]:
    """Turn whatever pydicom raises over odd bytes into a HeaderError.

    It has no error of its own for them: struct's, KeyError, RecursionError and others come through.
    """
    try:
        yield
    except (HeaderError, MemoryError):
        raise
    except Exception as error:
        # pydicom raises OSErrors, too; those of the system have a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise HeaderError(f"cannot be read by pydicom ({what})", AGAIN) from error


def _inflated(file: BinaryIO, most: int, whole: bool = False) -> BinaryIO:
    """``file``, or its inflated contents where it says that it is deflated.

    Args:
        file: at its start.
        most: bytes to inflate.
        whole: refuse what has more than that; else the rest is left out.

    Raises:
        HeaderError: see ``whole``; or it is corrupt.
    """
    head = file.read(_LONGEST_META)
    file.seek(0)
    if _DEFLATED not in head or head[128:140] != _META_LENGTH:
        return file
    start = 144 + int.from_bytes(head[140:144], "little")
    meta = head[:start]
    if _DEFLATED not in meta:
        return file
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    out = io.BytesIO()
    out.write(meta.replace(_DEFLATED, _EXPLICIT))
    file.seek(start)
    try:
        while out.tell() < most and not inflater.eof and (chunk := file.read(_CHUNK_BYTES)):
            while chunk and out.tell() < most:
                out.write(inflater.decompress(chunk, _CHUNK_BYTES))
                chunk = inflater.unconsumed_tail
    except zlib.error as error:
        raise HeaderError(f"the deflated data are corrupt ({error})", AGAIN) from error
    if whole and not inflater.eof:
        cause = "inflates to more than a file of a series holds"
        raise HeaderError(cause if out.tell() >= most else "ends before its data do", AGAIN)
    out.seek(0)
    return out
