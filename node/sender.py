"""Sends what is in ``sending/``: to each destination on its own, each study in its order.

A destination that is down is tried again with growing pauses, for as long as it takes: results are
kept until they are taken. One that refuses a result gets the others meanwhile, but never a later
result of the same study before an earlier one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .box import OutputError, write_atomically
from .file_meta import class_and_instance
from .log import Log
from .metrics import Metrics
from .sending import RefusedError, Target, UnreachableError
from .settings import SendSettings
from .spool import Held, Spool

_LOOK_S = 0.5


class Pauses:
    """Growing pauses between tries of one thing."""

    def __init__(self, settings: SendSettings) -> None:
        self._settings = settings
        self._pause, self._until = 0.0, 0.0

    def due(self) -> bool:
        """Whether it may be tried now."""
        return time.monotonic() >= self._until

    def failed(self) -> float:
        """It was in vain. Returns how long to wait: twice as long as before, up to the longest."""
        first, longest = self._settings.first_pause_seconds, self._settings.longest_pause_seconds
        self._pause = min(max(2 * self._pause, first), longest)
        self._until = time.monotonic() + self._pause
        return self._pause


class Sender:
    """One destination's loop.

    Args:
        spool: where the results lie.
        target: where they go.
        all_marks: of all destinations: with the last of them a study is done.
        settings: the pauses.
        finished: called with a study that every destination has.
    """

    def __init__(
        self,
        spool: Spool,
        target: Target,
        all_marks: Sequence[str],
        settings: SendSettings,
        finished: Callable[[Held], None],
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._spool, self._target, self._marks = spool, target, tuple(all_marks)
        self._settings, self._finished = settings, finished
        self._log, self._metrics = log.about(destination=str(target)), metrics
        self._down = Pauses(settings)
        self._refused: dict[str, Pauses] = {}

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            self.step(stop)
            stop.wait(_LOOK_S)

    def step(self, stop: threading.Event) -> None:
        """Send everything that is due."""
        waiting = self._spool.held("sending", mine=True)
        unsent = [held for held in self._spool.held("sending") if not self._has(held)]
        first: dict[str, int] = {}
        for held in unsent:
            first[held.study] = min(held.number, first.get(held.study, held.number))
        self._refused = {k: v for k, v in self._refused.items() if k in {h.name for h in waiting}}
        for held in waiting:
            if stop.is_set() or not self._down.due():
                return
            if self._has(held):
                self._finish(held)
            elif first.get(held.study, held.number) == held.number:
                pauses = self._refused.get(held.name)
                if pauses is None or pauses.due():
                    with suppress(FileNotFoundError):
                        self._send(held)

    def _has(self, held: Held) -> bool:
        return (held.path / self._target.mark).exists()

    def _send(self, held: Held) -> None:
        files = self._files(held)
        log = self._log.about(study=held.study, number=held.number)
        begun = time.monotonic()
        try:
            if files:
                self._target.send(files)
        except UnreachableError as error:
            self._metrics.send_failures.add(of=str(self._target))
            log("send_failed", "warning", reason=str(error), again_in_s=self._down.failed())
            return
        except FileNotFoundError:  # it is another node's by now
            raise
        except Exception as error:
            # Of a result that cannot be read, say: it must not hold up those of other studies.
            odd = f"cannot be sent ({type(error).__name__})"  # whose message may quote a data set
            self._refuse(held, str(error) if isinstance(error, RefusedError) else odd, log)
            return
        self._down = Pauses(self._settings)
        try:
            write_atomically(held.path / self._target.mark, b"")
        except OutputError as error:  # it will be sent again, and is the same
            log("not_marked_as_sent", "error", reason=str(error), again_in_s=self._down.failed())
            return
        self._metrics.sent.add(len(files), of=str(self._target))
        log("sent", results=len(files), seconds=round(time.monotonic() - begun, 3))
        self._finish(held)

    def _refuse(self, held: Held, reason: str, log: Log) -> None:
        self._metrics.send_failures.add(of=str(self._target))
        pause = self._refused.setdefault(held.name, Pauses(self._settings)).failed()
        log("result_refused", "error", reason=reason, again_in_s=pause)

    def _files(self, held: Held) -> list[Path]:
        """The results, without those that it has from an earlier number of the study.

        Series that come one after the other are segmented again with the next one; the same slices
        then make the same result, UID and all. Where it is not certain that they are the same (a
        study that is sent again when its sources are gone, or whose contents have changed), it is
        sent, and replaces the earlier one.
        """
        earlier = {
            class_and_instance(path)
            for other in self._spool.of_study(held.study)
            if other.number < held.number
            and held.whole_of(other.number).exists()
            and self._has(other)
            for path in other.results.glob("*.dcm")
        }
        files = sorted(held.results.glob("*.dcm"))
        return [path for path in files if class_and_instance(path) not in earlier]

    def _finish(self, held: Held) -> None:
        if all((held.path / mark).exists() for mark in self._marks):
            with suppress(FileNotFoundError):
                self._finished(held)
