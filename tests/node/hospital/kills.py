"""SIGKILL at random moments, while four senders go on as a PACS does."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.node.hospital.running import Node
from tests.node.hospital.sender import Parallel, send_until_taken
from tests.node.hospital.studies import Study, write_study
from tests.node.hospital.world import World

# Where a study is when the node is killed, and within how many seconds of its getting there.
MOMENTS = {"receiving": 0.6, "working": 0.6, "sending": 0.02}
MOST_WAITING = 4
QUIET_SECONDS = 15  # longer than a sender needs to find the node again, on a busy machine, too


@dataclass(frozen=True)
class Killed:
    """A run with kills.

    Attributes:
        kills: how many.
        held: how often studies lay in which place of the spool at the moment of a kill.
        studies: that were sent and acknowledged, each with one result at the end.
        interrupted: of them, how many needed more than one association.
        seconds: of it all.
    """

    kills: int
    held: dict[str, int]
    studies: int
    interrupted: int
    seconds: float

    def figures(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class _Senders:
    """Four, each sending one new study after another until it is told to end.

    They wait while much waits at the node: a backlog of hundreds would show nothing more.
    """

    def __init__(self, folder: Path, node: Node) -> None:
        self._folder, self._node = folder, node
        self._numbers, self._lock = itertools.count(), threading.Lock()
        self.enough = threading.Event()
        self.studies: list[Study] = []
        self.interrupted = 0
        self._threads = Parallel()
        for _ in range(4):
            self._threads.start(self._work)

    def _work(self) -> None:
        while not self.enough.is_set():
            if len(self._node.in_place("waiting")) >= MOST_WAITING:
                self.enough.wait(0.2)
                continue
            with self._lock:
                study = write_study(self._folder, next(self._numbers))
            tries = send_until_taken(self._node.port, study.paths, pause=0.03)
            with self._lock:
                self.studies.append(study)
                self.interrupted += tries > 1

    def join(self) -> None:
        self.enough.set()
        self._threads.join()


def kill_often(world: World, count: int, seed: int, until: float = float("inf")) -> Killed:
    """Kill the node ``count`` times; every study that was acknowledged has one result at the end.

    Fewer times, where ``time.monotonic()`` is ``until`` before.

    The node is started again at once. Every second time what it had started is left alive, as when
    the kernel takes one process for its memory.

    Raises:
        AssertionError: a result is missing, there twice or wrong.
    """
    rng, held, began = random.Random(seed), Counter[str](), time.monotonic()
    senders = _Senders(world.folder / "studies", world.node)
    try:
        for number in range(count):
            if time.monotonic() > until:
                count = number
                break
            moment = list(MOMENTS)[number % len(MOMENTS)]
            _wait_for(world, moment)
            time.sleep(rng.uniform(0.0, MOMENTS[moment]))
            held.update({place: 1 for place, n in world.node.spool().items() if n})
            world.node.kill(children=number % 2 == 0)
            world.node.start()
    finally:
        senders.join()
    world.wait_for_results(senders.studies, 120 + 10 * len(senders.studies))
    world.check_results(senders.studies)
    seconds = time.monotonic() - began
    return Killed(count, dict(held), len(senders.studies), senders.interrupted, seconds)


def _wait_for(world: World, place: str, seconds: float = 300) -> None:
    """Until a study is there; most never stay long in a place."""
    end = time.monotonic() + seconds
    while not world.node.in_place(place):
        assert time.monotonic() < end, f"no study came to {place}: {world.node.state()}"
        time.sleep(0.004)
