"""Destinations that are down, full disks, and peers that are slow, silent, hostile or unknown."""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node.hospital import dcmtk
from tests.node.hospital.ports import free_port, wait_until
from tests.node.hospital.sender import send, send_until_taken
from tests.node.hospital.studies import Study, write_studies, write_study
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
from tests.node.hospital.world import World, world

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # pynetdicom leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Make = Callable[..., World]
TIMEOUT = 4  # seconds; shorter ones cut off honest senders on a busy machine
_STUDIES = itertools.count()


@pytest.fixture
def other(tmp_path: Path):
    """A second destination."""
    there = dcmtk.StoreSCP(tmp_path / "other", free_port())
    try:
        there.start()
        yield there
    finally:
        there.stop()


def test_a_destination_is_down(make_world: Make, tmp_path: Path, other: dcmtk.StoreSCP):
    world = make_world(
        more_destinations=[f"{other.aet}@127.0.0.1:{other.port}"],
        sending={"first_pause_seconds": 0.5, "longest_pause_seconds": 3},
    )
    figures = destination_down(world, write_studies(tmp_path, 3), other, down_seconds=8)
    assert figures["tries_while_down"] < 40, "it was tried without pauses"


@pytest.mark.parametrize(
    ("least_free", "leave", "quiet"),
    [(6_000_000, 5_900_000, 6), (0, 60_000, 45)],
    ids=["from the setting on", "full, whatever the setting"],
)
def test_disk_full(
    mount: Callable, make_world: Make, tmp_path: Path, least_free: int, leave: int, quiet: int
):
    disk = mount("size=12m")
    world = make_world(
        store=disk / "spool",
        study={"quiet_seconds": quiet},
        spool={"min_free_bytes": least_free, "hold_seconds": 0},
        work={"retry_seconds": 1},
    )
    disk_full(world, write_studies(tmp_path / "sent", 4), disk, leave)


def test_disk_full_while_working(mount: Callable, make_world: Make, tmp_path: Path):
    """No fault of the study: it does not end in failed/, and has its result once there is room."""
    disk = mount("size=12m")
    world = make_world(
        store=disk / "spool",
        study={"on_release": True},
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
    world.wait_for_results([study], 300)
    world.check_results([study])


@pytest.fixture(scope="module")
def hostile(
    _pacs: None, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One node for all of the rude: what one of them does must not tell on the next."""
    with world(
        tmp_path_factory.mktemp("hostile"),
        tiny_model,
        # Taken when it is released, which none of the broken associations is.
        study={"quiet_seconds": 600, "on_release": True},
        associations={"timeout_seconds": TIMEOUT, "max": 4},
    ) as there:
        yield there


@pytest.fixture
def new_study(hostile: World) -> Study:
    """One that the node has not had yet."""
    return write_study(hostile.scratch(), next(_STUDIES))


def well_after(hostile: World, study: Study) -> None:
    """A study goes through as if nothing had been."""
    send_until_taken(hostile.node.port, study.paths)
    hostile.wait_for_results([study], 300)
    hostile.check_results([study], by_dcmqi=0)
    assert_well(hostile, 30)


def test_half_sent_associations(hostile: World, new_study: Study):
    half_sent(hostile, new_study, random.Random(2))
    well_after(hostile, new_study)


def test_silent_senders(hostile: World, new_study: Study):
    """Half a PDU and no more: the association is given up after the timeout, its place is free."""
    closed = silent(hostile, new_study, TIMEOUT, random.Random(3))
    assert max(closed) < TIMEOUT + 8, closed
    well_after(hostile, new_study)


def test_a_slow_sender_is_served(hostile: World, new_study: Study):
    """Slower than the timeout for the whole study, yet never silent."""
    began = time.monotonic()
    size = sum(path.stat().st_size for path in new_study.paths)
    with Line(hostile.node.port, bytes_per_second=size / (5 * TIMEOUT)) as line:
        sent = send(line.port, new_study.paths)
    assert len(sent.acknowledged) == len(new_study.paths)
    assert time.monotonic() - began > 2 * TIMEOUT
    hostile.wait_for_results([new_study], 300)
    hostile.check_results([new_study])


def test_garbage(hostile: World, new_study: Study):
    """10,000 bytes of anything, many times: closed at once or after the timeout; memory stays."""
    rng = random.Random(4)
    throw(hostile.node.port, garbage("random", rng), 30)
    before = hostile.node.resident_bytes()
    for kind in KINDS_OF_GARBAGE * 3:
        closed = throw(hostile.node.port, garbage(kind, rng), TIMEOUT + 20)
        assert closed is not None, f"{kind}: never closed"
    assert hostile.node.resident_bytes() < before + 30e6
    well_after(hostile, new_study)


def test_only_so_many_associations(hostile: World):
    """More connections than are allowed at once: refused, and served when the silent ones go."""
    callers = [_hold(hostile.node.port) for _ in range(20)]
    wait_until(
        "the silent ones are gone",
        lambda: dcmtk.echoscu(hostile.node.port).returncode == 0,
        TIMEOUT + 60,
        0.5,
    )
    for caller in callers:
        caller.close()
    assert_well(hostile, TIMEOUT + 30)


def _hold(port: int) -> socket.socket:
    """Connect, begin a request, and say nothing more."""
    caller = socket.create_connection(("127.0.0.1", port), 5)
    caller.sendall(b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00 silent")
    return caller


@pytest.mark.parametrize(
    ("calling", "called"),
    [("STRANGER", "ABDOBOX"), ("ORTHANC", "OTHERBOX"), ("orthanc", "ABDOBOX")],
    ids=["unknown caller", "another called", "case"],
)
def test_wrong_ae_titles(hostile: World, new_study: Study, calling: str, called: str):
    before = hostile.node.spool()
    done = dcmtk.storescu(hostile.node.port, new_study.paths, calling=calling, called=called)
    assert done.returncode != 0
    assert "Rejected" in done.stderr, done.stderr
    assert dcmtk.echoscu(hostile.node.port, calling=calling, called=called).returncode != 0
    assert hostile.node.spool() == before
    assert_well(hostile, 30)


def test_an_address_that_is_not_allowed(make_world: Make, tmp_path: Path):
    """The right AE title from another address."""
    there = make_world(allow=["ORTHANC@192.0.2.1", "ORTHANC@198.51.100.0/24"])
    (study,) = write_studies(tmp_path, 1)
    assert dcmtk.storescu(there.node.port, study.paths).returncode != 0
    assert sum(there.node.spool().values()) == 0
