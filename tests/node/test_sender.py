"""What is sent, what is not sent again, and results that nobody can send."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.log import Log
from node.metrics import Metrics
from node.sender import Sender
from node.settings import SendSettings
from node.spool import Held, Spool
from tests.node.pacs import study


class Target:
    """A destination that takes everything but ``poison``."""

    mark = "sent.X"

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.poison: Exception | None = None

    def __str__(self) -> str:
        return "X"

    def send(self, files: Sequence[Path]) -> None:
        if self.poison is not None and "1.2.1." in files[0].parent.parent.name:
            raise self.poison
        self.taken += [file.name for file in files]


class Bench:
    def __init__(self, root: Path) -> None:
        self.spool, self.target, self.lines = Spool(root), Target(), io.StringIO()
        self.sender = Sender(
            self.spool,
            self.target,  # type: ignore[arg-type]
            [self.target.mark],
            SendSettings(),
            lambda held: self.spool.finish(held, "done"),
            Log(self.lines),
            Metrics(),
        )

    def put(self, study_uid: str, *results: int) -> Held:
        """A study with results, ready to be sent."""
        folder = self.spool.state("receiving") / study_uid
        (folder / "results").mkdir(parents=True)
        for number in results:
            study(1)[number].save_as(folder / "results" / f"{number}.dcm")
        return self.spool.to_sending(self.spool.claim(self.spool.take(study_uid)))

    def step(self) -> None:
        self.sender.step(threading.Event())


@pytest.fixture
def bench(tmp_path: Path):
    one = Bench(tmp_path)
    yield one
    one.spool.leave()


@pytest.mark.parametrize(("whole", "sent"), [(True, ["1.dcm"]), (False, ["0.dcm", "1.dcm"])])
def test_a_result_is_left_out_only_where_it_is_surely_the_same(
    bench: Bench, whole: bool, sent: list[str]
):
    bench.put("1.2.1", 0)
    bench.step()
    assert bench.target.taken == ["0.dcm"]
    later = bench.put("1.2.1", 0, 1)
    if whole:
        later.whole_of(1).touch()
    bench.step()
    assert bench.target.taken[1:] == sent
    assert len(bench.spool.held("done")) == 2


@pytest.mark.parametrize("error", [ValueError("Doe^Jane"), OSError(5, "Input/output error")])
def test_a_result_that_cannot_be_sent_holds_up_no_other(bench: Bench, error: Exception):
    bench.put("1.2.1", 0)
    bench.put("1.2.2", 1)
    bench.target.poison = error
    bench.step()
    assert bench.target.taken == ["1.dcm"]
    refused = next(json.loads(line) for line in bench.lines.getvalue().splitlines())
    assert refused["event"] == "result_refused"
    assert refused["reason"] == f"cannot be sent ({type(error).__name__})"
    bench.target.poison = None
    assert [held.study for held in bench.spool.held("sending")] == ["1.2.1"]
