"""Fine-tuning by one command: what is taught by whom, going on, and an organ that is learnt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from inference.model.description import Crop, ModelDescription, verified_weights
from inference.model.folder import WEIGHTS
from inference.segmenter import Segmenter
from tests.random_model import TINY, write_model
from tests.training.dataset_files import save
from tests.training.small_store import INTENSITY, SHAPE, SPACING, make_store, scan, small_recipe
from training.__main__ import main
from training.data.store import Store
from training.data.table import read_cases
from training.fusion import own
from training.learn.limits import Limits
from training.learn.processes import Processes
from training.learn.trainer import Trainer
from training.recipe import load_recipe
from training.ship.export import export
from training.ship.finetune import recipe_for, recipe_toml

SPLEEN, BRIGHT = 3, 1.5
START = replace(
    TINY, spacing=SPACING, patch=(16, 16, 16), intensity=INTENSITY, islands=0.1,
    card={"licence": "Terms of the start.", "tumor_threshold": 0.8},
)  # fmt: skip


def write_scan(folder: Path, seed: int, classes: tuple[int, ...], bright: bool = False) -> Path:
    """A pair of files: a scan, and its label map with some of its organs 1 to 3 and tumour."""
    image, coded = scan(seed)
    if bright:
        image[coded == SPLEEN] += BRIGHT - 0.3
    labels = np.where(coded >= 16, 14, coded)
    labels = np.where(np.isin(labels, classes), labels, 0).astype(np.uint8)
    hounsfield = (image * INTENSITY.std + INTENSITY.mean).round().astype(np.int16)
    for name, array in ((f"p{seed}_0000", hounsfield), (f"p{seed}", labels)):
        if name.endswith("_0000") or labels.any():
            file = sitk.GetImageFromArray(array)
            file.SetSpacing(SPACING[::-1])
            folder.mkdir(exist_ok=True, parents=True)
            sitk.WriteImage(file, str(folder / f"{name}.nii.gz"))
    return folder


def finetune(data: Path, start: Path, out: Path, *more: str) -> int:
    words = ["--data", data, "--from", start, "--out", out, "--work", out.parent / "work"]
    words += ["--device", "cpu", "--workers", "1", *more]
    return main(["finetune", *map(str, words)])


@pytest.fixture
def at_hand(monkeypatch) -> None:
    """The teacher in this process: starting another one takes as long as all the rest."""

    def label(cases, model, out, device):
        (out / "model").mkdir()
        segmenter = Segmenter.load(model, device)
        for case in cases:
            segmenter.segment(case.image).write(out / "model" / f"{case.name}.nii.gz")
        return out / "model"

    monkeypatch.setattr(own, "teach", label)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three patients with a liver and a tumour drawn, and one without a label map."""
    for seed in range(3):
        write_scan(tmp_path / "data", seed, (1, 14))
    return write_scan(tmp_path / "data", 3, ())


@pytest.mark.slow
def test_one_command_from_a_folder_to_a_model(tmp_path: Path, data: Path, capsys):
    """Also of a model that crops: the one that finds the organs comes along."""
    write_model(tmp_path / "models" / "finder", START)
    start = replace(START, step=None, crop=Crop("finder", 20.0))
    start = write_model(tmp_path / "models" / "start", start)
    out = tmp_path / "weights" / "mine"
    assert finetune(data, start, out, "--minutes", "0.02") == 0
    model, began = ModelDescription.load(out), ModelDescription.load(start)
    assert verified_weights(out, model)
    for what in ("architecture", "spacing", "patch", "intensity", "decode", "step", "crop"):
        assert getattr(model, what) == getattr(began, what), what
    assert model.islands == 0.1 and model.card["tumor_threshold"] == 0.8
    assert "Terms of the start." in model.card["licence"]
    assert model.card["started_from"] == began.sha256 and model.card["training"]["steps"] > 0
    story = model.card["finetuned"]
    assert story["scans"] == {"train": 2, "validation": 1}
    assert story["annotated"]["liver"] == 2 and story["annotated"]["spleen"] == 0
    assert set(story["dsc"]) == {"liver", "tumor"}
    text = (out / "MODEL_CARD.md").read_text()
    assert "| liver | 2 |" in text and "Terms of the start." in text
    segmenter = Segmenter.load(out, "cpu")
    assert segmenter.description.name == "mine"
    assert segmenter.segment(data / "p0_0000.nii.gz").labels.shape == SHAPE
    assert finetune(data, start, out, "--minutes", "0.02") == 1
    assert "holds a model already" in capsys.readouterr().err


