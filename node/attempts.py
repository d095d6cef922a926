"""How often a study has been tried: a file in its folder, a line for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .box import one_line
from .durable import append_line

FILE = "attempts.log"
_BEGUN, _FAILED, _STOPPED = "begun", "failed", "stopped"
# A try that ends with the node itself (power, kill) says nothing about the study; but what takes
# the whole machine down each time must not do so for ever.
_INTERRUPTED_TRIES = 20


@dataclass(frozen=True)
class Attempts:
    """What the file says.

    Attributes:
        begun: tries that were begun and not stopped by the node.
        failed: those that failed by themselves, with a reason each.
    """

    begun: int = 0
    failed: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> Attempts:
        """Read a study's; none where there is no file."""
        try:
            text = (folder / FILE).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return cls()
        lines = [line.partition(" ") for line in text.splitlines()]
        kinds = [kind for kind, _, _ in lines]
        failed = tuple(said for kind, _, said in lines if kind == _FAILED)
        return cls(kinds.count(_BEGUN) - kinds.count(_STOPPED), failed)

    def exhausted(self, tries: int) -> bool:
        """Whether it is not to be tried again."""
        return (
            len(self.failed) >= tries or self.begun - len(self.failed) >= tries * _INTERRUPTED_TRIES
        )

    def pause_s(self, first: float) -> float:
        """How long to wait after the last failure: doubled each time, half an hour at most."""
        return min(first * 2 ** (len(self.failed) - 1), 1800.0) if self.failed else 0.0


def note_begun(folder: Path) -> None:
    """A try begins."""
    append_line(folder / FILE, _BEGUN)


def note_failed(folder: Path, reason: str) -> None:
    """It has failed."""
    append_line(folder / FILE, f"{_FAILED} {one_line(reason)}")


def note_stopped(folder: Path) -> None:
    """The node is told to stop: the try does not count."""
    append_line(folder / FILE, _STOPPED)
