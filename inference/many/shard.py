"""One machine's share of a folder that several work on: ``--shard I/N`` and ``--shard auto``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError

COUNT = "ABDOBOX_SHARDS"


@dataclass(frozen=True)
class Shard:
    """Share ``index`` of ``count``, from 1 on.

    A case belongs to a share by the hash of its name, not by its place in the sorted folder: tasks
    of an array start at different times, and files that come or go in between must not move other
    cases from share to share, where some would be done twice and some by nobody. The price is that
    shares differ in size: with n cases each, by about the square root of n.
    """

    index: int
    count: int

    def takes(self, name: str) -> bool:
        """Whether the case ``name`` belongs to this share."""
        import hashlib  # brings OpenSSL, which --help has no use for

        digest = hashlib.sha256(os.fsencode(name)).digest()
        return int.from_bytes(digest[:8]) % self.count == self.index - 1

    def named(self, stem: str, suffix: str) -> str:
        """``index.html``; of a share of several, ``index.I-of-N.html``."""
        part = "" if self.count == 1 else f".{self.index}-of-{self.count}"
        return f"{stem}{part}{suffix}"

    def files(self, folder: Path, suffix: str) -> list[str]:
        """Names of the files with that suffix that a folder holds of this share's cases, sorted.

        Raises:
            OutputError: the folder cannot be read.
        """
        try:
            return sorted(
                entry.name
                for entry in os.scandir(folder)
                if entry.name.endswith(suffix)
                and self.takes(entry.name.removesuffix(suffix))
                and entry.is_file(follow_symlinks=False)
            )
        except OSError as error:
            cause = f"cannot be read ({error.strerror})"
            raise OutputError(folder, cause, "check its permissions") from error

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard(1, 1)


def parse_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """``I/N`` with 1 <= I <= N, or ``auto``: see :func:`shard_of_array`. Raises ValueError."""
    if text == "auto":
        return shard_of_array(environment)
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise ValueError(f"{text!r} is neither I/N nor auto")
    return _checked(int(index), int(count), text)


def shard_of_array(environment: Mapping[str, str] = os.environ) -> Shard:
    """The share of a task of a Slurm job array or of a pod of a Kubernetes Indexed Job.

    ``SLURM_ARRAY_TASK_ID`` or ``JOB_COMPLETION_INDEX`` gives the index and ``ABDOBOX_SHARDS`` the
    count; the tasks are then numbered from 0. Kubernetes tells a pod no count, so there it must be
    set. Slurm tells it, and the array may then start anywhere and go in steps; but an array of only
    the tasks that failed counts these alone, so that for them, too, the count must be set.

    Raises:
        ValueError: no such variables, or they name no share.
    """
    task = environment.get("SLURM_ARRAY_TASK_ID")
    given = environment.get(COUNT)
    if task is not None and given is None:
        return _of_slurm(environment)
    name = "JOB_COMPLETION_INDEX" if task is None else "SLURM_ARRAY_TASK_ID"
    if name not in environment:
        raise ValueError("auto: this is no task of a Slurm array or a Kubernetes Indexed Job")
    if given is None:
        raise ValueError(f"auto: {COUNT} must hold the number of completions")
    index, count = _number(environment, name), _number(environment, COUNT)
    return _checked(index + 1, count, f"auto: {name}={index}, {COUNT}={count}")


def _of_slurm(environment: Mapping[str, str]) -> Shard:
    task, count = (_number(environment, f"SLURM_ARRAY_TASK_{part}") for part in ("ID", "COUNT"))
    first = _number(environment, "SLURM_ARRAY_TASK_MIN")
    last = _number(environment, "SLURM_ARRAY_TASK_MAX")
    step = (last - first) // max(count - 1, 1) or 1
    if first + step * (count - 1) != last or (task - first) % step:
        raise ValueError(f"auto: the array's tasks are not evenly numbered; set {COUNT}")
    return _checked((task - first) // step + 1, count, f"auto: SLURM_ARRAY_TASK_ID={task}")


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not text.isdecimal():
        raise ValueError(f"auto: {name} is {text!r}, not a number")
    return int(text)


def _checked(index: int, count: int, text: str) -> Shard:
    if not 1 <= index <= count:
        raise ValueError(f"{text}: there is no share {index} of {count}")
    return Shard(index, count)
