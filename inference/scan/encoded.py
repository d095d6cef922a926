"""Bytes and numbers out of what files hold them in: gzip, zlib, bzip2, hexadecimal digits, text.

Everything is read in bounded pieces; a checksum that is wrong, data that end too early and data
that go on far beyond the volume are errors.
"""

from __future__ import annotations

import binascii
import bz2
import io
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from isal import igzip_lib

from ..errors import HeaderError

Encoding = Literal["raw", "gzip", "zlib", "bzip2", "hex", "text"]
Decoded = io.BufferedIOBase | io.RawIOBase

AGAIN = "copy the file again from its source"
# Voxels behind the announced ones are read past to reach the checksum, but only so many.
MAX_TRAILING_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 17
# bgzip cuts data into members of 64 KiB. Each costs the same however little it holds: a MB of
# members of a byte each took half a second.
_MOST_MEMBERS = 1 << 17
_FILL_BYTES = 1 << 24
# What mail gateways, transfers of text and tapes leave behind a file.
_PADDING = b"\r\n\t \0\x1a"
_LONGEST_NUMBER = 400  # characters: float64 in full
_NUMBER_BYTES = b"0123456789+-.eE" + b"nNaAiIfFtTyY"
_BLANKS = b" \t\r\n\v\f"

_DECOMPRESSORS: dict[str, tuple[Callable[[], Any], bytes]] = {
    "gzip": (lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), b"\x1f\x8b"),
    "zlib": (lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB), b""),
    "bzip2": (bz2.BZ2Decompressor, b"BZh"),
}


def decoded(file: io.BufferedIOBase, encoding: Encoding) -> Decoded:
    """The bytes that ``file`` holds in an encoding, from where it stands."""
    if encoding in _DECOMPRESSORS:
        return _Decompressed(file, *_DECOMPRESSORS[encoding])
    return _Hexadecimal(file) if encoding == "hex" else file


class _Decompressed(io.RawIOBase):
    """One compressed member after the other, as if it were one, up to what is none.

    Reading raises EOFError (cut), isal_zlib.error or HeaderError (corrupt).

    Attributes:
        followed: whether something follows the last member that is neither one nor padding.
    """

    def __init__(self, file: io.BufferedIOBase, make: Callable[[], Any], magic: bytes) -> None:
        self._file, self._make, self._magic = file, make, magic
        self._decompressor, self._pending, self._ended = make(), b"", False
        self._members = 1
        self.followed = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        while not self._ended and view:
            if self._decompressor.eof:
                self._next_member()
                continue
            chunk = b""
            if self._decompressor.needs_input:
                chunk, self._pending = self._pending or self._file.read(_CHUNK_BYTES), b""
                if not chunk:
                    raise EOFError
            try:
                piece = self._decompressor.decompress(chunk, min(len(view), 2 * _CHUNK_BYTES))
            except OSError as error:  # bzip2's word for corrupt data
                raise HeaderError(f"the compressed data are corrupt ({error})", AGAIN) from error
            if piece:
                view[: len(piece)] = piece
                return len(piece)
        return 0

    def _next_member(self) -> None:
        """Begin the member that comes next, or end: as gzip, past padding and before all else."""
        rest, passed = self._decompressor.unused_data.lstrip(_PADDING), 0
        while len(rest) < max(1, len(self._magic)) and (more := self._file.read(_CHUNK_BYTES)):
            rest, passed = (rest + more).lstrip(_PADDING), passed + len(more)
            if passed > MAX_TRAILING_BYTES:
                raise HeaderError("goes on far beyond the volume that its header announces")
        if self._magic and rest.startswith(self._magic):
            self._decompressor, self._pending = self._make(), rest
            self._members += 1
            if self._members > _MOST_MEMBERS:
                cause = f"is compressed in more than {_MOST_MEMBERS} pieces"
                raise HeaderError(cause, "compress it anew, as one")
        else:
            self._ended, self.followed = True, bool(rest)


