"""Results on their way: destinations that are down, refuse, or take less than is offered."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from pydicom import Dataset

from node.sender import Pauses
from node.settings import SendSettings
from tests.node.pacs import Archive, send, study, study_uid
from tests.node.running import RunningNode, until
from tests.node.test_states import slices

# pynetdicom's own server leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Start = Callable[..., RunningNode]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_a_destination_that_is_down_gets_it_once_it_is_up(start: Start):
    port = free_port()
    node = start(send=f"LATE@127.0.0.1:{port}")
    send(node.port, slices())
    node.wait("send_failed", count=3)
    pauses = [one["again_in_s"] for one in node.named("send_failed")][:3]
    assert pauses == [0.1, 0.2, 0.4]
    assert node.in_state("sending") == [f"{study_uid(1)}.1@{node.wait('started')['node']}"]
    with Archive("LATE").listening(port) as late:
        late.wait(lambda: len(late.taken) == 1)
        node.wait("study_done")
        assert len(late.taken) == 1


def test_pauses_grow_to_the_longest():
    pauses = Pauses(SendSettings(first_pause_seconds=2, longest_pause_seconds=10))
    assert pauses.due()
    assert [pauses.failed() for _ in range(5)] == [2, 4, 8, 10, 10]
    assert not pauses.due()


def test_one_destination_waits_for_no_other_and_gets_nothing_twice(start: Start, archive: Archive):
    port = free_port()
    node = start(send=f"ARCHIVE@127.0.0.1:{archive.port},LATE@127.0.0.1:{port}")
    send(node.port, slices())
    node.wait("sent")
    node.wait("send_failed", count=2)
    node.kill()
    again = start(send=f"ARCHIVE@127.0.0.1:{archive.port},LATE@127.0.0.1:{port}")
    with Archive("LATE").listening(port) as late:
        again.wait("study_done")
        assert len(late.taken) == 1
    assert len(archive.taken) == 1


@pytest.mark.slow
def test_a_result_that_is_refused_holds_up_its_own_study_alone(start: Start, archive: Archive):
    archive.answer = lambda ds: 0xA700 if ds.StudyInstanceUID == study_uid(1) else 0x0000
    node = start()
    port = node.port
    send(port, slices(1))
    node.wait("result_refused")
    send(port, slices(2))
    archive.wait(lambda: len(archive.taken) == 1)
    send(port, study(1)[3:6])  # late slices of the first
    until(lambda: len(node.in_state("sending")) == 2)
    node.wait("result_refused", count=len(node.named("result_refused")) + 2)
    assert archive.of_study(study_uid(1)) == []
    archive.answer = lambda ds: 0x0000
    archive.wait(lambda: len(archive.taken) == 3)
    assert [ds.InstanceNumber for ds in archive.of_study(study_uid(1))] == [3, 6]
    assert "status 0xA700" in node.named("result_refused")[0]["reason"]


def test_a_warning_is_no_refusal(start: Start, archive: Archive):
    seen: list[Dataset] = []

    def coerce(ds: Dataset) -> int:
        seen.append(ds)
        return 0xB000

    archive.answer = coerce
    node = start()
    send(node.port, slices())
    node.wait("study_done")
    assert len(seen) == 1


@pytest.mark.slow
def test_no_destination_keeps_results_in_the_spool(start: Start):
    node = start(send="")
    send(node.port, slices())
    node.wait("study_done")
    assert len(list((node.store / "done").glob("*/results/*.seg.dcm"))) == 1
