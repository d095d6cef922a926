"""Large files as parts of a size that any channel takes, with checksums.

A file NAME becomes ``NAME.STAMP.000``, ``.001``... and ``NAME.json``, which lists them and comes
last: whoever is cut off while writing leaves the previous parts valid.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from inference.errors import AbdoboxError
from inference.scan.atomic import write_atomically
from training.data.folders import make_folder

MIB = 1 << 20


class PartsError(AbdoboxError):
    """Parts that are missing or damaged."""


class PartsWriter(io.RawIOBase):
    """A stream that becomes parts; valid once it is closed without an error.

    Args:
        folder: of the parts, made where it is missing.
        name: of the whole.
        size: bytes of each part but the last.
    """

    def __init__(self, folder: Path, name: str, size: int) -> None:
        make_folder(folder)
        self._folder, self._name, self._size = folder, name, size
        self._stamp = os.urandom(3).hex()
        self._parts: list[dict[str, str | int]] = []
        self._buffer = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._buffer += data
        while len(self._buffer) >= self._size:
            self._write_part()
        return len(data)

    def finish(self) -> None:
        """Write the last part and the list, then remove the parts of earlier times."""
        if self._buffer or not self._parts:
            self._write_part()
        text = json.dumps({"parts": self._parts}, indent=1) + "\n"
        write_atomically(self._folder / f"{self._name}.json", text.encode())
        listed = {part["file"] for part in self._parts}
        for path in self._folder.glob(f"{self._name}.*.[0-9][0-9][0-9]"):
            if path.name not in listed:
                path.unlink()

    def _write_part(self) -> None:
        data = bytes(self._buffer[: self._size])
        del self._buffer[: self._size]
        file = f"{self._name}.{self._stamp}.{len(self._parts):03d}"
        write_atomically(self._folder / file, data)
        digest = hashlib.sha256(data).hexdigest()
        self._parts.append({"file": file, "bytes": len(data), "sha256": digest})


def split(path: Path, folder: Path, size: int) -> None:
    """A file as parts in ``folder``, under its own name."""
    writer = PartsWriter(folder, path.name, size)
    with path.open("rb") as stream:
        while chunk := stream.read(size):
            writer.write(chunk)
    writer.finish()


def exists(folder: Path, name: str) -> bool:
    """Whether ``folder`` holds parts of ``name``."""
    return (folder / f"{name}.json").is_file()


def join(folder: Path, name: str, path: Path) -> None:
    """Put parts together as the file ``path``, which appears whole or not at all.

    Raises:
        PartsError: a part is missing or damaged.
    """
    write_atomically(path, b"".join(_checked_parts(folder, name)))


class PartsReader(io.RawIOBase):
    """The whole as a stream; each part is checked before any of it is handed out.

    Raises:
        PartsError: while reading, where a part is missing or damaged.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._parts = _checked_parts(folder, name)
        self._current: BinaryIO = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not (count := self._current.readinto(buffer)):  # type: ignore[attr-defined]
            following = next(self._parts, None)
            if following is None:
                return 0
            self._current = io.BytesIO(following)
        return int(count)


def _checked_parts(folder: Path, name: str) -> Iterator[bytes]:
    try:
        listed = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["parts"]
    except (OSError, ValueError, KeyError) as error:
        raise PartsError(
            folder / f"{name}.json", f"cannot be read ({error})", "copy the folder again"
        ) from error
    for part in listed:
        path = folder / part["file"]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise PartsError(path, f"cannot be read ({error.strerror})", "copy it again") from error
        if hashlib.sha256(data).hexdigest() != part["sha256"]:
            raise PartsError(path, "is damaged (wrong checksum)", "copy it again")
        yield data
