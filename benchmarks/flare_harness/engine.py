"""The Docker engine: running a container to its end or its time limit."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# How long the engine may take to end a container that was killed, seconds.
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Limits:
    """What the challenge's command grants a container.

    Attributes:
        gpus: docker's ``--gpus`` value, as ``device=1``; None leaves it out.
        memory: docker's ``-m``.
        shm_size: docker's ``--shm-size``.
        timeout_s: wall clock after which the container is killed, seconds.
    """

    gpus: str | None = None
    memory: str = "28G"
    shm_size: str = "28gb"
    timeout_s: float = 600.0


@dataclass(frozen=True)
class Outcome:
    """How a container ended.

    Attributes:
        exit_code: of ``docker container run``; None where it had to be killed.
        seconds: wall clock around it, the container's start and removal included.
        log: the last lines that the container or the client wrote.
    """

    exit_code: int | None
    seconds: float
    log: str


def challenge_command(image: str, name: str, work: Path, limits: Limits) -> list[str]:
    """The organisers' ``docker container run``, without the client's own name.

    Args:
        image: the image.
        name: the container's.
        work: folder that holds ``inputs`` and ``outputs``.
        limits: see :class:`Limits`.
    """
    gpus = ["--gpus", limits.gpus] if limits.gpus else []
    return [
        *("container", "run", *gpus, "-m", limits.memory, f"--shm-size={limits.shm_size}"),
        *("--name", name, "--rm"),
        *("-v", f"{work}/inputs/:/workspace/inputs/", "-v", f"{work}/outputs/:/workspace/outputs/"),
        *(image, "/bin/bash", "-c", "sh predict.sh"),
    ]


class Docker:
    """A docker client.

    Args:
        program: its path; by default $DOCKER, else ``docker``.
    """

    def __init__(self, program: str | None = None) -> None:
        self._program = program or os.environ.get("DOCKER") or "docker"

    def image(self, image: str) -> dict[str, Any]:
        """Identity and size (MB of 10^6 bytes, as docker counts) of a local image.

        Raises:
            RuntimeError: no such image, or no engine.
        """
        found = self._call("image", "inspect", "-f", "{{.Id}} {{.Size}}", image)
        if found.returncode:
            raise RuntimeError(f"{image}: {found.stderr.strip() or 'cannot be inspected'}")
        identity, size = found.stdout.split()
        return {"name": image, "id": identity, "size_mb": round(int(size) / 1e6)}

    def run(self, command: list[str], name: str, log: Path, timeout_s: float) -> Outcome:
        """Run ``command`` to its end; a container that takes too long is killed by its name."""
        with open(log, "wb") as sink:
            start = time.perf_counter()
            client = subprocess.Popen(
                [self._program, *command],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            )  # fmt: skip
            code: int | None = None
            try:
                code = client.wait(timeout_s)
            except subprocess.TimeoutExpired:
                pass
            finally:
                seconds = time.perf_counter() - start
                if code is None:
                    self._end(client, name)
        return Outcome(code, seconds, _tail(log))

    def pid(self, name: str) -> int | None:
        """Process id of a container's first process on this machine; None unless it runs."""
        found = self._call("container", "inspect", "-f", "{{.State.Pid}}", name)
        pid = int(found.stdout) if found.returncode == 0 and found.stdout.strip().isdigit() else 0
        return pid or None

    def _end(self, client: subprocess.Popen[bytes], name: str) -> None:
        """Kill the container, then, should that not end it, the client."""
        self._call("kill", name)
        try:
            client.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            client.kill()
            client.wait()
            self._call("rm", "-f", name)

    def _call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self._program, *arguments]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", "the engine does not answer")


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
