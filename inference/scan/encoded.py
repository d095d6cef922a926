"""Bytes and numbers out of what files hold them in: gzip, zlib, bzip2, hexadecimal digits, text.

Everything is read in bounded pieces; a checksum that is wrong, data that end too early and data
that go on beyond the volume are errors.
"""

from __future__ import annotations

import binascii
import bz2
import io
from collections.abc import Callable
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
_FILL_BYTES = 1 << 24
# What mail gateways, transfers of text and tapes leave behind a file.
_PADDING = b"\r\n\t \0\x1a"
_MOST_PADDING = 1 << 20
_LONGEST_NUMBER = 400  # characters: float64 in full
_NUMBER_BYTES = b"0123456789+-.eE" + b"nNaAiIfFtTyY"
_BLANKS = b" \t\r\n\v\f"

_DECOMPRESSORS: dict[str, tuple[Callable[[], Any], bytes]] = {
    "gzip": (lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), b"\x1f\x8b"),
    "zlib": (lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB), b""),
    "bzip2": (bz2.BZ2Decompressor, b"BZ"),
}


def decoded(file: io.BufferedIOBase, encoding: Encoding) -> Decoded:
    """The bytes that ``file`` holds in an encoding, from where it stands."""
    if encoding in _DECOMPRESSORS:
        return _Decompressed(file, *_DECOMPRESSORS[encoding])
    return _Hexadecimal(file) if encoding == "hex" else file


class _Decompressed(io.RawIOBase):
    """One compressed member after the other, as if it were one, up to the padding at the end.

    Reading raises EOFError (cut), isal_zlib.error or HeaderError (corrupt).
    """

    def __init__(self, file: io.BufferedIOBase, make: Callable[[], Any], magic: bytes) -> None:
        self._file, self._make, self._magic = file, make, magic
        self._decompressor, self._pending, self._ended = make(), b"", False

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
        rest, passed = self._decompressor.unused_data, 0
        self._ended = not self._magic
        while not self._ended:
            rest = rest.lstrip(_PADDING)
            more = b"" if len(rest) >= len(self._magic) else self._file.read(_CHUNK_BYTES)
            rest, passed = rest + more, passed + len(more)
            if passed > _MOST_PADDING:
                raise HeaderError("goes on far beyond the volume that its header announces")
            if more:
                continue
            if rest and not rest.startswith(self._magic):
                cause = "the compressed data are corrupt (something else follows them)"
                raise HeaderError(cause, AGAIN)
            self._ended = not rest
            self._decompressor, self._pending = self._make(), rest
            return


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
    trailing = 0
    while chunk := stream.read(_CHUNK_BYTES):
        trailing += len(chunk)
        if trailing > MAX_TRAILING_BYTES:
            raise HeaderError("goes on far beyond the volume that its header announces")
    return trailing


def numbers(file: io.BufferedIOBase, voxel_type: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    """Voxels that are written as words between blanks.

    Args:
        file: stands at the first of them.
        voxel_type: integer or floating; words beyond its range are refused.
        count: how many are wanted.

    Raises:
        HeaderError: fewer of them, or words that are no such numbers.
    """
    out = np.empty(count, voxel_type.newbyteorder("="))
    read: Callable[[bytes], Any] = float if voxel_type.kind == "f" else int
    done, rest = 0, b""
    while done < count:
        chunk = file.read(_CHUNK_BYTES)
        text = rest + chunk
        cut = len(text) if not chunk else 1 + max(text.rfind(b) for b in _BLANKS)
        words, rest = text[:cut].split(), text[cut:]
        if len(rest) > _LONGEST_NUMBER or not set(_NUMBER_BYTES) >= set(b"".join(words)):
            raise HeaderError("holds voxels that are no numbers between blanks")
        words = words[: count - done]
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
    return out
