"""The nodes that share a spool, and which of them are dead.

Each holds a file ``nodes/<id>`` open, locked, and touches it every few seconds. A node is dead when
its lock is free and, where it ran on another machine (whose locks a network file system may not
carry over), its file has also not been touched for a minute, by the file system's own clock.
A name in the middle of a folder's name (``working/<study>.<n>@<id>``) says who has it: taking it
over is one rename, after which the former owner's renames find nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path


class DeposedError(Exception):
    """Others have taken this node for dead, and all that it had. It has to start anew."""


BEAT_S = 5.0
STALE_S = 60.0


def _boot_id() -> str:
    """The same for all processes and containers of one running kernel, and for nobody else."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


class Membership:
    """This process's place among the nodes of a spool.

    Args:
        folder: ``STORE/nodes``, which is there.

    Attributes:
        id: in the names of what this node has; random, since a process id says nothing across
            containers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.id = os.urandom(4).hex()
        self._file = folder / self.id
        self._boot = _boot_id()
        self._descriptor = os.open(
            self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644
        )
        with suppress(OSError):  # a file system without locks: age tells
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        about = {"host": socket.gethostname(), "pid": os.getpid(), "boot": self._boot}
        os.write(self._descriptor, json.dumps(about).encode() + b"\n")
        os.fsync(self._descriptor)

    def beat(self) -> float:
        """Show a sign of life. Returns the file system's time, which every node of it shares.

        Raises:
            DeposedError: see there.
            OSError: the spool cannot be reached.
        """
        try:
            os.utime(self._file)
            return self._file.stat().st_mtime
        except FileNotFoundError as error:
            raise DeposedError from error

    def living(self) -> set[str]:
        """The ids of nodes that are not known to be dead, this one's among them.

        Files of dead ones are removed by :meth:`bury`, once nothing is theirs any more.
        """
        now = self.beat()
        return {
            path.name
            for path in self._folder.iterdir()
            if path.name == self.id or not self._dead(path, now)
        }

    def bury(self, living: set[str]) -> None:
        """Remove the files of the dead."""
        for path in self._folder.iterdir():
            if path.name not in living and self._dead(path, self.beat()):
                with suppress(OSError):
                    path.unlink()

    def leave(self) -> None:
        """Be no node any more."""
        with suppress(OSError):
            self._file.unlink()
        os.close(self._descriptor)

    def _dead(self, path: Path, now: float) -> bool:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            found = os.fstat(descriptor)
            stale = now - found.st_mtime > STALE_S
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:
                return stale
            return stale or self._same_machine(descriptor, found)
        finally:
            os.close(descriptor)

    def _same_machine(self, descriptor: int, found: os.stat_result) -> bool:
        if not (self._boot and stat.S_ISREG(found.st_mode)):
            return False
        try:
            about = json.loads(os.read(descriptor, 4096))
        except (OSError, ValueError):  # just being written
            return False
        return isinstance(about, dict) and about.get("boot") == self._boot
