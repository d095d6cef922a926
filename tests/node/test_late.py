"""Slices that come when their series is being worked on, or is done: no part passes for a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from node import series
from node.box import OutputError
from node.log import Log
from node.retention import Retention
from node.segmenting import Order, Outcome, _find
from node.series import drop_sources
from node.settings import SpoolSettings
from tests.node.pacs import Archive, send, study, study_uid
from tests.node.running import RunningNode
from tests.node.test_worker import STUDY, Bench, bench, made  # noqa: F401 (a fixture)

# pynetdicom's own server leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Start = Callable[..., RunningNode]
SERIES = f"{study_uid(1)}.1"


def as_ordered(order: Order) -> Outcome:
    """A working process: a result of whatever it is not told to leave apart."""
    if SERIES in order.apart:
        return Outcome()
    made(order, "series")
    return Outcome(results=1)


def finish(bench: Bench) -> None:  # noqa: F811
    for held in bench.held("sending"):
        bench.spool.finish(held, "done")


def finish_and_forget(bench: Bench) -> None:  # noqa: F811
    """A series of three slices is done, and its sources are gone, as after hold_seconds."""
    bench.work = as_ordered
    bench.put(0, 1, 2)
    assert bench.step()
    finish(bench)
    drop_sources(bench.held("done")[0])


def noted(bench: Bench) -> list[Order]:  # noqa: F811
    """Orders from now on; each has a result."""
    orders: list[Order] = []
    bench.work = lambda order: (orders.append(order), made(order, "x"), Outcome(results=1))[2]
    return orders


def test_late_slices_alone_make_no_result(bench: Bench):  # noqa: F811
    finish_and_forget(bench)
    bench.put(3, 4)
    assert bench.step()
    assert bench.held("sending") == []
    (failed,) = bench.held("failed")
    reason = (failed.path / "reason.txt").read_text()
    assert SERIES in reason
    assert "3 slices" in reason
    assert "send the series again" in reason
    assert len(failed.instances()) == 2
    assert "study_failed" in bench.events()


def test_the_whole_series_again_takes_the_late_slices_over(bench: Bench):  # noqa: F811
    test_late_slices_alone_make_no_result(bench)
    bench.put(0, 1, 2, 3, 4)
    assert bench.step()
    (held,) = bench.held("sending")
    assert len(held.instances()) == 5
    assert bench.held("failed") == []


def test_even_one_by_one(bench: Bench):  # noqa: F811
    finish_and_forget(bench)
    for number in (3, 4):
        bench.put(number)
        assert bench.step()
        assert bench.held("sending") == []
    bench.put(0, 1)  # one is lacking
    assert bench.step()
    assert bench.held("sending") == []
    bench.put(2)
    assert bench.step()
    assert [len(held.instances()) for held in bench.held("sending")] == [5]


def test_another_series_of_the_study_is_whole(bench: Bench):  # noqa: F811
    finish_and_forget(bench)
    bench.put(3, 4, series="1.2.9")
    orders = noted(bench)
    assert bench.step()
    assert [order.apart for order in orders] == [[]]
    assert len(bench.held("sending")) == 1


def test_what_is_sound_beside_late_slices_is_sent(bench: Bench):  # noqa: F811
    finish_and_forget(bench)
    bench.put(3)
    bench.put(4, 5, series="1.2.9")
    orders = noted(bench)
    assert bench.step()
    assert [order.apart for order in orders] == [[SERIES]]
    assert len(bench.held("sending")) == 1
    assert "study_in_part" in bench.events()


def test_sources_that_go_while_a_destination_is_down_are_remembered(bench: Bench):  # noqa: F811
    bench.work = as_ordered
    bench.put(0, 1, 2)
    assert bench.step()
    Retention(bench.spool, SpoolSettings(), Log(bench.lines)).step(short_of_room=True)
    assert bench.held("sending")[0].instances() == []
    bench.put(3)
    assert bench.step()
    assert [held.number for held in bench.held("sending")] == [1]
    assert [held.number for held in bench.held("failed")] == [2]


def test_a_full_disk_keeps_no_sources(bench: Bench, monkeypatch):  # noqa: F811
    """Not a byte is free for the note of them: one of them makes room for it."""
    bench.work = as_ordered
    bench.put(0, 1, 2)
    assert bench.step()
    (held,) = bench.held("sending")
    write = series.write_atomically

    def full(path: Path, data: bytes) -> None:
        if len(held.instances()) == 3:
            raise OutputError(path, "cannot be written (No space left on device)", "make room")
        write(path, data)

    monkeypatch.setattr(series, "write_atomically", full)
    assert drop_sources(held)
    assert held.instances() == []
    bench.put(3)
    assert bench.step()
    assert "3 slices" in (bench.held("failed")[0].path / "reason.txt").read_text()


def test_a_study_that_moves_on_while_its_sources_go_is_no_trouble(bench: Bench, monkeypatch):  # noqa: F811
    bench.work = as_ordered
    bench.put(0, 1, 2)
    assert bench.step()
    write = series.write_atomically

    def late(path: Path, data: bytes) -> None:
        finish(bench)
        write(path, data)

    monkeypatch.setattr(series, "write_atomically", late)
    Retention(bench.spool, SpoolSettings(), Log(bench.lines)).step(short_of_room=True)
    assert bench.held("done")[0].instances() == []


def test_slices_that_come_while_their_series_is_computed_are_in_its_result(bench: Bench):  # noqa: F811
    counts: list[int] = []

    def work(order: Order) -> Outcome:
        counts.append(len(list(Path(order.folder).glob("*.dcm"))))
        if len(counts) == 1:
            bench.arrive(3, 4)
        return as_ordered(order)

    bench.work = work
    bench.put(0, 1, 2)
    assert bench.step()
    assert bench.held("sending") == []  # its result is of a part, and nobody gets it
    assert not bench.step()  # nor is it begun again before the rest is whole
    bench.spool.take(STUDY)
    assert bench.step()
    assert counts == [3, 5]
    (held,) = bench.held("sending")
    assert len(held.instances()) == 5
    assert bench.held("waiting") == bench.held("failed") == []


def test_another_series_that_comes_meanwhile_holds_up_no_result(bench: Bench):  # noqa: F811
    def work(order: Order) -> Outcome:
        if not (bench.spool.state("receiving") / STUDY).exists():
            bench.arrive(3, 4, series="1.2.9")
        return as_ordered(order)

    bench.work = work
    bench.put(0, 1, 2)
    assert bench.step()
    assert [len(held.instances()) for held in bench.held("sending")] == [3]


def test_a_sound_study_is_asked_for_nothing_more(bench: Bench):  # noqa: F811
    """Headers are read only where something has come late."""
    bench.work = as_ordered
    bench.put(0, 1, 2)
    bench.worker.step(threading.Event())
    assert [path.name for path in bench.held("sending")[0].path.glob("series*")] == []


def test_what_is_left_apart_is_no_case(tmp_path: Path):
    for ds in study(1):
        ds.save_as(tmp_path / f"{ds.SOPInstanceUID}.dcm")
    cases = [len(_find(tmp_path, tmp_path / "out", apart).cases) for apart in (set(), {SERIES})]
    assert cases == [1, 0]


def test_a_node_fails_what_comes_late_and_says_why(start: Start, archive: Archive):
    node = start(SPOOL_HOLD_SECONDS=0, WORK_TRIES=2)
    port, datasets = node.port, study(1)
    send(port, datasets[:9])
    node.wait("study_done")
    send(port, datasets[9:])
    failed = node.wait("study_failed")
    assert "9 slices" in failed["reason"]
    assert [ds.InstanceNumber for ds in archive.taken] == [9]
    assert node.in_state("failed") == [f"{study_uid(1)}.2"]
    send(port, datasets[:9])  # and what lies in failed/ is taken over
    archive.wait(lambda: len(archive.taken) == 2)
    assert archive.taken[1].InstanceNumber == 12
    assert node.in_state("failed") == []
