"""Logs as JSON lines on standard error: UIDs, AE titles and addresses, never a patient's data."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Level = Literal["info", "warning", "error"]
_writing = threading.Lock()


class Log:
    """Writes events, one JSON object a line: time, level, event, and what is known of it."""

    def __init__(
        self, stream: TextIO | None = None, about: Mapping[str, Any] | None = None
    ) -> None:
        self._stream = stream or sys.stderr
        self._about = dict(about or {})

    def about(self, **known: Any) -> Log:
        """A log that says this with each event."""
        return Log(self._stream, {**self._about, **known})

    def __call__(self, event: str, level: Level = "info", **known: Any) -> None:
        """Write one event. A full disk or a closed pipe behind the stream stops nothing."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "level": level, "event": event, **self._about, **known}
        text = json.dumps(line, default=str)
        with _writing, suppress(OSError, ValueError):
            self._stream.write(text + "\n")
            self._stream.flush()
