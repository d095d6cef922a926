"""The spool: states of studies are folders, and every change of state is one rename.

::

    receiving/<study>/             instances come in, <sop>.dcm
    waiting/<study>.<n>            taken whole; a later instance opens a new receiving/<study>
    working/<study>.<n>@<node>     has results.part/, then results/
                                   and a file together.<m> where it holds all that m has
    sending/<study>.<n>@<node>     and a file sent.<AET> for each destination that has them all
    done/<study>.<n>               results/, and series.json once the source is gone
    failed/<study>.<n>             reason.txt

Beside them ``incoming/<node>/`` (instances that are being received) and ``nodes/``. ``<study>`` is
the StudyInstanceUID. ``@<node>`` says whose it is (:mod:`node.nodes`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .durable import TAKEN, move, sync_folder
from .nodes import Membership

STATES = ("receiving", "waiting", "working", "sending", "done", "failed")
_UID = re.compile(r"[0-9][0-9.]{0,63}")
_NAME = re.compile(r"(?P<study>[0-9][0-9.]{0,63})\.(?P<number>\d{1,9})(@(?P<owner>[0-9a-f]{8}))?")
INSTANCE = ".dcm"
# In the order in which a study goes through them: who looks at them in turn meets it once at least.
_NUMBERED = STATES[1:]


def is_uid(text: str) -> bool:
    """Whether it may be a folder's or file's name here: digits and dots, a digit first, 64 at most.

    PS3.5, 9.1 asks for more (no leading zeros in components); studies in the field keep less.
    """
    return _UID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Held:
    """A study in one of the numbered states.

    Attributes:
        path: its folder, with the state's folder above it.
        study: StudyInstanceUID.
        number: 1 for the first time that it came, 2 for what came later ...
        owner: the node that has it, in ``working`` and ``sending``.
    """

    path: Path
    study: str
    number: int
    owner: str | None = None

    @property
    def name(self) -> str:
        """``<study>.<n>``."""
        return f"{self.study}.{self.number}"

    @property
    def results(self) -> Path:
        """Where its results are, once they are all there."""
        return self.path / "results"

    def instances(self) -> list[Path]:
        """The source instances that are there."""
        return [path for path in self.path.iterdir() if path.name.endswith(INSTANCE)]

    def whole_of(self, number: int) -> Path:
        """A file that says that all instances of another number are here, too, unchanged."""
        return self.path / f"together.{number}"


class Spool:
    """The folders, and the moves between them.

    Args:
        root: an existing folder on one file system.

    Raises:
        OSError: it cannot be written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in (*STATES, "incoming", "nodes"):
            (root / name).mkdir(exist_ok=True)
        sync_folder(root)
        self.nodes = Membership(root / "nodes")
        self.incoming = root / "incoming" / self.nodes.id
        self.incoming.mkdir()
        self.temporary = self.incoming / "worker"
        self.temporary.mkdir()

    def state(self, name: str) -> Path:
        """A state's folder."""
        return self.root / name

    def held(self, state: str, mine: bool = False) -> list[Held]:
        """The studies of a numbered state, the longest untouched first; ``mine``: this node's."""
        found = []
        for entry in os.scandir(self.state(state)):
            held = parse_name(Path(entry.path))
            if held is None or (mine and held.owner != self.nodes.id):
                continue
            with suppress(FileNotFoundError):  # moved on meanwhile
                found.append((entry.stat(follow_symlinks=False).st_mtime, held.number, held))
        return [held for _, _, held in sorted(found, key=lambda one: one[:2])]

    def of_study(self, study: str) -> Iterator[Held]:
        """All that is held of a study, in any numbered state."""
        for state in _NUMBERED:
            for held in self.held(state):
                if held.study == study:
                    yield held

    def take(self, study: str) -> Held:
        """Move a study that has come in whole to ``waiting``.

        Raises:
            FileNotFoundError: another node has taken it.
        """
        number = 1 + max((held.number for held in self.of_study(study)), default=0)
        return self._moved(self.state("receiving") / study, "waiting", study, number)

    def claim(self, held: Held) -> Held:
        """Take a waiting study for this node to work on. Raises FileNotFoundError."""
        return self._owned(held, "working")

    def to_sending(self, held: Held) -> Held:
        """Its results are all there. Raises FileNotFoundError: it is another's by now."""
        return self._owned(held, "sending")

    def give_back(self, held: Held) -> Held:
        """Back to ``waiting``. Raises FileNotFoundError."""
        return self._moved(held.path, "waiting", held.study, held.number)

    def finish(self, held: Held, state: str) -> Held:
        """Move to ``done`` or ``failed``, whose age counts from now. Raises FileNotFoundError."""
        os.utime(held.path)
        return self._moved(held.path, state, held.study, held.number)

    def adopt(self) -> list[Held]:
        """Take over what dead nodes have had: back to waiting, or to this node for sending."""
        theirs = [held for state in ("working", "sending") for held in self.held(state)]
        folders = list((self.root / "incoming").iterdir())
        # After the folders: who has one was a node before.
        living = self.nodes.living()
        adopted = []
        for held in theirs:
            if held.owner in living:
                continue
            with suppress(FileNotFoundError):
                working = held.path.parent.name == "working"
                adopted.append(self.give_back(held) if working else self.to_sending(held))
        for folder in folders:
            if folder.name not in living:  # what was not acknowledged
                shutil.rmtree(folder, ignore_errors=True)
        self.nodes.bury(living)
        return adopted

    def leave(self) -> None:
        """Give back what is being worked on, and be no node any more.

        Where the spool cannot be reached, others will take over: nothing keeps the process.
        """
        with suppress(OSError):
            for held in self.held("working", mine=True):
                with suppress(OSError):
                    self.give_back(held)
        shutil.rmtree(self.incoming, ignore_errors=True)
        self.nodes.leave()

    def _owned(self, held: Held, state: str) -> Held:
        return self._moved(held.path, state, held.study, held.number, self.nodes.id)

    def _moved(
        self, source: Path, state: str, study: str, number: int, owner: str | None = None
    ) -> Held:
        """Move to a name that nothing else of the study has: a further number where it is taken."""
        while True:
            name = f"{study}.{number}@{owner}" if owner else f"{study}.{number}"
            target = self.state(state) / name
            try:
                move(source, target)
            except OSError as error:
                if error.errno not in TAKEN:
                    raise
                number += 1
                continue
            return Held(target, study, number, owner)


def parse_name(path: Path) -> Held | None:
    """What a folder of a numbered state holds; None for anything else that lies there."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        return None
    return Held(path, found["study"], int(found["number"]), found["owner"])
