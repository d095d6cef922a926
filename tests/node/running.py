"""A node that runs in a process of its own, and what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Launcher:
    """The process that nodes are forked from; see :mod:`tests.node.launch`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.node.launch"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> int | None:
        """Its answer to one request."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """With it, nothing that it has started."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class RunningNode:
    """A node with a fake worker; settings by the environment's names without their prefix."""

    def __init__(
        self,
        launcher: Launcher,
        store: Path,
        send: str = "",
        seams: dict[str, str] | None = None,
        **said: Any,
    ) -> None:
        self.store, self._launcher = store, launcher
        store.mkdir(exist_ok=True)
        settings = {
            "PORT": 0,
            "BIND": "127.0.0.1",
            "STORE": store,
            "ALLOW": "PACS@127.0.0.1",
            "SEND": send,
            # Of what was not released: long enough that a busy machine does not split a study.
            "STUDY_QUIET_SECONDS": 3,
            "STUDY_ON_RELEASE": "true",
            "SPOOL_MIN_FREE_BYTES": 0,
            "WORK_RETRY_SECONDS": 0.1,
            "SENDING_FIRST_PAUSE_SECONDS": 0.1,
            "SENDING_LONGEST_PAUSE_SECONDS": 0.5,
            "HTTP_PORT": 0,
            **said,
        }
        variables = {f"ABDOBOX_NODE_{key}": str(value) for key, value in settings.items()}
        self._log = store.parent / f"{store.name}.{time.monotonic_ns()}.log"
        self._log.touch()
        self._status: int | None = None
        pid = launcher.ask(start={**variables, **(seams or {})}, log=str(self._log))
        assert pid is not None
        self.pid = pid

    @property
    def text(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The same, one dictionary a line; what is no JSON as ``{"text": ...}``."""
        found = []
        for line in self.text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"text": line})
        return found

    def named(self, event: str) -> list[dict[str, Any]]:
        """Its events of one name."""
        return [one for one in self.events if one.get("event") == event]

    def wait(self, event: str, seconds: float = 60, count: int = 1) -> dict[str, Any]:
        """Until it has logged that."""
        end = time.monotonic() + seconds
        while len(found := self.named(event)) < count:
            assert time.monotonic() < end, (event, self.text[-3000:])
            assert self.running() or len(self.named(event)) >= count, (event, self.text[-3000:])
            time.sleep(0.05)
        return found[-1]

    @property
    def port(self) -> int:
        """That it listens on."""
        return self.wait("started")["port"]

    def http(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        url = f"http://127.0.0.1:{self.wait('started')['http_port']}{path}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def kill(self) -> None:
        """By SIGKILL."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """By a signal. Returns its exit status."""
        os.kill(self.pid, number)
        return self.ended()

    def ended(self, seconds: float = 60) -> int:
        """Wait for its end. Returns its exit status."""
        until(lambda: not self.running(), seconds)
        assert self._status is not None
        return self._status

    def running(self) -> bool:
        """Whether it does."""
        if self._status is None:
            self._status = self._launcher.ask(ended=self.pid)
        return self._status is None

    def __enter__(self) -> RunningNode:
        return self

    def __exit__(self, *error: object) -> None:
        if self.running():
            self.kill()

    def in_state(self, state: str) -> list[str]:
        """The names in one folder of the spool."""
        return sorted(path.name for path in (self.store / state).iterdir())


def until(ready: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.05)
