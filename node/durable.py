"""Moves on disk that stay done when the machine's power goes: files and folders synced."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

# What a rename onto a folder that is not empty ends with.
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
# File systems that do not sync folders (some network ones) say so with these.
_UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries. Raises OSError, but not where the file system has no such thing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise
    finally:
        os.close(descriptor)


def changed_at(folder: Path) -> float:
    """When a folder's entries have last changed. Raises OSError.

    It is opened for that: over NFS a name's attributes may be half a minute old, those of what has
    just been opened are asked for anew, so that what another node writes is seen.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Sync a file's contents, whoever has written them. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(source: Path, target: Path) -> None:
    """Rename, and sync both folders. Raises OSError; FileNotFoundError: another one was first."""
    try:
        source.rename(target)
    except FileNotFoundError:
        # Over NFS an answer may be lost and the request sent twice: the second finds it done. Only
        # the asker's own name in the target tells; see Spool.claim.
        if "@" not in target.name or not target.exists():
            raise
    sync_folder(target.parent)
    if source.parent != target.parent:
        with suppress(FileNotFoundError):
            sync_folder(source.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, synced."""
    new = not path.exists()
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or a second copy where the file system knows no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except FileNotFoundError:
        raise
    except OSError:
        partial = target.with_name(f".{target.name}.copy")
        shutil.copyfile(source, partial)
        sync_file(partial)
        partial.rename(target)


def free_bytes(folder: Path) -> int:
    """Bytes that this process may still write there."""
    return shutil.disk_usage(folder).free
