"""Takes waiting studies one after the other, and has them segmented."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from .attempts import FILE, Attempts, note_begun, note_failed, note_stopped
from .box import write_atomically
from .contexts import CT_CLASSES
from .durable import sync_folder
from .file_meta import class_and_instance
from .gathering import Gathering, drop_partial
from .log import Log
from .metrics import Metrics
from .segmenting import PARTIAL, RESULTS, Order, Outcome
from .settings import WorkSettings
from .spool import Held, Spool
from .working_process import ModelFailedError, WorkerDiedError, WorkingProcess

_LOOK_S = 0.3
_RESTART_S = 5.0
_FULL_S = 10.0
_NO_ROOM = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))


class Worker:
    """The node's one line of work.

    Args:
        spool: the studies.
        settings: what is made of them.
        process: see :class:`WorkingProcess`.
        room: whether the disk has room for results: that it has none is no fault of a study.
        finished: called with a study that has nothing to be sent.
        log, metrics: told of everything.

    Attributes:
        trouble: why nothing can be worked on at the moment; None: all is well.
    """

    def __init__(
        self,
        spool: Spool,
        settings: WorkSettings,
        process: WorkingProcess,
        room: Callable[[], bool],
        finished: Callable[[Held], None],
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._spool, self._settings, self._process = spool, settings, process
        self._gathering = Gathering(spool)
        self._room, self._again = room, 0.0
        self._finished, self._log, self._metrics = finished, log, metrics
        self.trouble: str | None = "the model is being loaded"

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop."""
        for held in self._spool.held("working", mine=True):  # left by an error of the disk
            with suppress(FileNotFoundError):
                self._spool.give_back(held)
        try:
            while not stop.is_set():
                if not self._ready(stop):
                    stop.wait(_RESTART_S)
                elif not self.step(stop):
                    stop.wait(_LOOK_S)
        finally:
            if stop.is_set():
                self._process.end()

    def step(self, stop: threading.Event) -> bool:
        """Work on one study, if one is due."""
        if time.monotonic() < self._again or not self._room():
            return False
        now = self._spool.nodes.beat()
        working = self._spool.held("working")
        worked_on = {held.study for held in working if held.owner != self._spool.nodes.id}
        # Of what is still coming, a result would be of a part.
        not_now = worked_on | self._gathering.coming()
        for waiting in self._spool.held("waiting"):
            with suppress(FileNotFoundError):  # another node's by now
                if waiting.study not in not_now and self._due(waiting, now):
                    held = self._spool.claim(waiting)
                    if self._alone(held):
                        self._work(held, stop)
                        return True
                    self._spool.give_back(held)
        return False

    def _alone(self, held: Held) -> bool:
        """Whether no other node has begun with the same study at the same moment.

        Each would make a result of its part. Who claims looks afterwards, so that one sees the
        other, or both do; they meet seldom, and hardly twice.
        """
        working = self._spool.held("working")
        return not any(one.study == held.study and one.owner != held.owner for one in working)

    def _ready(self, stop: threading.Event) -> bool:
        if self._process.alive:
            return True
        try:
            self._process.start(stop)
        except (ModelFailedError, WorkerDiedError, OSError) as error:
            self.trouble = str(error)
            if not stop.is_set():
                trace = self._process.trace()
                self._log("worker_not_started", "error", reason=str(error), trace=trace)
            return False
        self.trouble = None
        self._metrics.worker_starts.add()
        self._log("worker_ready", seconds=self._process.ready_seconds)
        return True

    def _due(self, held: Held, now: float) -> bool:
        attempts = Attempts.of(held.path)
        if not attempts.failed:
            return True
        pause = attempts.pause_s(self._settings.retry_seconds)
        return now - (held.path / FILE).stat().st_mtime >= pause

    def _work(self, held: Held, stop: threading.Event) -> None:
        log = self._log.about(study=held.study, number=held.number)
        if held.results.is_dir():  # a node was ended just before it could say so
            self._send(held)
            return
        if Attempts.of(held.path).exhausted(self._settings.tries):
            self._end_tries(held, log)
            return
        if not _has_ct(held):
            log("nothing_to_segment", instances=len(held.instances()))
            self._finished(held)
            return
        together, gone = self._gathering.gather(held)
        lacking = self._gathering.lacking(held)
        count = len(held.instances())
        log("work_begun", instances=count, together_with=together, without=gone)
        note_begun(held.path)
        order = Order(
            str(held.path),
            list(self._settings.formats),
            self._settings.seg_type,
            self._settings.html,
            list(lacking),
        )
        begun = time.monotonic()
        try:
            outcome = self._process.ask(order, stop, self._settings.timeout_seconds)
        except WorkerDiedError as error:
            if stop.is_set():
                note_stopped(held.path)
                self._spool.give_back(held)
                return
            outcome = Outcome(failed=[str(error)])
            log("worker_died", "error", reason=str(error), trace=self._process.trace())
        self._metrics.work_seconds.add(time.monotonic() - begun)
        self._metrics.work_count.add()
        outcome = replace(outcome, failed=[*lacking.values(), *outcome.failed])
        self._settle(held, outcome, log)

    def _settle(self, held: Held, outcome: Outcome, log: Log) -> None:
        """Where the study goes from here."""
        for reason in outcome.failed:
            log("series_failed", "error", reason=reason)
        if outcome.failed and (not self._room() or _full(outcome)):
            self._again = time.monotonic() + _FULL_S
            note_stopped(held.path)
            self._spool.give_back(held)
            return
        if self._gathering.more_came(held):
            log("more_came", results=outcome.results)
            note_stopped(held.path)
            self._spool.give_back(held)
            return
        if outcome.failed:
            note_failed(held.path, "; ".join(outcome.failed))
            if Attempts.of(held.path).exhausted(self._settings.tries):
                self._end_tries(held, log)
            else:
                self._spool.give_back(held)
            return
        log(
            "work_done",
            results=outcome.results,
            left_out=outcome.left_out,
            warnings=len(outcome.warnings),  # of what they say of a patient, results speak
            seconds=outcome.seconds,
        )
        if outcome.results:
            self._publish(held)
        else:
            drop_partial(held)
            self._finished(held)

    def _end_tries(self, held: Held, log: Log) -> None:
        """It is not tried again: what its sound series have given is sent, if anything."""
        made = len(list((held.path / PARTIAL).glob("*.dcm")))
        if made:
            failed = Attempts.of(held.path).failed
            self._metrics.in_part.add()
            log("study_in_part", "error", results=made, reason=failed[-1] if failed else "")
            self._publish(held)
        else:
            self._give_up(held, log)

    def _publish(self, held: Held) -> None:
        """All results are there: only now do they have their name."""
        partial = held.path / PARTIAL
        sync_folder(partial)
        partial.rename(held.path / RESULTS)
        sync_folder(held.path)
        self._send(held)

    def _send(self, held: Held) -> None:
        self._spool.to_sending(held)
        self._metrics.studies.add(of="sending")

    def _give_up(self, held: Held, log: Log) -> None:
        failed = Attempts.of(held.path).failed
        reason = failed[-1] if failed else "the node was interrupted each time"
        drop_partial(held)
        write_atomically(held.path / "reason.txt", f"{reason}\n".encode())
        self._spool.finish(held, "failed")
        self._metrics.studies.add(of="failed")
        log("study_failed", "error", reason=reason, tries=len(failed))


def _has_ct(held: Held) -> bool:
    """Whether any instance is a CT, by the file meta information that the node has written."""
    return any(class_and_instance(path)[0] in CT_CLASSES for path in held.instances())


def _full(outcome: Outcome) -> bool:
    """Whether a result could not be written for want of room, which is no fault of the study."""
    return any(text in line for line in outcome.failed for text in _NO_ROOM)
