"""SIGKILL while receiving, working and sending, and leaving in good order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.hospital.kills import QUIET_SECONDS, kill_often
from tests.node.hospital.ports import wait_until
from tests.node.hospital.sender import send
from tests.node.hospital.studies import write_studies
from tests.node.hospital.world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # pynetdicom leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Make = Callable[..., World]


def test_every_acknowledged_study_has_one_result(make_world: Make, capsys):
    """Six here; ``python -m benchmarks.node`` does thirty."""
    world = make_world(study={"quiet_seconds": QUIET_SECONDS})
    killed = kill_often(world, 6, seed=1)
    with capsys.disabled():
        print(f"\n{killed.figures()}")
    assert {"receiving", "working"} <= killed.held.keys()
    assert killed.studies >= 4


def test_asked_to_leave(make_world: Make, tmp_path: Path):
    """SIGTERM while it works: soon, with 143, and the next start goes on."""
    world = make_world(study={"on_release": True})
    studies = write_studies(tmp_path, 4)
    for study in studies:
        assert len(send(world.node.port, study.paths).acknowledged) == len(study.paths)
    wait_until("work has begun", lambda: world.node.spool()["working"], 60, 0.002)
    assert world.node.stop(30) == 143, world.node.state()
    assert world.node.spool()["failed"] == 0
    world.node.start()
    world.wait_for_results(studies, 300)
    world.check_results(studies)
