"""What finished studies leave on the disk, and for how long."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from .log import Log
from .series import drop_sources
from .settings import SpoolSettings
from .spool import Held, Spool

_DAY_S = 86_400.0


class Retention:
    """Removes finished studies by age and by size, the oldest first; others are never removed.

    Sources go earlier, from what is done and from what has its results and waits for a destination.
    """

    def __init__(self, spool: Spool, settings: SpoolSettings, log: Log) -> None:
        self._spool, self._settings, self._log = spool, settings, log

    def step(self, short_of_room: bool) -> None:
        """Remove what is due; ``short_of_room``: sources are not held for late instances any
        longer.
        """
        now = self._spool.nodes.beat()
        for held in self._spool.held("sending"):
            with suppress(FileNotFoundError):
                age = now - held.results.stat().st_mtime
                if short_of_room or age > self._settings.hold_seconds:
                    self._drop_sources(held)
        kept: list[tuple[float, int, Held]] = []
        for state in ("done", "failed"):
            for held in self._spool.held(state):
                with suppress(FileNotFoundError):
                    age = now - held.path.stat().st_mtime
                    if age > self._settings.keep_days * _DAY_S:
                        self._remove(held, "age")
                        continue
                    if state == "done" and (short_of_room or age > self._settings.hold_seconds):
                        self._drop_sources(held)
                    kept.append((age, _bytes(held), held))
        whole = sum(size for _, size, _ in kept)
        for _, size, held in sorted(kept, key=lambda one: -one[0]):
            if not self._settings.keep_bytes or whole <= self._settings.keep_bytes:
                break
            self._remove(held, "size")
            whole -= size

    def _drop_sources(self, held: Held) -> None:
        changed = held.path.stat()
        if drop_sources(held):
            # Its age still counts from when it was done.
            os.utime(held.path, ns=(changed.st_atime_ns, changed.st_mtime_ns))

    def _remove(self, held: Held, reason: str) -> None:
        shutil.rmtree(held.path, ignore_errors=True)
        state = held.path.parent.name
        log = self._log.about(study=held.study, number=held.number, state=state, reason=reason)
        if held.path.exists():
            log("study_not_removed", "error")
        else:
            log("study_removed")


def _bytes(held: Held) -> int:
    return sum(path.stat().st_size for path in held.path.rglob("*") if path.is_file())
