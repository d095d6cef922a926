"""Studies that fail, take the working process down, come late, or hold nothing to segment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.attempts import Attempts, note_begun, note_failed, note_stopped
from tests.node.pacs import Archive, send, study, study_uid
from tests.node.running import RunningNode, until
from tests.node.test_states import slices

# pynetdicom's own server leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Start = Callable[..., RunningNode]


def test_a_study_that_fails_rests_with_its_reason_and_others_go_on(start: Start, archive: Archive):
    node = start(WORK_TRIES=2)
    send(node.port, [*slices(1, "fail"), *slices(2)])
    node.wait("study_failed")
    archive.wait(lambda: len(archive.taken) == 1)
    assert archive.taken[0].StudyInstanceUID == study_uid(2)
    failed = node.store / "failed" / f"{study_uid(1)}.1"
    assert (failed / "reason.txt").read_text().endswith("cannot be read; send another\n")
    assert len(list(failed.glob("*.dcm"))) == 3
    assert len(node.named("series_failed")) == 2
    assert "P1" not in node.text
    assert "Doe" not in node.text


def test_a_study_that_kills_the_worker_is_tried_and_given_up(start: Start, archive: Archive):
    node = start(WORK_TRIES=2)
    port = node.port
    send(port, slices(1, "crash"))
    node.wait("study_failed")
    send(port, slices(2))
    archive.wait(lambda: len(archive.taken) == 1)
    assert "SIGSEGV" in (node.store / "failed" / f"{study_uid(1)}.1" / "reason.txt").read_text()
    assert len(node.named("worker_ready")) == 3


@pytest.mark.slow
def test_a_full_disk_is_no_fault_of_the_study(start: Start, archive: Archive, tmp_path: Path):
    free = tmp_path / "free"
    free.write_text("2000000")
    node = start(WORK_TRIES=1, seams={"NODE_TEST_FREE": str(free)})
    port = node.port
    send(port, slices(1, "full"))
    node.wait("series_failed")
    archive.wait(lambda: len(archive.taken) == 1)  # tried again, and not given up
    free.write_text("1000")
    assert send(port, slices(2)) == [0xA700, 0xA700, 0xA700]
    free.write_text("2000000")
    assert send(port, slices(2)) == [0, 0, 0]
    archive.wait(lambda: len(archive.taken) == 2)
    assert node.in_state("failed") == []


def test_a_study_that_hangs_is_ended(start: Start):
    node = start(WORK_TRIES=1, WORK_TIMEOUT_SECONDS=1)
    send(node.port, slices(1, "hang"))
    node.wait("study_failed")
    assert "no answer after 1 s" in (next((node.store / "failed").glob("*/reason.txt")).read_text())


def test_a_study_without_ct_is_done_and_makes_no_loop(start: Start, archive: Archive):
    node = start(SPOOL_HOLD_SECONDS=0)
    port = node.port
    send(port, slices())
    node.wait("study_done")
    (result,) = archive.taken
    assert send(port, [result]) == [0]  # a PACS that passes on whatever is new of a study
    node.wait("study_done", count=2)
    assert len(archive.taken) == 1
    assert len(node.named("nothing_to_segment")) == 1
    assert list((node.store / "done").rglob(f"{result.SOPInstanceUID}.dcm")) == []


def test_what_comes_late_is_segmented_with_what_is_held(start: Start, archive: Archive):
    node = start()
    port, datasets = node.port, study(1)
    send(port, datasets[:5])
    archive.wait(lambda: len(archive.taken) == 1)
    node.wait("study_done")
    send(port, datasets[5:])
    archive.wait(lambda: len(archive.taken) == 2)
    assert [ds.InstanceNumber for ds in archive.taken] == [5, 12]
    assert node.named("work_begun")[-1]["together_with"] == [1]
    node.wait("study_done", count=2)
    assert node.in_state("done") == [f"{study_uid(1)}.1", f"{study_uid(1)}.2"]


@pytest.mark.parametrize(("held_s", "sent"), [(600, 1), (0, 2)])
def test_a_study_that_is_sent_again_makes_no_second_result(
    start: Start, archive: Archive, held_s: int, sent: int
):
    """Whoever sends it again when nobody knows any more that it is the same wants it again."""
    node = start(SPOOL_HOLD_SECONDS=held_s)
    port = node.port
    for count in (1, 2):
        assert send(port, slices()) == [0, 0, 0]
        node.wait("study_done", count=count)
    assert len(archive.taken) == sent
    assert len({ds.SOPInstanceUID for ds in archive.taken}) == 1
    assert node.named("work_begun")[-1]["without"] == ([] if held_s else [1])
    assert node.in_state("done") == [f"{study_uid(1)}.1", f"{study_uid(1)}.2"]


def test_late_slices_of_a_failed_study_take_it_over(start: Start, archive: Archive):
    node = start(WORK_TRIES=1)
    port, datasets = node.port, study(1)
    datasets[0].PatientID = "fail"
    send(port, datasets[:5])
    node.wait("study_failed")
    datasets[0].PatientID = "P1"
    send(port, [datasets[0], *datasets[5:]])
    archive.wait(lambda: len(archive.taken) == 1)
    assert archive.taken[0].InstanceNumber == 12
    assert node.in_state("failed") == []


def test_attempts(tmp_path):
    assert Attempts.of(tmp_path) == Attempts()
    for _ in range(2):
        note_begun(tmp_path)
        note_failed(tmp_path, "because\nof that")
    note_begun(tmp_path)
    note_stopped(tmp_path)
    said = Attempts.of(tmp_path)
    assert said == Attempts(2, ("because\\nof that",) * 2)
    assert not said.exhausted(3)
    assert said.exhausted(2)
    assert said.pause_s(10) == 20
    for _ in range(60):  # the machine goes down each time
        note_begun(tmp_path)
    assert Attempts.of(tmp_path).exhausted(3)


@pytest.mark.slow
def test_two_nodes_share_a_spool_and_one_takes_over_from_the_other(start: Start, archive: Archive):
    first = start()
    send(first.port, slices(1, "hang"))
    first.wait("work_begun")
    second = start(WORK_TIMEOUT_SECONDS=2, WORK_TRIES=1)
    port = second.port
    send(port, slices(2))
    archive.wait(lambda: len(archive.taken) == 1)  # by the second; the first hangs
    assert first.running()
    assert second.named("study_resumed") == []
    first.kill()
    assert second.wait("study_resumed")["study"] == study_uid(1)
    second.wait("study_failed")
    until(lambda: len(list((second.store / "nodes").iterdir())) == 1)
