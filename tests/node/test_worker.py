"""What the worker does with studies, by a working process that is a function."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from node.attempts import note_begun, note_failed
from node.log import Log
from node.metrics import Metrics
from node.segmenting import PARTIAL, Order, Outcome
from node.settings import WorkSettings
from node.spool import Held, Spool
from node.worker import Worker
from node.working_process import WorkerDiedError
from tests.node.pacs import study, study_uid

STUDY = study_uid(1)


class Bench:
    """A worker over a spool; ``work`` is what its process does with an order."""

    def __init__(self, root: Path) -> None:
        self.spool, self.metrics, self.lines = Spool(root), Metrics(), io.StringIO()
        self.work: Callable[[Order], Outcome] = lambda order: Outcome()
        self.alive = True
        self.worker = Worker(
            self.spool,
            WorkSettings(tries=1, retry_seconds=0),
            self,  # type: ignore[arg-type]
            lambda: True,
            lambda held: self.spool.finish(held, "done"),
            Log(self.lines),
            self.metrics,
        )

    def ask(self, order: Order, stop: threading.Event, timeout_s: float) -> Outcome:
        return self.work(order)

    def trace(self) -> list[str]:
        return []

    def arrive(self, *numbers: int, more: bytes = b"", series: str = "") -> None:
        """Slices of the study, in ``receiving``."""
        folder = self.spool.state("receiving") / STUDY
        folder.mkdir()
        for number in numbers:
            ds = study(1)[number]
            ds.SeriesInstanceUID = series or ds.SeriesInstanceUID
            ds.save_as(folder / f"{ds.SOPInstanceUID}.dcm")
            with (folder / f"{ds.SOPInstanceUID}.dcm").open("ab") as file:
                file.write(more)

    def put(self, *numbers: int, more: bytes = b"", series: str = "") -> Held:
        """Slices of the study, waiting."""
        self.arrive(*numbers, more=more, series=series)
        return self.spool.take(STUDY)

    def step(self) -> bool:
        return self.worker.step(threading.Event())

    def held(self, state: str) -> list[Held]:
        return self.spool.held(state)

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.lines.getvalue().splitlines()]


@pytest.fixture
def bench(tmp_path: Path):
    one = Bench(tmp_path)
    yield one
    one.spool.leave()


def made(order: Order, name: str) -> Path:
    folder = Path(order.folder) / PARTIAL
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.seg.dcm").write_bytes(b"x")
    return folder


def test_nothing_to_send_leaves_no_empty_folder(bench: Bench):
    bench.put(0, 1)
    bench.work = lambda order: (Path(order.folder, PARTIAL).mkdir(), Outcome())[1]
    assert bench.step()
    (done,) = bench.held("done")
    assert sorted(p.name for p in done.path.iterdir() if p.is_dir()) == []


def test_a_series_that_kills_the_process_costs_the_others_nothing(bench: Bench):
    bench.put(0, 1)

    def work(order: Order) -> Outcome:
        made(order, "sound")
        raise WorkerDiedError("SIGSEGV")

    bench.work = work
    assert bench.step()
    (held,) = bench.held("sending")
    assert [p.name for p in held.results.iterdir()] == ["sound.seg.dcm"]
    assert bench.metrics.in_part.values() == {"": 1}
    assert "study_in_part" in bench.events()
    assert bench.held("failed") == []


def test_slices_that_come_between_two_tries_are_in_the_result(bench: Bench):
    first = bench.put(0, 1)
    made(Order(str(first.path)), "series")  # of the two slices, by a try that was interrupted
    bench.put(2)
    seen: list[list[str]] = []

    def work(order: Order) -> Outcome:
        seen.append(sorted(p.name for p in Path(order.folder, PARTIAL).glob("*")))
        made(order, "series")
        return Outcome(results=1)

    bench.work = work
    assert bench.step()
    assert seen == [[]]
    (held,) = bench.held("sending")
    assert len(held.instances()) == 3


def test_a_try_that_goes_on_keeps_its_results(bench: Bench):
    first = bench.put(0, 1)
    made(Order(str(first.path)), "one")
    bench.work = lambda order: (made(order, "two"), Outcome(results=2))[1]
    assert bench.step()
    (held,) = bench.held("sending")
    assert sorted(p.name for p in held.results.iterdir()) == ["one.seg.dcm", "two.seg.dcm"]


def test_what_came_last_of_an_instance_counts(bench: Bench):
    bench.put(0, 1)
    bench.put(1, more=b"newer")
    bench.work = lambda order: (made(order, "one"), Outcome(results=1))[1]
    assert bench.step()
    (held,) = bench.held("sending")
    data = [path.read_bytes() for path in sorted(held.instances())]
    assert [one.endswith(b"newer") for one in data] == [False, True]


@pytest.mark.parametrize(("more", "whole"), [(b"", True), (b"changed", False)])
def test_whether_a_number_holds_all_of_an_earlier_one(bench: Bench, more: bytes, whole: bool):
    bench.work = lambda order: (made(order, "one"), Outcome(results=1))[1]
    bench.put(0, 1)
    assert bench.step()
    bench.put(1, 2, more=more)
    assert bench.step()
    (later,) = [held for held in bench.held("sending") if held.number == 2]
    assert len(later.instances()) == 3
    assert later.whole_of(1).exists() is whole


def test_an_interrupted_study_that_is_given_up_says_so(bench: Bench):
    held = bench.put(0)
    note_begun(held.path)
    note_failed(held.path, "broken")
    (held.path / PARTIAL).mkdir()
    assert bench.step()
    (failed,) = bench.held("failed")
    assert (failed.path / "reason.txt").read_text() == "broken\n"
    assert not (failed.path / PARTIAL).exists()


def test_two_nodes_that_begin_with_one_study_at_once_make_no_two_results(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    bench.put(0, 1)
    second = bench.put(2)
    other = Spool(bench.spool.root)
    claim = bench.spool.claim

    def at_once(held: Held) -> Held:
        other.claim(second)
        return claim(held)

    monkeypatch.setattr(bench.spool, "claim", at_once)
    try:
        assert not bench.step()
        assert [held.number for held in bench.held("waiting")] == [1]
        assert [held.number for held in bench.held("working")] == [2]
    finally:
        other.leave()


def test_what_an_interrupted_look_has_left_is_brought_by_the_next_one(bench: Bench):
    bench.put(0, 1)
    bench.spool.claim(bench.put(2))
    held = bench.spool.claim(bench.held("waiting")[0])
    assert bench.worker._gathering.gather(held) == ([2], [])
    assert len(held.instances()) == 3
    assert [one.number for one in bench.held("working")] == [1]
