"""The node as a process of its own, with its settings in a file as a hospital has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.node.hospital.ports import free_port, wait_until

ROOT = Path(__file__).resolve().parents[3]
PLACES = ("receiving", "waiting", "working", "sending", "done", "failed")
AET = "ABDOBOX"


class Node:
    """One node on free ports; can be killed and started again over the same spool.

    Args:
        folder: for its settings, its log and, where ``store`` names no other, its spool.
        model: as ``--model``.
        send: destinations, ``AET@HOST:PORT``.
        port, store: as another node has them, e.g. for two on one spool.
        settings: sections and keys of the TOML file, over those that all tests share.
    """

    def __init__(
        self,
        folder: Path,
        model: Path | str,
        send: list[str],
        *,
        store: Path | None = None,
        port: int | None = None,
        **settings: Any,
    ) -> None:
        self.folder, self.port, self.http_port = folder, port or free_port(), free_port()
        self.store = store or folder / "spool"
        self.store.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, Any] = {
            "aet": AET, "bind": "127.0.0.1", "port": self.port, "store": str(self.store),
            "allow": ["ORTHANC@127.0.0.1"], "send": send,
            "study": {"quiet_seconds": 6},
            "work": {"model": str(model)},
            "spool": {"min_free_bytes": 1_000_000},
            "http": {"port": self.http_port},
        }  # fmt: skip
        for key, value in settings.items():
            if isinstance(value, dict):
                self._settings.setdefault(key, {}).update(value)
            else:
                self._settings[key] = value
        (folder / "node.toml").write_text(toml(self._settings), encoding="utf-8")

    def start(self, ready: bool = True) -> None:
        """Start it, and wait until it is healthy."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ABDOBOX_")}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node", "--config", str(self.folder / "node.toml")],
                cwd=ROOT, env=environment, stderr=log, stdout=log,
            )  # fmt: skip
        if ready:
            wait_until("the node is healthy", self._healthy, 300, state=self.state)

    def kill(self, children: bool = True) -> None:
        """SIGKILL: to it and all that it started, or to it alone."""
        assert self._process is not None
        started = psutil.Process(self._process.pid).children(recursive=True) if children else []
        self._process.kill()
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        self._process = None

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM, and what it ends with; killed with all that it started where it hangs on."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM was not answered in {seconds:g} s") from None
        finally:
            self._process = None

    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def resident_bytes(self) -> int:
        """Memory of the process and all that it started."""
        assert self._process is not None
        top = psutil.Process(self._process.pid)
        total = 0
        for process in (top, *top.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:  # it has just ended
                continue
        return total

    def open_files(self) -> int:
        """File descriptors of the process."""
        assert self._process is not None
        return psutil.Process(self._process.pid).num_fds()

    def state(self) -> str:
        """What lies where, and the end of the log: for whoever reads why a test has failed."""
        return f"{dict(self.spool())}\n{self.log_text()[-3000:]}"

    def _healthy(self) -> bool:
        assert self.running(), f"the node has ended:\n{self.log_text()[-3000:]}"
        try:
            return self.health()[0] == 200
        except OSError:
            return False

    def http(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        try:
            address = f"http://127.0.0.1:{self.http_port}{path}"
            with urllib.request.urlopen(address, timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def health(self) -> tuple[int, dict[str, Any]]:
        """Of /health."""
        status, text = self.http("/health")
        return status, json.loads(text)

    def metrics(self) -> dict[str, float]:
        """Name with labels to value, of Prometheus' text format."""
        found = {}
        for line in self.http("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def log_text(self) -> str:
        """All that it has said, over all of its starts."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.is_file() else ""

    def log(self) -> list[dict[str, Any]]:
        """Its log lines; each must be JSON."""
        found = []
        for line in self.log_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                raise AssertionError(f"a line of the log is no JSON: {line!r}") from None
        return found

    def in_place(self, place: str) -> list[str]:
        """What the spool holds in one of its places."""
        try:
            return sorted(entry.name for entry in os.scandir(self.store / place))
        except FileNotFoundError:
            return []

    def spool(self) -> Counter[str]:
        """How many studies are where."""
        return Counter({place: len(self.in_place(place)) for place in PLACES})

    def idle(self) -> bool:
        """Whether nothing is left to do."""
        spool = self.spool()
        return not any(spool[place] for place in ("receiving", "waiting", "working", "sending"))


def toml(settings: dict[str, Any]) -> str:
    """Settings as TOML: JSON's values are TOML's, but for tables."""
    lines = [f"{k} = {json.dumps(v)}" for k, v in settings.items() if not isinstance(v, dict)]
    for name, section in settings.items():
        if isinstance(section, dict):
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in section.items())]
    return "\n".join(lines) + "\n"
