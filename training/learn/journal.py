"""What a training says about itself: a JSON line per event, TensorBoard, a progress line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from training.learn.limits import Position

FILE = "log.jsonl"
# Steps over which losses are averaged.
STEPS = 20


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


class Losses:
    """Averages losses over some steps and writes the mean, the rate and the pace.

    Args:
        journal: where to.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._sum, self._steps, self._since = 0.0, 0, time.monotonic()

    def add(self, loss: float, position: Position, rate: float) -> None:
        """The loss of the step that has led to ``position``, taken at that learning rate."""
        self._sum, self._steps = self._sum + loss, self._steps + 1
        self._position, self._rate = position, rate
        if self._steps == STEPS:
            self.write()

    def write(self) -> None:
        """Write what has come together, if anything."""
        if not self._steps:
            return
        loss, pace = self._sum / self._steps, (time.monotonic() - self._since) / self._steps
        step, seconds = self._position.step, self._position.seconds
        self.journal.write(
            "training",
            step,
            loss=round(loss, 5),
            rate=self._rate,
            seconds=round(seconds, 1),
            step_seconds=round(pace, 3),
        )
        self.journal.progress(f"step {step}  loss {loss:.3f}  {pace:.2f} s/step")
        self._sum, self._steps, self._since = 0.0, 0, time.monotonic()


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
