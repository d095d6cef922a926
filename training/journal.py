"""What a training says about itself: a JSON line per event, TensorBoard, a progress line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

FILE = "log.jsonl"


class Journal:
    """Writes events to ``log.jsonl`` and, where it is installed, to TensorBoard.

    Args:
        folder: of the run.
        quiet: True in all processes but the first, which then write nothing.
    """

    def __init__(self, folder: Path, quiet: bool = False) -> None:
        self.quiet = quiet
        self.path = folder / FILE
        self._board = None if quiet else _tensorboard(folder)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """One event; numbers also go to TensorBoard under ``kind/name``."""
        if self.quiet:
            return
        event = {"kind": kind, "step": step, "time": round(time.time(), 1), **values}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def progress(self, text: str) -> None:
        """One line that is overwritten, on a terminal only."""
        if not self.quiet and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """All events of a run; a last line that was cut off is left out."""
    if not (folder / FILE).exists():
        return []
    events = []
    for line in (folder / FILE).read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
