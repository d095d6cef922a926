"""The paper's ablations in small: data, recipes, tables, and every row for two steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ablation import dataset, toy
from benchmarks.ablation.__main__ import HALVED, loss_table, main
from benchmarks.ablation.real import ROWS, real_table
from benchmarks.environment import describe
from inference.labels import NAMES, ORGANS, TUMOR
from inference.scan.volume import read_labels
from training.__main__ import main as training
from training.data.index import build_index
from training.data.overrides import read_overrides
from training.recipe import load_recipe


@pytest.fixture(autouse=True)
def small_phantoms(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset, "SHAPE", (20, 32, 40))
    monkeypatch.setattr(dataset, "SPACING_MM", (12.0, 10.0, 10.0))


@pytest.mark.slow
def test_a_flare23_of_phantoms(tmp_path: Path):
    dataset.write_flare(tmp_path, partial=3, unlabelled=1, validation=1)
    index = build_index([tmp_path])
    assert not index.rejected
    truths = [case.annotated.get("truth") for case in index.cases]
    assert truths == [ORGANS, (TUMOR,), dataset.PARTIAL[2], None, tuple(NAMES)]
    first, second = (index.cases[3].labels[teacher] for teacher in dataset.TEACHERS)
    assert not np.array_equal(read_labels(first)[0], read_labels(second)[0])
    assert TUMOR not in read_labels(first)[0]
    splits = [c.split for c in read_overrides(tmp_path / "overrides.csv").apply_split(index.cases)]
    assert splits == ["train"] * 4 + ["validation"]


@pytest.mark.slow
def test_each_class_is_missing_from_another_half(tmp_path: Path):
    dataset.write_halves(tmp_path, (1, 3), validation=1)
    cases = build_index([tmp_path]).cases
    present = [{value for value in (1, 3) if value in case.annotated["truth"]} for case in cases]
    assert present == [{1, 3}, {3}, {1}, set(), {1, 3}]


@pytest.mark.parametrize("name", [toy.FIRST_STAGE, *toy.TABLE7])
def test_small_recipes_keep_what_makes_the_row(tmp_path: Path, name: str):
    recipe, full = load_recipe(str(toy.write_recipe(tmp_path, name, 300))), load_recipe(name)
    assert recipe.steps == 300
    assert recipe.title == full.title
    assert (recipe.loss, recipe.decode, recipe.unlabelled) == (
        full.loss,
        full.decode,
        full.unlabelled,
    )
    assert recipe.network.previous == full.network.previous


@pytest.mark.parametrize("name", toy.TABLE2)
def test_table_2_keeps_the_networks(tmp_path: Path, name: str):
    recipe = load_recipe(str(toy.write_table2_recipe(tmp_path, name, 6)))
    assert recipe.network == load_recipe(name).network
    assert (recipe.sampling.spacing, recipe.steps) == (load_recipe(name).sampling.spacing, 6)


def test_loss_table():
    better = {name.capitalize(): {"dsc": 0.9} for name in NAMES.values()}
    worse = {**better, **{NAMES[value].capitalize(): {"dsc": 0.6} for value in HALVED}}
    text = loss_table(better, worse, 400)
    assert "| Tumor | 90.0 | 60.0 | +30.0 |" in text
    assert "| mean of the other 11 | 90.0 | 90.0 | +0.0 |" in text


@pytest.mark.slow
def test_every_row_of_both_tables_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for _ in range(2):  # the second time everything is there and only evaluated again
        assert main(["tables", "--steps", "2", "--out", str(tmp_path)]) == 0
        text = capsys.readouterr().out
        for title in ("w/o unlabeled data", "Small", "Normal inference", "N-Cascade", "P-Cascade"):
            assert f" {title} DSC |" in text
        assert "| Average |" in text
        assert "| Parameters (M) | 30.70 | 5.65 | 1.41 |" in text
        assert "| Steps of this trial | 6 | 6 | 6 |" in text


def test_the_table_of_real_scans_gives_mean_and_reach():
    def means(dsc: float, tumor: float | None, steps: int) -> dict[str, Any]:
        scores = {"dsc": dsc, "nsd": dsc / 2}
        average = {"dsc": 0.01, "nsd": 0.01}  # of organs and tumor: not what the column says
        tumors = {"dsc": tumor, "nsd": tumor}
        return {"Organs": scores, "Tumor": tumors, "Average": average, "steps": steps}

    machine = {"processor": "any", "cores": 2}
    rows = {
        "selected partial loss": [means(0.6, 0.1, 90), means(0.7, 0.3, 110)],
        "normal loss": [means(0.5, None, 100)],
    }
    result = {"machine": describe() | machine, "minutes": 30.0, "seeds": 2, "rows": rows}
    text = real_table(result)
    assert "30 minutes each, 2 seeds" in text
    row = (
        "| selected partial loss | 65.0 (60.0 to 70.0) | 32.5 (30.0 to 35.0) | 20.0 (10.0 to 30.0)"
        " | 20.0 (10.0 to 30.0) | 90 and 110 |"
    )
    assert row in text
    assert "| normal loss | 50.0 (50.0 to 50.0) | 25.0 (25.0 to 25.0) | - | - | 100 |" in text


@pytest.mark.slow
def test_every_row_of_the_table_of_real_scans_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    dataset.write_flare(tmp_path / "flare", partial=2, unlabelled=1, validation=1)
    fused, fingerprint, store = (
        tmp_path / "fused",
        tmp_path / "fingerprint.json",
        tmp_path / "store",
    )
    overrides = tmp_path / "flare" / "overrides.csv"
    for words in (
        ["fuse", "--data", tmp_path / "flare", "--out", fused, "--mode", "per-class",
         "--teachers", *dataset.TEACHERS, "--overrides", overrides],
        ["fingerprint", "--data", fused, "--out", fingerprint],
        ["preprocess", "--recipe", "tiny_cpu", "--data", fused, "--fingerprint", fingerprint,
         "--out", store],
    ):  # fmt: skip
        assert training([str(word) for word in words]) == 0
    out = tmp_path / "out"
    words = ["real", "--store", store, "--minutes", "0.01", "--seeds", "0", "--out", out]
    assert main([str(word) for word in words]) == 0
    first = json.loads((out / "real.json").read_text())["rows"]
    assert main([str(word) for word in words]) == 0  # nothing is trained twice
    text = capsys.readouterr().out
    for row in ROWS:
        assert f"| {row.title} |" in text
    means = json.loads((out / "real.json").read_text())["rows"]
    assert {len(found) for found in means.values()} == {1} and means == first
    assert (out / "seed_0" / "store").is_dir() and not any(store.glob("*.previous.npy"))


def test_a_training_that_was_stopped_is_not_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Half a training beside whole ones would be a table of nothing."""
    (tmp_path / "store").mkdir()
    monkeypatch.setattr("benchmarks.ablation.real.sitting", lambda words: (False, 7))
    words = ["real", "--store", tmp_path / "store", "--out", tmp_path / "out"]
    with pytest.raises(SystemExit, match=r"was stopped at step 7.*same command goes on"):
        main([str(word) for word in words])
    assert not (tmp_path / "out" / "real.json").exists()
