"""Studies of four associations at once come back once, as they should, under the right study."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.node.hospital import dcmtk
from tests.node.hospital.flood import flood, many_small, seconds_to_result
from tests.node.hospital.ports import wait_until
from tests.node.hospital.running import ROOT
from tests.node.hospital.sender import send
from tests.node.hospital.studies import Study, real_studies, write_studies
from tests.node.hospital.world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # pynetdicom leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Make = Callable[..., World]


def test_four_associations_at_once(make_world: Make, tmp_path: Path):
    world = make_world(study={"quiet_seconds": 6})
    flood(world, write_studies(tmp_path, 10))


def test_real_studies(make_world: Make, tmp_path: Path, shared_data: Path):
    """Explicit VR and JPEG 2000, as scanners wrote them."""
    world = make_world(study={"quiet_seconds": 6})
    studies = real_studies(shared_data, tmp_path)
    flood(world, studies, mixed=0)


def test_taken_at_release(make_world: Make, tmp_path: Path):
    """No quiet time is waited for; the same study again gives the same result, not a second one."""
    world = make_world(study={"quiet_seconds": 60, "on_release": True})
    studies = write_studies(tmp_path, 3)
    assert seconds_to_result(world, studies)["most"] < 60
    send(world.node.port, studies[0].paths)
    wait_until(
        "it is done again",
        lambda: len(world.node.in_place("done")) == 4,
        300,
        state=world.node.state,
    )
    world.check_results(studies)


def test_instances_that_come_twice(make_world: Make, tmp_path: Path):
    """A sender that repeats itself, within an association and in another, changes nothing."""
    world = make_world(study={"quiet_seconds": 6})
    (study,) = write_studies(tmp_path, 1)
    twice = tuple(itertools.chain.from_iterable((path, path) for path in study.paths))
    assert len(send(world.node.port, twice).acknowledged) == len(twice)
    assert len(send(world.node.port, study.paths[:5]).acknowledged) == 5
    world.wait_for_results([study], 300)
    world.check_results([study])


def test_orthanc_sends_by_the_rule_of_the_documentation(make_world: Make, tmp_path: Path):
    """deploy/orthanc.lua: CT series go to the node when they are complete; results do not."""
    # A busy machine's sender pauses for a second, and its series would be sent on in two parts.
    world = make_world(
        lua=ROOT / "deploy" / "orthanc.lua", pacs={"StableAge": 5}, study={"quiet_seconds": 10}
    )
    studies = write_studies(tmp_path, 3)
    for study in studies:
        done = dcmtk.storescu(world.orthanc.port, study.paths, called="ORTHANC")
        assert done.returncode == 0, done.stderr
    world.wait_for_results(studies, 300)
    wait_until("results are stable, too", lambda: _stable(world) >= 2 * len(studies), 60)
    world.wait_for_results(studies, 60)
    world.check_results(studies)
    assert set(world.orthanc.series("CT")) == {study.uid for study in studies}
    received = len(world.node.in_place("done"))
    assert received == len(studies), "a result was sent back to the node"


def _stable(world: World) -> int:
    changes = world.orthanc.get("/changes?limit=1000")["Changes"]
    return sum(change["ChangeType"] == "StableSeries" for change in changes)


def test_memory_and_files_stay(make_world: Make):
    """Short here; ``python -m benchmarks.node`` does it with a thousand."""
    world = make_world(study={"on_release": True})
    memory, looks = many_small(world, 60)
    lows = [low for low in memory.low_bytes[1:] if low]  # 0: nobody looked meanwhile
    assert lows[-1] < lows[0] * 1.1 + 20e6, memory.low_bytes
    assert memory.files[1] - memory.files[0] < 40
    assert len(looks) > 5


def test_two_nodes_on_one_spool(make_world: Make, tmp_path: Path):
    """Whichever gets to a study works on it; one dies, and the other does all of its work."""
    first = make_world(study={"quiet_seconds": 6})
    second = make_world(
        study={"quiet_seconds": 6},
        store=first.node.store,
        send=[f"ORTHANC@127.0.0.1:{first.orthanc.port}"],
    )
    studies = write_studies(tmp_path, 8)
    _send(first, studies[:4])
    _send(second, studies[4:])
    wait_until("work has begun", lambda: first.node.spool()["working"], 60, 0.002)
    second.node.kill()
    first.wait_for_results(studies, 300)
    first.check_results(studies)
    second.node.start()


def _send(world: World, studies: Sequence[Study]) -> None:
    for study in studies:
        assert len(send(world.node.port, study.paths).acknowledged) == len(study.paths)
