"""Brings together what has come of one study at different times."""

from __future__ import annotations

import filecmp
import os
import shutil
from contextlib import suppress
from pathlib import Path

from .box import write_atomically
from .durable import link_or_copy, sync_folder
from .segmenting import PARTIAL
from .series import lacking, slices_of
from .spool import INSTANCE, Held, Spool

# For a study that moves from state to state meanwhile.
_LOOKS = 5


class Gathering:
    """Looks for the other instances of a study that is worked on.

    Args:
        spool: where all of them are.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def gather(self, held: Held) -> tuple[list[int], list[int]]:
        """Bring what else is held of the study beside what came now.

        Returns:
            The numbers of it, and those of which no instances are left.
        """
        others = {other.number for other in self._spool.of_study(held.study)} - {held.number}
        brought = {number: self._brought(number, held) for number in sorted(others)}
        return [n for n, found in brought.items() if found], [n for n in brought if not brought[n]]

    def lacking(self, held: Held) -> dict[str, str]:
        """The series of which a part only is there after :meth:`gather`, and why."""
        return lacking(held, self._spool.of_study(held.study))

    def coming(self) -> set[str]:
        """The studies of which something is being received."""
        return {entry.name for entry in os.scandir(self._spool.state("receiving"))}

    def more_came(self, held: Held) -> bool:
        """Whether slices of the same series have come since: the result is of a part only."""
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError):  # they are just taken
                late = [path for folder in self._late(held) for path in folder.iterdir()]
                late = [path for path in late if path.name.endswith(INSTANCE)]
                if not late:
                    return False
                mine = slices_of(held.instances())
                return not mine.keys().isdisjoint(slices_of(late))
        return True  # whatever they are: they are looked at with the next try

    def _late(self, held: Held) -> list[Path]:
        receiving = self._spool.state("receiving") / held.study
        waiting = [one.path for one in self._spool.held("waiting") if one.study == held.study]
        return [*([receiving] if held.study in self.coming() else []), *waiting]

    def _brought(self, number: int, held: Held) -> bool:
        for _ in range(_LOOKS):
            others = self._spool.of_study(held.study)
            other = next((one for one in others if one.number == number), None)
            if other is None or (other.path.parent.name == "working" and other.owner != held.owner):
                return False
            with suppress(FileNotFoundError):  # it moves on meanwhile
                return self._take_from(other, held)
        return False

    def _take_from(self, found: Held, held: Held) -> bool:
        """Whether there was anything. Raises FileNotFoundError: it has moved on meanwhile.

        What is in ``working`` is this node's, from a look before that was interrupted.
        """
        state = found.path.parent.name
        other = self._spool.claim(found) if state == "waiting" else found
        instances = other.instances()
        new = [path for path in instances if _supersedes(path, other, held)]
        if new:  # results of an earlier try are of fewer instances
            drop_partial(held)
        for path in new:
            if (held.path / path.name).exists():
                for mark in held.path.glob(held.whole_of(0).stem + ".*"):  # true no more
                    mark.unlink()
                (held.path / path.name).unlink()
            link_or_copy(path, held.path / path.name)
        sync_folder(held.path)
        if instances and all(_same_as(path, held) for path in instances):
            write_atomically(held.whole_of(other.number), b"")
        if state in ("waiting", "working", "failed"):  # all of it is here now
            shutil.rmtree(other.path)
        return bool(instances)


def drop_partial(held: Held) -> None:
    """Remove results that are not all there yet."""
    if (held.path / PARTIAL).is_dir():
        shutil.rmtree(held.path / PARTIAL)


def _supersedes(path: Path, other: Held, held: Held) -> bool:
    """Whether an instance of another number belongs into ``held``: what came last counts."""
    mine = held.path / path.name
    return not mine.exists() or (other.number > held.number and not _same_as(path, held))


def _same_as(path: Path, held: Held) -> bool:
    mine = held.path / path.name
    return path.samefile(mine) or filecmp.cmp(path, mine, shallow=False)
