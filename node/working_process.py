"""The working process as the node sees it: started, asked, watched, and started again."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .segmenting import Order, Outcome

_LOOK_S = 0.2
# How readily the kernel picks it where memory runs out, from -1000 to 1000: before the receiver.
_OOM_SCORE = 500
_TRACED = 20


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
        temporary: a folder for what its libraries put into temporary files.
    """

    def __init__(self, command: Sequence[str], temporary: Path) -> None:
        self._command, self._temporary = list(command), temporary
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[bytes | None] = queue.Queue()
        self._trace: deque[str] = deque(maxlen=_TRACED)
        self._tracing: threading.Thread | None = None
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
        for left in self._temporary.iterdir():  # by one that was killed
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
        self._answers = queue.Queue()
        self._process = subprocess.Popen(  # noqa: S603 (our own command)
            self._command,
            env={**os.environ, "TMPDIR": str(self._temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the node's to answer
        )
        with suppress(OSError), open(f"/proc/{self._process.pid}/oom_score_adj", "w") as file:
            file.write(str(_OOM_SCORE))
        self._trace = deque(maxlen=_TRACED)
        pipes = self._process.stdout, self._process.stderr
        threading.Thread(target=_read, args=(pipes[0], self._answers), daemon=True).start()
        self._tracing = threading.Thread(target=_trace, args=(pipes[1], self._trace), daemon=True)
        self._tracing.start()
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
        process.wait()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()

    def trace(self) -> list[str]:
        """Where in the code it has died, as far as faulthandler could say."""
        if self._tracing is not None:
            self._tracing.join(1.0)
        return list(self._trace)

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


def _trace(stream: Any, lines: deque[str]) -> None:
    """Keep faulthandler's lines; anything else may quote what a data set holds."""
    with suppress(OSError, ValueError):
        for line in stream:
            if line.startswith((b"Fatal Python error", b"Current thread", b'  File "')):
                lines.append(line.decode(errors="replace").strip())
        stream.close()


def _read(stream: Any, answers: queue.Queue[bytes | None]) -> None:
    with suppress(OSError, ValueError):
        for line in stream:
            answers.put(line)
        stream.close()
    answers.put(None)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        import signal

        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"status {code}"
