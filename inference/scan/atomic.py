"""Files that appear whole or not at all, whoever kills the process or writes there too."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError

_PARTIAL = re.compile(r"\..+\.[0-9a-f]{8}\.partial", re.DOTALL)
# Of the file's name within that of its partial file: file systems take 255, and 18 come on top.
_LONGEST_NAME_BYTES = 200
# Where a file system knows no locks, an older partial file is taken for a killed run's.
_LEFTOVER_S = 3600.0
_live: set[Path] = set()


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path``, sync it to disk, rename it into place. Raises OutputError.

    Nothing is written through a link: one that lies at ``path`` is replaced, and what it leads to
    stays as it is. The folder may be a link, since whoever named it chose where it leads.

    Several processes, containers and machines may write one file at once: the last one's stays.
    """
    partial: Path | None = None
    try:
        partial, descriptor = _begin(path)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            # Before the lock goes with the file's closing, so that nobody takes it for a leftover.
            os.replace(partial, path)
        with suppress(OSError):  # some file systems do not sync folders; the file is there
            _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            path,
            f"cannot be written ({error.strerror})",
            "check the folder's space and permissions",
        ) from error
    finally:
        if partial is not None:
            _discard(partial)


def make_folder(folder: Path) -> None:
    """Make a folder for results, where it is missing. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            folder, f"cannot be made ({error.strerror})", "check the path and its permissions"
        ) from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _begin(path: Path) -> tuple[Path, int]:
    """A new partial file for ``path`` and its descriptor, which holds a lock while it is open."""
    name = path.name
    while len(os.fsencode(name)) > _LONGEST_NAME_BYTES:  # by whole characters
        name = name[:-1]
    while True:
        # Neither process ids nor host names tell containers apart; random letters do.
        partial = path.with_name(f".{name}.{os.urandom(4).hex()}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        _live.add(partial)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return partial, descriptor
        # Another run's remove_leftovers came between the file and its lock.
        os.close(descriptor)
        _live.discard(partial)


def _discard(partial: Path) -> None:
    with suppress(OSError):
        partial.unlink()
    _live.discard(partial)


def discard_live() -> None:
    """Remove the files that this process is writing right now: for one that must leave at once."""
    for partial in list(_live):
        _discard(partial)


def remove_leftovers(folder: Path) -> None:
    """Remove the partial files of killed runs from ``folder``; those of running ones stay.

    A running one's is locked, across containers too. Where a file system has no locks, age tells.
    A folder that is missing or cannot be read is left to whoever writes there next.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PARTIAL.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_left(Path(entry.path))


def _remove_if_left(partial: Path) -> None:
    descriptor = os.open(partial, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if _is_left(descriptor):
            partial.unlink()
    finally:
        os.close(descriptor)


def _is_left(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime > _LEFTOVER_S
    return True
