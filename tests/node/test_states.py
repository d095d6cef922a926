"""The states of a study, and that a node killed at any moment loses nothing and doubles nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE

from tests.node.pacs import Archive, send, study, study_uid
from tests.node.running import RunningNode, until

# pynetdicom's own server leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Start = Callable[..., RunningNode]
SLICES = 3
# Of one study of three slices: what a node changes on the disk, one after the other.
CHANGES = 18


def slices(number: int = 1, patient: str = "P1"):
    """A study that the fake worker makes a result of, or not, as its PatientID says."""
    found = study(number)[:SLICES]
    for ds in found:
        ds.PatientID = patient
    return found


def test_the_way_of_a_study(start: Start, archive: Archive):
    node = start(SPOOL_HOLD_SECONDS=0)
    assert send(node.port, slices()) == [0, 0, 0]
    node.wait("study_done")
    (result,) = archive.taken
    assert result.InstanceNumber == SLICES
    assert [node.in_state(state) for state in ("receiving", "waiting", "working", "sending")] == [
        [], [], [], []
    ]  # fmt: skip
    done = node.store / "done" / f"{study_uid(1)}.1"
    assert node.in_state("done") == [done.name]
    assert {p.name for p in done.iterdir()} == {
        "results",
        "sent.ARCHIVE",
        "attempts.log",
        "series.json",
    }
    assert [p.name for p in (done / "results").iterdir()] == ["series.seg.dcm"]


def test_instances_lie_there_as_they_were_sent(start: Start):
    node = start(STUDY_QUIET_SECONDS=600, STUDY_ON_RELEASE="false")
    datasets = slices()
    send(node.port, datasets)
    folder = node.store / "receiving" / study_uid(1)
    from pydicom import dcmread
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    for ds in datasets:
        path = folder / f"{ds.SOPInstanceUID}.dcm"
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, ds)
        assert path.read_bytes().endswith(buffer.getvalue())
        assert dcmread(path).file_meta.TransferSyntaxUID == ds.file_meta.TransferSyntaxUID


@pytest.mark.slow
def test_sigterm_gives_work_back_and_the_next_node_goes_on(start: Start, archive: Archive):
    node = start()
    send(node.port, slices(patient="hang"))
    node.wait("work_begun")
    begun = time.monotonic()
    assert node.stop() == 128 + signal.SIGTERM
    assert time.monotonic() - begun < 10
    assert node.in_state("waiting") == [f"{study_uid(1)}.1"]
    assert list((node.store / "nodes").iterdir()) == []
    again = start()
    again.wait("work_begun")
    assert again.stop(signal.SIGINT) == 128 + signal.SIGINT


def test_sigterm_ends_open_associations_and_keeps_what_was_acknowledged(start: Start):
    node = start(STUDY_QUIET_SECONDS=600)
    (ds, *_) = slices()
    entity = AE("PACS")
    entity.add_requested_context(ds.SOPClassUID, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, ae_title="ABDOBOX")
    assert association.send_c_store(ds).Status == 0
    assert node.stop() == 128 + signal.SIGTERM
    until(lambda: not association.is_established)
    held = [path.name for path in (node.store / "receiving").glob("*/*")]
    assert held == [f"{ds.SOPInstanceUID}.dcm"]
    assert list((node.store / "incoming").iterdir()) == []


def finish(start: Start, archive: Archive, killed: RunningNode, statuses: list[int | None]) -> None:
    """After a kill: the sender sends again what was not acknowledged, and one result arrives."""
    node = start()
    port = node.port
    missing = [ds for ds, status in zip(slices(), statuses, strict=True) if status != 0]
    if missing:
        assert send(port, missing) == [0] * len(missing)
    until(lambda: any(ds.InstanceNumber == SLICES for ds in archive.taken))
    until(lambda: not any(node.in_state(s) for s in ("receiving", "waiting", "working", "sending")))
    whole = {ds.SOPInstanceUID for ds in archive.taken if ds.InstanceNumber == SLICES}
    assert len(whole) == 1
    held = [*(node.store / "done").glob("*/results/*.dcm")]
    assert held
    assert node.in_state("failed") == []


def killed_at(start: Start, archive: Archive, number: int) -> None:
    node = start(seams={"NODE_TEST_KILL_AT": str(number)}, SPOOL_HOLD_SECONDS=0)
    try:
        statuses = send(node.port, slices())
    except AssertionError:  # killed before it listened
        statuses = [None] * SLICES
    assert node.ended(30) == -signal.SIGKILL
    finish(start, archive, node, statuses)


def test_how_many_changes_there_are(start: Start, tmp_path: Path, archive: Archive):
    count = tmp_path / "count"
    node = start(seams={"NODE_TEST_COUNT": str(count)}, SPOOL_HOLD_SECONDS=0)
    send(node.port, slices())
    node.wait("study_done")
    assert node.stop() == 128 + signal.SIGTERM
    assert len(count.read_text().splitlines()) == CHANGES, count.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [6, 9, 11])
def test_killed_between_states(start: Start, archive: Archive, number: int):
    killed_at(start, archive, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, CHANGES + 1))
def test_killed_before_every_change(start: Start, archive: Archive, number: int):
    killed_at(start, archive, number)
