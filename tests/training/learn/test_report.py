"""The optional companions of a training: TensorBoard's curves, codecarbon's CO2eq, the report."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.training.small_store import SMALL_SECTIONS, make_store
from training.__main__ import main
from training.learn.journal import Journal, read_journal

RECIPE = f"""
base = "tiny"
validate_every = 1
{SMALL_SECTIONS}
[optimisation]
epochs = 1
steps_per_epoch = 2
"""


def train(folder: Path) -> Path:
    """Two steps by the command line; returns the run's folder."""
    (folder / "store").mkdir()
    make_store(folder / "store")
    (folder / "recipe.toml").write_text(RECIPE)
    run = folder / "run"
    words = ["--recipe", folder / "recipe.toml", "--data", folder / "store", "--out", run]
    assert main(["train", *map(str, words), "--device", "cpu"]) == 0
    return run


class Board:
    """SummaryWriter's stand-in."""

    def __init__(self, folder: str) -> None:
        self.folder, self.scalars = Path(folder), {}
        BOARDS.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name, step] = value


BOARDS: list[Board] = []


class Tracker:
    """OfflineEmissionsTracker's stand-in."""

    def __init__(self, **settings: object) -> None:
        assert settings["country_iso_code"] == "SWE"
        assert settings["save_to_file"] is False
        self.started = False

    def start(self) -> None:
        self.started = True

    def stop(self) -> float:
        assert self.started
        return 0.0123


def module(name: str, **contents: object) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    return made


def test_curves_and_emissions_where_their_packages_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    board = module("torch.utils.tensorboard", SummaryWriter=Board)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    carbon = module("codecarbon", OfflineEmissionsTracker=Tracker)
    monkeypatch.setitem(sys.modules, "codecarbon", carbon)
    monkeypatch.setenv("CODECARBON_COUNTRY_ISO_CODE", "SWE")
    BOARDS.clear()
    run = train(tmp_path)
    events = {event["kind"]: event for event in read_journal(run)}
    (written,) = BOARDS
    assert written.folder == run
    assert written.scalars["training/loss", 2] == events["training"]["loss"]
    assert written.scalars["validation/mean_dice", 2] == events["validation"]["mean_dice"]
    assert "| CO2eq | 0.012 kg |" in (run / "report.md").read_text()


def test_neither_is_missed_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("torch.utils.tensorboard", "codecarbon"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    text = (train(tmp_path) / "report.md").read_text()
    assert "| CO2eq | not measured |" in text
    for row in ("| Steps done | 2 |", "| Patch size | 16 × 16 × 16 |", "| Batch size | 2 |"):
        assert row in text
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_tensorboard_itself_reads_the_curves(tmp_path: Path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed: pip install -r training/requirements-optional.txt",
    )
    journal = Journal(tmp_path)
    for step, loss in ((20, 0.5), (40, 0.25)):
        journal.write("training", step, loss=loss)
    journal._board.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("training/loss")]
    assert found == [(20, 0.5), (40, 0.25)]


@pytest.mark.slow
def test_codecarbon_itself_measures(tmp_path: Path):
    pytest.importorskip(
        "codecarbon",
        reason="codecarbon is not installed: pip install -r training/requirements-optional.txt",
    )
    text = (train(tmp_path) / "report.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| CO2eq |")]
    kilograms = float(line.split("|")[2].removesuffix("kg "))
    assert 0 <= kilograms < 0.1
