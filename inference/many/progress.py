"""What a person sees while scans are segmented. On standard error, and never in the way."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TextIO

from ..errors import one_line


class Progress:
    """One status line, rewritten in place on a terminal; elsewhere only lasting lines.

    Any thread may tell it anything.

    Args:
        quiet: no status, no warnings, no summary; errors remain.
        stream: where to write; standard error by default.
    """

    def __init__(self, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty()
        self._width = 0
        self._writing = threading.RLock()  # a signal's handler may write while its thread does

    def status(self, index: int, count: int, name: str, stage: str, seconds: float) -> None:
        """Show "[index/count] name: stage, seconds" until the next call."""
        if self._live:
            text = one_line(f"[{index}/{count}] {name}: {stage}, {seconds:.0f} s")
            with self._writing:
                self._write("\r" + text.ljust(self._width))
                self._width = len(text)

    def done(self, index: int, count: int, name: str, seconds: float) -> None:
        """A lasting line for a finished case, on a terminal."""
        if self._live:
            self._line(f"[{index}/{count}] {name}: {seconds:.1f} s")

    def warning(self, text: str) -> None:
        """A lasting line about an oddity."""
        if not self._quiet:
            self._line(f"warning: {text}")

    def error(self, text: str) -> None:
        """A lasting line about a failure; shown even when quiet."""
        self._line(f"error: {text}")

    def summary(self, text: str) -> None:
        """The closing line."""
        if not self._quiet:
            self._line(text)

    def _line(self, text: str) -> None:
        with self._writing:
            clear = "\r" + " " * self._width + "\r" if self._width else ""
            self._write(f"{clear}{one_line(text)}\n")
            self._width = 0

    def _write(self, text: str) -> None:
        # A terminal that has gone or a log on a full disk must not stop the work.
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
