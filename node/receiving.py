"""Instances on their way into the spool, and studies that are taken once they are whole."""

from __future__ import annotations

import filecmp
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .durable import changed_at, free_bytes, sync_file, sync_folder
from .settings import Settings
from .spool import INSTANCE, Held, Spool, is_uid

_STRIPES = 64
# How far a folder's time may lie ahead of the file system's clock before that was set back.
_AHEAD_S = 5.0
# A disk with less is full, whatever the settings say.
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
        # Associations that have ended; an instance of one may still be on its way to disk.
        self._over: weakref.WeakSet[object] = weakref.WeakSet()
        self._released: set[str] = set()
        self._started = spool.nodes.beat()

    def room(self) -> bool:
        """Whether the disk takes more instances."""
        least = max(self._settings.spool.min_free_bytes, _LEAST_FREE_BYTES)
        return self._free(self._spool.root) >= least

    def room_for_more_of_one(self) -> bool:
        """Whether the instance that is coming in may go on: it, too, must not fill the disk.

        Where it did, pynetdicom's thread would end, and the association hang until its timeout.
        """
        least = max(self._settings.spool.min_free_bytes / 4, _LEAST_FREE_BYTES)
        return self._free(self._spool.root) >= least

    def room_for_results(self) -> bool:
        """Whether studies may be worked on: what is done makes room again."""
        return self._free(self._spool.root) >= _LEAST_FREE_BYTES

    def keep(self, file: Path, study: str, instance: str, sender: object) -> bool:
        """Bring a received file to the disk for good, as an instance of its study.

        An instance that is there already gives way: the last one that came counts.

        Args:
            file: in ``spool.incoming``, complete.
            study, instance: UIDs that :func:`node.spool.is_uid` has passed.
            sender: the association.

        Returns:
            Whether it has replaced one of the same UID and other contents.

        Raises:
            FullError: the disk, or the study, is full.
            OSError: it cannot be written.
        """
        if not self.room():
            raise FullError("the disk is full")
        sync_file(file)
        size = file.stat().st_size
        folder = self._spool.state("receiving") / study
        target = folder / f"{instance}{INSTANCE}"
        with self._lock(study):
            sizes = self._measured(study, folder, size, target)
            replaced = _differs(file, target)
            while True:
                try:
                    file.rename(target)
                    break
                except FileNotFoundError:  # new, or taken by another node just now
                    file.stat()
                    folder.mkdir(exist_ok=True)
                    sync_folder(folder.parent)
            sync_folder(folder)
            self._sizes[study] = sizes
            self._released.discard(study)
            self._open.setdefault(study, set()).add(sender)
        if sender in self._over:  # which ended() says first, and looks for what is open then
            self.ended(sender, released=False)
        return replaced

    def _measured(self, study: str, folder: Path, size: int, target: Path) -> tuple[int, int]:
        """Instances and bytes of a study, with the one that has come. Raises FullError."""
        if study not in self._sizes or not folder.exists():
            self._sizes[study] = 0, 0
            with suppress(FileNotFoundError):
                sizes = [entry.stat().st_size for entry in os.scandir(folder)]
                self._sizes[study] = len(sizes), sum(sizes)
        count, whole = self._sizes[study]
        limits = self._settings.study
        with suppress(FileNotFoundError):  # sent again
            count, whole = count - 1, whole - target.stat().st_size
        if count >= limits.max_instances:
            raise FullError(f"the study has {limits.max_instances} instances")
        if limits.max_bytes and whole + size > limits.max_bytes:
            raise FullError(f"the study has {limits.max_bytes} bytes")
        return count + 1, whole + size

    def ended(self, sender: object, released: bool) -> None:
        """An association has ended; ``released``: as it should, not aborted or lost."""
        self._over.add(sender)
        for study in [study for study, senders in list(self._open.items()) if sender in senders]:
            with self._lock(study):
                senders = self._open.get(study, set())
                senders.discard(sender)
                if not senders:
                    self._open.pop(study, None)
                    if released:
                        self._released.add(study)

    def take_whole(self) -> list[Held]:
        """Take every study that is whole, and say which. Raises OSError: none can be taken."""
        now = self._spool.nodes.beat()
        taken: list[Held] = []
        trouble: OSError | None = None
        for entry in os.scandir(self._spool.state("receiving")):
            if not is_uid(entry.name):  # a file system's own, such as lost+found
                continue
            try:
                with self._lock(entry.name):
                    taken += self._take_if_whole(entry, now)
            except FileNotFoundError:  # another node was first
                continue
            except OSError as error:  # which must not keep the others from being taken
                trouble = error
        for study in {*self._sizes, *self._released}:  # of those that other nodes have taken
            with self._lock(study):
                if not (self._spool.state("receiving") / study).exists():
                    self._sizes.pop(study, None)
                    self._released.discard(study)
        if trouble is not None and not taken:
            raise trouble
        return taken

    def _take_if_whole(self, entry: os.DirEntry[str], now: float) -> list[Held]:
        if not self._whole(entry, now):
            return []
        self._sizes.pop(entry.name, None)
        self._released.discard(entry.name)
        if any(Path(entry.path).iterdir()):
            return [self._spool.take(entry.name)]
        Path(entry.path).rmdir()  # made by a node that was killed just then
        return []

    def _whole(self, entry: os.DirEntry[str], now: float) -> bool:
        if self._settings.study.on_release and entry.name in self._released:
            return True
        touched = changed_at(Path(entry.path))
        if touched > now + _AHEAD_S:  # the clock was set back
            os.utime(entry.path)
            return False
        # After a restart, who was interrupted gets the time to come back.
        return now - max(touched, self._started) >= self._settings.study.quiet_seconds

    def drop_leftovers(self, age_s: float) -> None:
        """Remove what interrupted associations have left in the incoming folder."""
        oldest = self._spool.nodes.beat() - age_s  # by the clock that the files' times are of
        for entry in os.scandir(self._spool.incoming):
            with suppress(FileNotFoundError):
                if entry.is_file() and entry.stat().st_mtime < oldest:
                    Path(entry.path).unlink()

    def _lock(self, study: str) -> threading.Lock:
        return self._locks[hash(study) % _STRIPES]


def _differs(file: Path, target: Path) -> bool:
    """Whether there is a target, of other contents."""
    with suppress(FileNotFoundError):
        return not filecmp.cmp(file, target, shallow=False)
    return False