class _Hexadecimal(io.RawIOBase):
    """Two digits a byte, blanks anywhere."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file, self._half = file, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        while chunk := self._file.read(max(1, min(2 * len(view) - len(self._half), _CHUNK_BYTES))):
            digits = self._half + chunk.translate(None, _BLANKS)
            whole = len(digits) & ~1
            self._half = digits[whole:]
            try:
                piece = binascii.unhexlify(digits[:whole])
            except binascii.Error as error:
                raise HeaderError("holds voxels that are no hexadecimal digits") from error
            if piece:
                view[: len(piece)] = piece
                return len(piece)
        return 0


def fill(stream: Decoded, view: memoryview, wanted: int) -> None:
    """Read until ``view``, the last of ``wanted`` bytes, is full. Raises HeaderError."""
    while view:
        count = stream.readinto(view[:_FILL_BYTES])
        if not count:
            raise HeaderError(
                f"holds {wanted - len(view)} of the {wanted} bytes that its header announces", AGAIN
            )
        view = view[count:]


def skip(stream: Decoded, count: int) -> None:
    """Read past ``count`` bytes. Raises EOFError."""
    while count > 0:
        part = stream.read(min(count, _CHUNK_BYTES))
        if not part:
            raise EOFError
        count -= len(part)


def to_end(stream: Decoded) -> int:
    """Read on, so that the checksum is seen, and count what follows. Raises HeaderError."""
    return sum(len(chunk) for chunk in _rest(stream))


def _rest(stream: Decoded) -> Iterator[bytes]:
    trailing = 0
    while chunk := stream.read(_CHUNK_BYTES):
        trailing += len(chunk)
        if trailing > MAX_TRAILING_BYTES:
            raise HeaderError("goes on far beyond the volume that its header announces")
        yield chunk


def fill_from_end(stream: Decoded, view: memoryview, behind: int) -> None:
    """Fill ``view`` with what ends ``behind`` bytes before the stream does. Raises HeaderError."""
    wanted = len(view)
    fill(stream, view, wanted)
    rest = b"".join(_rest(stream))
    before = len(rest) - behind
    if before < 0:
        raise HeaderError(
            f"holds {wanted + before} of the {wanted} bytes that its header announces", AGAIN
        )
    kept = max(0, wanted - before)
    if before:
        view[:kept] = view[wanted - kept :]
        view[kept:] = rest[before - (wanted - kept) : before]


def what_follows(stream: Decoded, trailing: int, slice_bytes: int) -> list[str]:
    """In words, what was left out behind a volume.

    Args:
        stream: after :func:`to_end`.
        trailing: decoded bytes behind the volume. Fewer than a slice are somebody's padding.
        slice_bytes: of one slice of it.
    """
    notes = []
    if trailing >= slice_bytes:
        notes.append(
            f"holds data for {trailing // slice_bytes} slices more than its header announces: "
            "they are left out"
        )
    if isinstance(stream, _Decompressed) and stream.followed:
        notes.append("something else follows the compressed data, which are whole: it is left out")
    return notes


def numbers(
    file: io.BufferedIOBase, voxel_type: np.dtype[Any], count: int
) -> tuple[npt.NDArray[Any], bool]:
    """Voxels that are written as words between blanks.

    Args:
        file: stands at the first of them.
        voxel_type: integer or floating; words beyond its range are refused.
        count: how many are wanted.

    Returns:
        The voxels, and whether more words follow them.

    Raises:
        HeaderError: fewer of them, or words that are no such numbers.
    """
    out = np.empty(count, voxel_type.newbyteorder("="))
    read: Callable[[bytes], Any] = float if voxel_type.kind == "f" else int
    done, rest, more = 0, b"", False
    while done < count:
        chunk = file.read(_CHUNK_BYTES)
        text = rest + chunk
        cut = len(text) if not chunk else 1 + max(text.rfind(b) for b in _BLANKS)
        words, rest = text[:cut].split(), text[cut:]
        if len(rest) > _LONGEST_NUMBER or not set(_NUMBER_BYTES) >= set(b"".join(words)):
            raise HeaderError("holds voxels that are no numbers between blanks")
        more, words = len(words) > count - done, words[: count - done]
        try:
            with np.errstate(over="ignore"):  # becomes infinite, which is refused as such
                out[done : done + len(words)] = np.fromiter(map(read, words), out.dtype)
        except (ValueError, OverflowError) as error:
            raise HeaderError(f"holds voxels that are no {out.dtype} numbers") from error
        done += len(words)
        if not chunk and done < count:
            raise HeaderError(
                f"holds {done} of the {count} voxels that its header announces", AGAIN
            )
    return out, more or bool((rest + file.read(_CHUNK_BYTES)).strip())
