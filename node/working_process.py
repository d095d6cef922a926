"""The working process as the node sees it: started, asked, watched, and started again."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .segmenting import Order, Outcome

_LOOK_S = 0.2
# How readily the kernel picks it where memory runs out, from -1000 to 1000: before the receiver.
_OOM_SCORE = 500


class WorkerDiedError(Exception):
    """The process has ended, or did not answer in time and was ended."""


class ModelFailedError(Exception):
    """The model cannot be loaded; the message says why."""


def usual_command(model: str, device: str) -> list[str]:
    """How the process is started, under either name of this package."""
    return [sys.executable, "-m", f"{__package__}.segmenting", model, device]


class WorkingProcess:
    """One process, kept for as long as it lives.

    Args:
        command: see :mod:`node.segmenting` for what it answers.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes | None] = queue.Queue()
        self.ready_seconds: float | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs and has loaded its model."""
        return (
            self.ready_seconds is not None
            and self._process is not None
            and self._process.poll() is None
        )

    def start(self, stop: threading.Event, timeout_s: float = 600.0) -> None:
        """Start it and wait until it is ready. Raises WorkerDiedError, ModelFailedError."""
        self.end()
        self._answers = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603 (our own command)
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        with suppress(OSError), open(f"/proc/{self._process.pid}/oom_score_adj", "w") as file:
            file.write(str(_OOM_SCORE))
        threading.Thread(
            target=_read, args=(self._process.stdout, self._answers), daemon=True
        ).start()
        answer = self._answer(stop, timeout_s)
        if "error" in answer:
            self.end()
            raise ModelFailedError(str(answer["error"]))
        self.ready_seconds = float(answer["ready"])

    def ask(self, order: Order, stop: threading.Event, timeout_s: float) -> Outcome:
        """Have a study segmented; ``timeout_s`` 0: however long it takes.

        Raises:
            WorkerDiedError: it died of it, or took too long, or the node is told to stop.
        """
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(order.line())
            self._process.stdin.flush()
        except OSError as error:
            self.end()
            raise WorkerDiedError("the working process was gone") from error
        return Outcome(**self._answer(stop, timeout_s))

    def end(self) -> None:
        """End it at once: what it computes is done again."""
        self.ready_seconds = None
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        process.wait()

    def _answer(self, stop: threading.Event, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s if timeout_s else float("inf")
        while True:
            try:
                line = self._answers.get(timeout=_LOOK_S)
            except queue.Empty:
                if stop.is_set():
                    self.end()
                    raise WorkerDiedError("the node is told to stop") from None
                if time.monotonic() > deadline:
                    self.end()
                    raise WorkerDiedError(f"no answer after {timeout_s:g} s") from None
                continue
            if line is None:
                code = self._process.wait() if self._process else None
                self.end()
                raise WorkerDiedError(f"the working process ended ({_ending(code)})")
            found = json.loads(line)
            assert isinstance(found, dict)
            return found


def _read(stream: Any, answers: queue.Queue[bytes | None]) -> None:
    with suppress(OSError, ValueError):
        for line in stream:
            answers.put(line)
    answers.put(None)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        import signal

        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"status {code}"