@pytest.mark.slow
def test_it_goes_on_where_it_was_stopped_and_only_with_the_same(
    tmp_path: Path, data: Path, at_hand, capsys, monkeypatch
):
    start = write_model(tmp_path / "weights" / "start", START)
    out = tmp_path / "weights" / "mine"

    def stopped(self, limits):
        return train(self, Limits(limits.minutes, limits.schedule_minutes, steps=1))

    train = Trainer.train
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", stopped)
        assert finetune(data, start, out, "--minutes", "0.02") == 0
    assert "the same command goes on" in capsys.readouterr().err
    assert not out.exists()
    assert finetune(data, start, out, "--minutes", "0.03") == 1
    assert "began with other --minutes" in capsys.readouterr().err
    write_scan(data, 4, (1,))
    assert finetune(data, start, out, "--minutes", "0.02") == 1
    assert "began with other cases" in capsys.readouterr().err
    for path in data.glob("p4*"):
        path.unlink()
    before = (tmp_path / "weights" / "work" / "store" / "store.json").stat().st_mtime_ns
    assert finetune(data, start, out, "--minutes", "0.02") == 0
    assert (tmp_path / "weights" / "work" / "store" / "store.json").stat().st_mtime_ns == before
    assert ModelDescription.load(out).card["training"]["steps"] > 1


def test_the_model_teaches_what_nobody_drew_and_is_plausible(tmp_path, phantom, monkeypatch):
    """Its liver is not asked for, as people drew livers; its tumours never are."""
    folder = tmp_path / "data"
    drawn = np.where(phantom.labels_ZYX == 1, 1, 0).astype(np.uint8)
    for name in ("a", "b"):
        save(folder / "images" / f"{name}_0000.nii.gz", phantom.image_ZYX, 8.0)
        save(folder / "labels" / f"{name}.nii.gz", drawn, 8.0)
    save(folder / "images" / "c.nii.gz", phantom.image_ZYX, 8.0)

    def label(cases, model, out, device):
        for case in cases:
            save(out / "model" / f"{case.name}.nii.gz", phantom.labels_ZYX, 8.0)
        return out / "model"

    monkeypatch.setattr(own, "teach", label)
    cases = own.own_cases(folder, set())
    assert sorted(case.split for case in cases) == ["train", "train", "validation"]
    own.fuse_own(cases, tmp_path, tmp_path / "fused", "cpu", 1)
    rows = {row["name"]: row for row in read_cases(tmp_path / "fused")}
    held = next(case.name for case in cases if case.split == "validation")
    (partly,) = {"a", "b"} - {held}
    assert rows[held]["annotated"] == "1"
    taught = {int(v) for v in rows[partly]["annotated"].split()}
    alone = {int(v) for v in rows["c"]["annotated"].split()}
    assert 1 in taught and 14 not in taught and len(taught) > 5
    assert alone == taught - {1}
    merged = sitk.GetArrayFromImage(sitk.ReadImage(rows[partly]["label"]))
    for value in taught:
        assert np.array_equal(merged == value, phantom.labels_ZYX == value)


def test_what_the_model_was_trained_on_is_not_validated_on(data: Path):
    for seen in ({"p0", "p1"}, {"p1", "p2"}):
        cases = own.own_cases(data, seen)
        (held,) = (case.name for case in cases if case.split == "validation")
        assert held not in seen
    assert [c.split for c in own.own_cases(data, set())] == [
        c.split for c in own.own_cases(data, set())
    ]


