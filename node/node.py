"""The node: its threads, and how it begins and ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .box import OutputError, one_line
from .durable import free_bytes
from .log import Log
from .metrics import Metrics
from .nodes import BEAT_S
from .receiver import Receiver
from .receiving import Receiving
from .retention import Retention
from .sender import Sender
from .sending import targets
from .series import drop_sources
from .settings import Settings
from .spool import STATES, Held, Spool
from .watch import Watch
from .worker import Worker
from .working_process import WorkingProcess, usual_command

_CLOCK_S = 0.25
_TIDY_S = 20.0
_JOIN_S = 8.0
# After an error of the disk or network, before the same is tried again.
_AGAIN_S = 2.0
_ERRED_S = 30.0
# An association may just have begun where there was none.
_BEGUN_S = 10.0


class Node:
    """Receives, segments and sends until it is told to stop.

    Args:
        settings: checked ones.
        command: of the working process; see :mod:`node.segmenting`.
        free: bytes that may still be written to a folder.

    Attributes:
        port, http_port: that are listened on, once started.
        failed: whether a thread has ended by an error that is the node's own: then it is not well,
            and its process ends with an exit status that says so, to be started again.
    """

    def __init__(
        self,
        settings: Settings,
        log: Log,
        command: Sequence[str] | None = None,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._settings, self._log, self._free = settings, log, free
        self.metrics = Metrics()
        self._stop = threading.Event()
        self.failed = False
        self._erred = float("-inf")
        self.port = self.http_port = 0
        self._spool = Spool(settings.store_folder)
        self._receiving = Receiving(self._spool, settings, free)
        self._receiver = Receiver(settings, self._spool, self._receiving, log, self.metrics)
        usual = usual_command(settings.work.model, settings.work.device)
        self._worker = Worker(
            self._spool,
            settings.work,
            WorkingProcess(command or usual, self._spool.temporary),
            self._receiving.room_for_results,
            self._done,
            log,
            self.metrics,
        )
        self._retention = Retention(self._spool, settings.spool, log)
        self._targets = targets(settings)
        self._watch = Watch(settings.http, self)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin everything. Raises OSError: a port cannot be listened on."""
        try:
            self._adopt()
            self.port = self._receiver.start()
            self.http_port = self._watch.start()
        except OSError:
            self._receiver.stop()
            self._spool.leave()
            raise
        marks = [target.mark for target in self._targets]
        self._run("clock", self._clock)
        self._run("tidy", self._tidy)
        self._run("worker", self._worker.run)
        for target in self._targets:
            sender = Sender(
                self._spool,
                target,
                marks,
                self._settings.sending,
                self._done,
                self._log,
                self.metrics,
            )
            self._run(f"sender {target}", sender.run)
        self._log(
            "started",
            aet=self._settings.aet,
            port=self.port,
            http_port=self.http_port,
            node=self._spool.nodes.id,
            store=self._settings.store,
        )

    def wait(self, signalled: threading.Event) -> None:
        """Until told to stop, or something in here cannot go on."""
        while not (signalled.is_set() or self._stop.is_set()):
            signalled.wait(_CLOCK_S)
            threads = {"listener": self._receiver.listening, "http": self._watch.listening}
            for name in [name for name, alive in threads.items() if not alive]:
                self._log("internal_error", "error", thread=name, reason="it has ended")
                self.failed = True
                self._stop.set()

    def stop(self) -> None:
        """End: what is in flight is answered, what is being worked on goes back to waiting."""
        self._log("stopping")
        self._stop.set()
        self._receiver.stop()
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._watch.stop()
        self._spool.leave()
        self._log("stopped")

    def trouble(self) -> list[str]:
        """Why the node is not well; nothing where it is."""
        found = ["an internal error: the node ends; see the log"] if self.failed else []
        if self._worker.trouble is not None:
            found.append(f"worker: {self._worker.trouble}")
        try:
            if not self._receiving.room():
                found.append("disk full: instances are refused")
        except OSError as error:
            found.append(f"the spool cannot be reached ({error.strerror})")
        if time.monotonic() - self._erred < _ERRED_S:
            found.append("errors of the disk or network; see the log")
        return found

    def gauges(self) -> dict[str, dict[str, float] | float]:
        """How things stand."""
        counts = {state: float(len(list(self._spool.state(state).iterdir()))) for state in STATES}
        return {
            "studies": counts,
            "associations": float(self._receiver.associations()),
            "spool_free_bytes": float(self._free(self._spool.root)),
        }

    def _run(self, name: str, loop: Callable[[threading.Event], None]) -> None:
        """A loop in a thread of its own, begun again after an error of the disk or network."""

        def guarded() -> None:
            while not self._stop.is_set():
                try:
                    loop(self._stop)
                except (OSError, OutputError) as error:
                    self._log("system_error", "error", thread=name, reason=one_line(str(error)))
                    self._erred = time.monotonic()
                    self._stop.wait(_AGAIN_S)
                except Exception as error:
                    self._log("internal_error", "error", thread=name, reason=described(error))
                    self.failed = True
                    self._stop.set()

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _clock(self, stop: threading.Event) -> None:
        """What happens by time: studies become whole, nodes die."""
        beaten = time.monotonic()
        while not stop.wait(_CLOCK_S):
            for held in self._receiving.take_whole():
                self.metrics.studies.add(of="waiting")
                self._log("study_taken", study=held.study, number=held.number)
            if time.monotonic() - beaten > BEAT_S:
                beaten = time.monotonic()
                self._adopt()
                if not self._receiver.associations():
                    self._receiving.drop_leftovers(_BEGUN_S)

    def _tidy(self, stop: threading.Event) -> None:
        """Finished studies grow old; in a thread of its own, since it is what makes room again."""
        while not stop.wait(_TIDY_S):
            self._retention.step(not self._receiving.room())
            self._receiving.drop_leftovers(2 * self._settings.associations.timeout_seconds + 60)

    def _adopt(self) -> None:
        for held in self._spool.adopt():
            state = held.path.parent.name
            self._log("study_resumed", study=held.study, number=held.number, state=state)
        if not self._targets:
            for held in self._spool.held("sending", mine=True):
                self._done(held)

    def _done(self, held: Held) -> None:
        """Everybody has the results, or there are none."""
        done = self._spool.finish(held, "done")
        if self._settings.spool.hold_seconds == 0:
            drop_sources(done)
        self.metrics.studies.add(of="done")
        self._log("study_done", study=done.study, number=done.number)


def described(error: BaseException) -> dict[str, Any]:
    """An error without its message, which may quote a data set."""
    places = []
    where = error.__traceback__
    while where is not None:
        places.append(f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}")
        where = where.tb_next
    return {"type": type(error).__name__, "at": places[-4:]}
