"""A Slurm of one machine: controller, node and munge as this user, in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo", "squeue")
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES State=UP
"""


def missing() -> list[str]:
    """The programs that this machine lacks; daemons may lie where only root looks."""
    return [name for name in PROGRAMS if program(name) is None]


def program(name: str) -> str | None:
    """Where a program is."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class Slurm:
    """Runs from entering to leaving a ``with`` block.

    Args:
        folder: empty, with a short path (munge's socket allows about 100 letters).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Slurm:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        ports = [_free_port() for _ in range(2)]
        (self.folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0], user=getpass.getuser(),
                controller_port=ports[0], node_port=ports[1], folder=self.folder,
                cpus=os.cpu_count(),
            )
        )  # fmt: skip
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        files = [
            f"--{kind}-file={self.folder}/munge.{kind}" for kind in ("key", "pid", "log", "seed")
        ]
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket",
                     *files)  # fmt: skip
        _wait_until((self.folder / "munge.socket").exists, self)
        self._daemon("slurmctld", "-D", "-i")
        self._daemon("slurmd", "-D")
        _wait_until(lambda: self.call("sinfo", "-h", "-o", "%T").stdout.strip() == "idle", self)

    def __exit__(self, *exception: object) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def call(self, name: str, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's commands to its end; ``more`` are environment variables."""
        command = [str(program(name)), *map(str, words)]
        return subprocess.run(
            command, env=self.environment(more), capture_output=True, text=True, check=False,
            timeout=200,
        )  # fmt: skip

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """This process's, and where Slurm's configuration is."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), **more}

    def log(self) -> str:
        """What the daemons said."""
        return "\n".join(f"{p.name}:\n{p.read_text()}" for p in sorted(self.folder.glob("*.log")))

    def _daemon(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._daemons.append(
                subprocess.Popen(
                    [str(program(name)), *words], env=self.environment({}), stdout=log, stderr=log
                )
            )


def _wait_until(ready: Callable[[], bool], slurm: Slurm) -> None:
    end = time.monotonic() + 30
    while not ready():
        if time.monotonic() > end:
            raise RuntimeError(f"Slurm does not start\n{slurm.log()}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