def test_bad_input_is_one_clear_line(tmp_path: Path, data: Path, capsys):
    start = write_model(tmp_path / "weights" / "start", START)
    out = tmp_path / "weights" / "mine"
    (tmp_path / "empty").mkdir()
    lone = write_scan(tmp_path / "lone", 7, (1,))
    for folder, expected in (
        (tmp_path / "empty", "is no data set"),
        (tmp_path / "nowhere", "is no data set"),
        (lone, "has 1 patients with label maps"),
    ):
        assert finetune(folder, start, out) == 1
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1
    assert finetune(data, tmp_path / "weights" / "other", out) == 1
    assert "is not there" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["small", "tiny"])
def test_the_recipe_is_the_models_own_network_and_grid(tmp_path: Path, name: str):
    description = ModelDescription.load(WEIGHTS / name)
    (tmp_path / "r.toml").write_text(recipe_toml(recipe_for(description)))
    recipe = load_recipe(str(tmp_path / "r.toml"))
    assert recipe == recipe_for(description)
    assert recipe.network.architecture() == description.architecture
    assert recipe.sampling.patch == description.patch
    assert recipe.shapes == tuple(map(tuple, description.card["recipe"]["sampling"]["shapes"]))


def test_a_model_is_evaluated_without_its_run(tmp_path: Path, capsys):
    write_scan(tmp_path / "data", 0, (1, 2))
    (tmp_path / "store").mkdir()
    make_store(tmp_path / "store")
    for path in (tmp_path / "store").glob("*.json"):
        text = path.read_text().replace('"v_0000', f'"{tmp_path}/data/p0_0000')
        path.write_text(text.replace('"v.nii.gz"', f'"{tmp_path}/data/p0.nii.gz"'))
    seen = {**START.card, "data": {"train": ["v"]}}
    model = write_model(tmp_path / "m", replace(START, card=seen))
    words = ["evaluate", "--data", str(tmp_path / "store"), "--device", "cpu"]
    assert main([*words, "--model", str(model), "--out", str(tmp_path / "scores")]) == 0
    said = capsys.readouterr()
    assert "was trained on v" in said.err and "| Liver |" in said.out
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["step"] is None and "v" in metrics["dsc"]
    assert main([*words, "--model", str(model), "--record"]) == 0
    # In float32, whatever this processor computes in otherwise.
    recorded = ModelDescription.load(model).card["metrics"]
    assert ModelDescription.load(model).card == {**seen, "metrics": recorded}
    assert recorded["engine"].endswith("f32")
    same = ("against", "model", "step", "mode")
    assert {k: recorded[k] for k in same} == {k: metrics[k] for k in same}
    assert recorded["dsc"]["v"] == pytest.approx(metrics["dsc"]["v"], abs=0.02)
    for more in ([], ["--model", str(model), "--record", "--split", "train"]):
        with pytest.raises(SystemExit):
            main([*words, *more])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_organ_that_the_model_gets_wrong_is_learnt(tmp_path: Path):
    """The model knows spleens darker than livers; the new scans' are brighter, and are drawn."""
    recipe = small_recipe()
    recipe = replace(
        recipe,
        network=replace(recipe.network, features=(8, 16)),
        loss=replace(recipe.loss, selected=(1, 2, 3, 14)),
        optimisation=replace(
            recipe.optimisation, optimizer="adamw", rate=5e-3, decay="cosine",
            epochs=1, steps_per_epoch=300,
        ),
        validate_every=100,
    )  # fmt: skip
    (tmp_path / "store").mkdir()
    (tmp_path / "run").mkdir()
    store = make_store(tmp_path / "store", annotated=[(1, 2, 3, 14)] * 3)
    Trainer(recipe, store, tmp_path / "run", Processes(torch.device("cpu"))).train(Limits())
    start = tmp_path / "weights" / "start"
    export(tmp_path / "run", start, "start")
    for seed in range(10, 15):
        write_scan(tmp_path / "data", seed, (SPLEEN,), bright=True)
    out = tmp_path / "weights" / "mine"
    assert finetune(tmp_path / "data", start, out, "--minutes", "1.5") == 0
    dsc = ModelDescription.load(out).card["finetuned"]["dsc"]["spleen"]
    assert dsc["before"] < 0.2 and dsc["after"] > 0.6, dsc
    assert len(Store(tmp_path / "weights" / "work" / "store").split("validation")) == 1
