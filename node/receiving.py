"""Instances on their way into the spool, and studies that are taken once they are whole."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .durable import free_bytes, sync_file, sync_folder
from .settings import Settings
from .spool import INSTANCE, Held, Spool, is_uid

_STRIPES = 64
# How far a folder's time may lie ahead of the file system's clock before that was set back.
_AHEAD_S = 5.0
_LEAST_FREE_BYTES = 1 << 20


class FullError(Exception):
    """There is no room: on the disk, or within the limits of one study."""


class Receiving:
    """What is being received, by all associations of this node.

    Args:
        spool: where it goes.
        settings: limits, and when a study is whole.
        free: bytes that may still be written to a folder.
    """

    def __init__(
        self, spool: Spool, settings: Settings, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._spool, self._settings, self._free = spool, settings, free
        self._locks = [threading.Lock() for _ in range(_STRIPES)]
        self._sizes: dict[str, tuple[int, int]] = {}
        self._open: dict[str, set[object]] = {}
        self._released: set[str] = set()
        self._started = spool.nodes.beat()

    def room(self) -> bool:
        """Whether the disk takes more instances."""
        return self._free(self._spool.root) >= self._settings.spool.min_free_bytes

    def room_for_more_of_one(self) -> bool:
        """Whether the instance that is coming in may go on: it, too, must not fill the disk.

        Where it did, pynetdicom's thread would end, and the association hang until its timeout.
        """
        least = max(self._settings.spool.min_free_bytes / 4, _LEAST_FREE_BYTES)
        return self._free(self._spool.root) >= least

    def room_for_results(self) -> bool:
        """Whether studies may be worked on: what is done makes room again."""
        return self._free(self._spool.root) >= _LEAST_FREE_BYTES

    def keep(self, file: Path, study: str, instance: str, sender: object) -> None:
        """Bring a received file to the disk for good, as an instance of its study.

        Args:
            file: in ``spool.incoming``, complete.
            study, instance: UIDs that :func:`node.spool.is_uid` has passed.
            sender: the association.

        Raises:
            FullError: the disk, or the study, is full.
            OSError: it cannot be written.
        """
        if not self.room():
            raise FullError("the disk is full")
        sync_file(file)
        size = file.stat().st_size
        folder = self._spool.state("receiving") / study
        with self._lock(study):
            self._measure(study, folder, size, instance)
            while True:
                try:
                    file.rename(folder / f"{instance}{INSTANCE}")
                    break
                except FileNotFoundError:  # new, or taken by another node just now
                    file.stat()
                    folder.mkdir(exist_ok=True)
                    sync_folder(folder.parent)
            sync_folder(folder)
            self._open.setdefault(study, set()).add(sender)
            self._released.discard(study)

    def _measure(self, study: str, folder: Path, size: int, instance: str) -> None:
        if study not in self._sizes or not folder.exists():
            with suppress(FileNotFoundError):
                sizes = [entry.stat().st_size for entry in os.scandir(folder)]
                self._sizes[study] = len(sizes), sum(sizes)
            if not folder.exists():
                self._sizes[study] = 0, 0
        count, whole = self._sizes[study]
        limits = self._settings.study
        if (folder / f"{instance}{INSTANCE}").exists():  # sent again
            count, whole = count - 1, whole - (folder / f"{instance}{INSTANCE}").stat().st_size
        if count >= limits.max_instances:
            raise FullError(f"the study has {limits.max_instances} instances")
        if limits.max_bytes and whole + size > limits.max_bytes:
            raise FullError(f"the study has {limits.max_bytes} bytes")
        self._sizes[study] = count + 1, whole + size

    def ended(self, sender: object, released: bool) -> None:
        """An association has ended; ``released``: as it should, not aborted or lost."""
        for study in [study for study, senders in list(self._open.items()) if sender in senders]:
            with self._lock(study):
                senders = self._open.get(study, set())
                senders.discard(sender)
                if not senders:
                    self._open.pop(study, None)
                    if released:
                        self._released.add(study)

    def take_whole(self) -> list[Held]:
        """Take every study that is whole, and say which."""
        now = self._spool.nodes.beat()
        taken = []
        for entry in os.scandir(self._spool.state("receiving")):
            if not is_uid(entry.name):  # a file system's own, such as lost+found
                continue
            with suppress(FileNotFoundError), self._lock(entry.name):
                if self._whole(entry, now):
                    self._sizes.pop(entry.name, None)
                    self._released.discard(entry.name)
                    if any(Path(entry.path).iterdir()):
                        taken.append(self._spool.take(entry.name))
                    else:  # made by a node that was killed just then
                        Path(entry.path).rmdir()
        for study in list(self._sizes):  # of those that other nodes have taken
            with self._lock(study):
                if not (self._spool.state("receiving") / study).exists():
                    self._sizes.pop(study, None)
        return taken

    def _whole(self, entry: os.DirEntry[str], now: float) -> bool:
        if self._settings.study.on_release and entry.name in self._released:
            return True
        touched = Path(entry.path).stat().st_mtime
        if touched > now + _AHEAD_S:  # the clock was set back
            os.utime(entry.path)
            return False
        # After a restart, who was interrupted gets the time to come back.
        return now - max(touched, self._started) >= self._settings.study.quiet_seconds

    def drop_leftovers(self, age_s: float) -> None:
        """Remove what interrupted associations have left in the incoming folder."""
        oldest = time.time() - age_s
        for entry in os.scandir(self._spool.incoming):
            with suppress(FileNotFoundError):
                if entry.is_file() and entry.stat().st_mtime < oldest:
                    Path(entry.path).unlink()

    def _lock(self, study: str) -> threading.Lock:
        return self._locks[hash(study) % _STRIPES]
