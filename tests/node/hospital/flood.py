"""Many studies at once, by DCMTK; memory over many; how soon a result is back."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.node.hospital import dcmtk
from tests.node.hospital.ports import wait_until
from tests.node.hospital.sender import Parallel, send
from tests.node.hospital.studies import Study, write_study
from tests.node.hospital.world import World

ASSOCIATIONS = 4


@dataclass(frozen=True)
class Flood:
    """Studies that were sent by several associations at once.

    Attributes:
        studies: how many.
        associations: at a time.
        sending_seconds: until the last one was acknowledged.
        seconds: until the PACS had all results.
    """

    studies: int
    associations: int
    sending_seconds: float
    seconds: float

    def figures(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def flood(world: World, studies: Sequence[Study], mixed: int = 2) -> Flood:
    """Send studies by four associations at once, and check all results.

    The first ``mixed`` studies are each sent by all four at once, slices dealt out among them.

    Raises:
        AssertionError: something was refused, or a result is missing, there twice or wrong.
    """
    began = time.monotonic()
    senders = Parallel()
    for share in range(ASSOCIATIONS):
        lists = [study.paths[share::ASSOCIATIONS] for study in studies[:mixed]]
        lists += [study.paths for study in studies[mixed + share :: ASSOCIATIONS]]
        senders.start(_send_all, world.node.port, lists)
    senders.join()
    sent = time.monotonic() - began
    world.wait_for_results(studies, 120 + 20 * len(studies))
    seconds = time.monotonic() - began
    world.check_results(studies)
    return Flood(len(studies), ASSOCIATIONS, sent, seconds)


def _send_all(port: int, lists: list[tuple[Path, ...]]) -> None:
    for paths in lists:
        how = ("-xv",) if _is_jpeg_2000(paths[0]) else ()
        done = dcmtk.storescu(port, paths, *how)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-2000:]
        assert said.count("Received Store Response (Success)") == len(paths), said[-2000:]


def _is_jpeg_2000(path: Path) -> bool:
    from pydicom import dcmread

    header = dcmread(path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True)
    return str(header.file_meta.TransferSyntaxUID) == "1.2.840.10008.1.2.4.90"


@dataclass(frozen=True)
class Look:
    """One look at the node: seconds, studies done, bytes of memory, open files."""

    seconds: float
    done: int
    resident_bytes: int
    files: int


@dataclass(frozen=True)
class Memory:
    """Memory while many small studies went through.

    Attributes:
        studies: how many.
        low_bytes: the lowest memory while each fifth of them was done; it says whether memory
            creeps, where single looks catch a study being worked on.
        bytes_per_study: slope of a line through the looks after the first fifth.
        files: open files, least and most, after the first fifth.
        studies_per_minute: over all.
    """

    studies: int
    low_bytes: tuple[int, ...]
    bytes_per_study: float
    files: tuple[int, int]
    studies_per_minute: float

    def figures(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def many_small(world: World, count: int, until: float = float("inf")) -> tuple[Memory, list[Look]]:
    """Send ``count`` studies of ten slices by four associations, and watch the node's memory.

    Fewer, where ``time.monotonic()`` is ``until`` before.

    Raises:
        AssertionError: a study has no result, or more than one.
    """
    looks: list[Look] = []
    sent: list[int] = []
    over = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not over.is_set():
            looks.append(
                Look(
                    time.monotonic() - began,
                    world.node.spool()["done"],
                    world.node.resident_bytes(),
                    world.node.open_files(),
                )
            )
            over.wait(0.25)

    watcher, senders = Parallel(), Parallel()
    watcher.start(watch)
    try:
        for share in range(ASSOCIATIONS):
            senders.start(_send_small, world, range(share, count, ASSOCIATIONS), until, sent)
        senders.join()
        count = len(sent)
        wait_until(
            "all studies are done",
            lambda: world.node.spool()["done"] >= count and world.node.idle(),
            120 + 10 * count,
            0.5,
            world.node.state,
        )
    finally:
        over.set()
    watcher.join()
    found = world.orthanc.series()
    twice = {uid: len(names) for uid, names in found.items() if len(names) != 1}
    assert (len(found), twice) == (count, {}), world.node.state()
    return _memory(looks, count), looks


def _send_small(world: World, numbers: range, until: float, done: list[int]) -> None:
    for number in numbers:
        if time.monotonic() > until:
            return
        # A PACS does not send quicker than the box works for ever; nor are all files kept here.
        wait_until(
            "the node has caught up",
            lambda: world.node.spool()["waiting"] < 20,
            600,
            state=world.node.state,
        )
        study = write_study(world.folder / "small", number, slices=10)
        sent = send(world.node.port, study.paths)
        assert len(sent.acknowledged) == len(study.paths), (sent.statuses, world.node.state())
        done.append(number)
        for path in study.paths:
            path.unlink()


def _memory(looks: list[Look], count: int) -> Memory:
    lows = []
    for part in range(5):
        bytes_then = [
            look.resident_bytes
            for look in looks
            if part * count / 5 <= look.done < (part + 1) * count / 5
        ]
        lows.append(min(bytes_then, default=0))
    settled = [look for look in looks if look.done >= count / 5]
    assert len({look.done for look in settled}) > 1, "too few looks for a slope"
    slope = np.polyfit([k.done for k in settled], [k.resident_bytes for k in settled], 1)[0]
    files = [look.files for look in settled]
    rate = 60 * count / looks[-1].seconds
    return Memory(count, tuple(lows), float(slope), (min(files), max(files)), rate)


def seconds_to_result(world: World, studies: Sequence[Study]) -> dict[str, float]:
    """Seconds from the last slice's acknowledgement until the PACS has the result, one by one.

    The node is to be set to take a study when its association is released, or the quiet time is
    in the figure.
    """
    seconds = []
    for study in studies:
        before = _instances(world)
        sent = send(world.node.port, study.paths)
        began = time.monotonic()
        assert len(sent.acknowledged) == len(study.paths), sent.statuses
        wait_until(
            "the result",
            lambda n=before: _instances(world) > n,  # type: ignore[misc]
            300,
            0.01,
            world.node.state,
        )
        seconds.append(time.monotonic() - began)
    return {"median": statistics.median(seconds), "most": max(seconds), "first": seconds[0]}


def _instances(world: World) -> int:
    return int(world.orthanc.get("/statistics")["CountInstances"])
