"""Destinations that are down, full disks, and peers that are slow, silent, hostile or unknown."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.hospital import dcmtk
from tests.node.hospital.ports import free_port, wait_until
from tests.node.hospital.sender import send
from tests.node.hospital.studies import write_studies
from tests.node.hospital.throttle import Line
from tests.node.hospital.trouble import (
    KINDS_OF_GARBAGE,
    assert_well,
    destination_down,
    disk_full,
    fill,
    garbage,
    half_sent,
    silent,
    throw,
)
from tests.node.hospital.world import World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # pynetdicom leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Make = Callable[..., World]
TIMEOUT = 2


@pytest.fixture
def other(tmp_path: Path):
    """A second destination."""
    there = dcmtk.StoreSCP(tmp_path / "other", free_port())
    there.start()
    yield there
    there.stop()


def test_a_destination_is_down(make_world: Make, tmp_path: Path, other: dcmtk.StoreSCP):
    world = make_world(
        more_destinations=[f"{other.aet}@127.0.0.1:{other.port}"],
        sending={"first_pause_seconds": 0.5, "longest_pause_seconds": 3},
    )
    figures = destination_down(world, write_studies(tmp_path, 3), other, down_seconds=8)
    assert figures["tries_while_down"] < 40, "it was tried without pauses"


@pytest.mark.parametrize(
    ("least_free", "leave"), [(6_000_000, 6_150_000), (0, 150_000)], ids=["setting", "really full"]
)
def test_disk_full(make_world: Make, mount: Callable, tmp_path: Path, least_free: int, leave: int):
    disk = mount("size=12m")
    world = make_world(
        store=disk / "spool",
        study={"quiet_seconds": 10},
        spool={"min_free_bytes": least_free},
        work={"retry_seconds": 1},
    )
    disk_full(world, write_studies(tmp_path / "sent", 4), disk, leave)


def test_disk_full_while_working(make_world: Make, mount: Callable, tmp_path: Path):
    """No fault of the study: it does not end in failed/, and has its result once there is room."""
    disk = mount("size=12m")
    world = make_world(
        store=disk / "spool",
        study={"quiet_seconds": 2},
        spool={"min_free_bytes": 0},
        work={"tries": 2, "retry_seconds": 1},
    )
    (study,) = write_studies(tmp_path / "sent", 1)
    assert len(send(world.node.port, study.paths).acknowledged) == len(study.paths)
    ballast = fill(disk, 0)
    time.sleep(10)
    assert world.node.running()
    assert world.node.spool()["failed"] == 0, world.node.log_text()
    ballast.unlink()
    world.wait_for_results([study], 120)
    world.check_results([study])


def test_half_sent_associations(make_world: Make, tmp_path: Path):
    world = make_world(study={"quiet_seconds": 8})
    (study,) = write_studies(tmp_path, 1)
    half_sent(world, study, random.Random(2))
    world.wait_for_results([study], 120)
    world.check_results([study])
    assert_well(world, 10)


def test_silent_senders(make_world: Make, tmp_path: Path):
    """Half a PDU and no more: the association is given up after the timeout, its place is free."""
    world = make_world(
        study={"quiet_seconds": 60}, associations={"timeout_seconds": TIMEOUT, "max": 3}
    )
    (study,) = write_studies(tmp_path, 1)
    closed = silent(world, study, TIMEOUT, random.Random(3))
    assert max(closed) < TIMEOUT + 8, closed
    assert_well(world, 10)


def test_a_slow_sender_is_served(make_world: Make, tmp_path: Path):
    """Slower than the timeout for the whole study, yet never silent."""
    world = make_world(associations={"timeout_seconds": TIMEOUT}, study={"quiet_seconds": 8})
    (study,) = write_studies(tmp_path, 1)
    began = time.monotonic()
    size = sum(path.stat().st_size for path in study.paths)
    with Line(world.node.port, bytes_per_second=size / (5 * TIMEOUT)) as line:
        sent = send(line.port, study.paths)
    assert len(sent.acknowledged) == len(study.paths)
    assert time.monotonic() - began > 2 * TIMEOUT
    world.wait_for_results([study], 120)
    world.check_results([study])


def test_garbage(make_world: Make, tmp_path: Path):
    """10,000 bytes of anything, many times: closed at once or after the timeout; memory stays."""
    world = make_world(associations={"timeout_seconds": TIMEOUT})
    rng = random.Random(4)
    throw(world.node.port, garbage("random", rng), 20)
    before = world.node.resident_bytes()
    for kind in KINDS_OF_GARBAGE * 3:
        closed = throw(world.node.port, garbage(kind, rng), TIMEOUT + 10)
        assert closed is not None, f"{kind}: never closed"
    assert_well(world, 10)
    assert world.node.resident_bytes() < before + 30e6
    studies = write_studies(tmp_path, 1)
    send(world.node.port, studies[0].paths)
    world.wait_for_results(studies, 120)
    world.check_results(studies)


def test_only_so_many_associations(make_world: Make):
    """More connections than are allowed at once: refused, and served when the silent ones go."""
    world = make_world(associations={"timeout_seconds": TIMEOUT, "max": 2})
    with Line(world.node.port, silent_at=10) as line:
        callers = [_hold(line.port) for _ in range(6)]
        wait_until(
            "the silent ones are gone",
            lambda: dcmtk.echoscu(world.node.port).returncode == 0,
            TIMEOUT + 30,
            0.5,
        )
        for caller in callers:
            caller.close()
    assert_well(world, TIMEOUT + 10)


def _hold(port: int):
    import socket

    caller = socket.create_connection(("127.0.0.1", port), 5)
    caller.sendall(b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00 silent")
    return caller


@pytest.mark.parametrize(
    ("calling", "called"),
    [("STRANGER", "ABDOBOX"), ("ORTHANC", "OTHERBOX"), ("orthanc", "ABDOBOX")],
    ids=["unknown caller", "another called", "case"],
)
def test_wrong_ae_titles(make_world: Make, tmp_path: Path, calling: str, called: str):
    world = make_world()
    (study,) = write_studies(tmp_path, 1)
    done = dcmtk.storescu(world.node.port, study.paths, calling=calling, called=called)
    assert done.returncode != 0
    assert "Rejected" in done.stderr, done.stderr
    assert dcmtk.echoscu(world.node.port, calling=calling, called=called).returncode != 0
    assert sum(world.node.spool().values()) == 0
    assert_well(world, 10)


def test_an_address_that_is_not_allowed(make_world: Make, tmp_path: Path):
    """The right AE title from another address."""
    world = make_world(allow=["ORTHANC@192.0.2.1", "ORTHANC@198.51.100.0/24"])
    (study,) = write_studies(tmp_path, 1)
    assert dcmtk.storescu(world.node.port, study.paths).returncode != 0
    assert sum(world.node.spool().values()) == 0
