"""From a run to a model folder, its scores, its report and the ablation table."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from evaluation.results import CaseResult
from inference.engines.torch_unet import UNet
from inference.model.description import Crop, ModelDescription, verified_weights
from inference.model.folder import WEIGHTS
from tests.training.small_store import INTENSITY, make_store, small_recipe
from training import __main__ as cli
from training.learn import report
from training.learn.limits import Limits
from training.learn.processes import Processes
from training.learn.trainer import Trainer
from training.ship import ablation, export
from training.ship.evaluate import write_metrics


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    recipe = small_recipe()
    short = replace(recipe.optimisation, epochs=1, steps_per_epoch=20)
    recipe = replace(recipe, optimisation=short)
    out = folder / "run"
    out.mkdir()
    (folder / "store").mkdir()
    trainer = Trainer(recipe, make_store(folder / "store"), out, Processes(torch.device("cpu")))
    trainer.train(Limits())
    (out / "recipe.json").write_text(json.dumps(recipe.to_dict()))
    for kilograms in (0.15, 0.1):  # two sittings
        trainer.journal.write("emissions", 20, kilograms=kilograms)
    report.write_report(out, recipe)
    return trainer


def test_exported_model_is_what_inference_reads(run):
    folder = run.out / "models" / "m"
    export.export(run.out, folder, "m", store=run.store.folder)
    description = ModelDescription.load(folder)
    assert verified_weights(folder, description)
    assert description.intensity == INTENSITY and description.patch == (16, 16, 16)
    assert description.card["data"]["validation"] == ["v"]
    assert description.card["training"]["steps"] == 20
    network = UNet(description.architecture)
    network.load_state_dict(load_file(folder / "model.safetensors"))
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        expected, found = run.averaged()(image), network.eval()(image)
    assert torch.allclose(expected, found, atol=2e-2)


def test_exported_model_may_crop_to_what_another_finds(run):
    verb = ["export", "--run", str(run.out), "--out", str(run.out / "models"), "--name", "c"]
    assert cli.main([*verb, "--crop", "tiny", "--margin", "25"]) == 0
    description = ModelDescription.load(run.out / "models" / "c")
    assert description.crop == Crop("tiny", 25.0) and description.step is None
    with pytest.raises(SystemExit):
        cli.main([*verb, "--crop", "../tiny"])


def test_a_model_cannot_find_its_own_organs(run, capsys):
    verb = ["export", "--run", str(run.out), "--out", str(run.out / "models"), "--name", "self"]
    with pytest.raises(SystemExit):
        cli.main([*verb, "--crop", "self"])
    assert "--crop self is this model itself" in capsys.readouterr().err
    assert not (run.out / "models" / "self").exists()


def test_models_go_beside_the_installed_ones_and_replace_none_of_them(run, monkeypatch, capsys):
    monkeypatch.chdir(run.out)
    assert cli.main(["export", "--run", str(run.out), "--name", "small"]) == 1
    assert f"{WEIGHTS / 'small'}: holds a model already" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line(run, tmp_path, capsys):
    (tmp_path / "file").touch()
    verb = ["export", "--run", str(run.out), "--name", "n", "--out", str(tmp_path / "file")]
    assert cli.main(verb) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / 'file' / 'n'}: cannot be made" in error and error.count("\n") == 1


def test_what_finds_the_organs_must_not_have_seen_the_validation_scans(run, capsys):
    models, store = run.out / "models", run.store.folder
    validation = [case.name for case in run.store.cases if case.split == "validation"]
    (models / "finder").mkdir(parents=True)
    words = ["export", "--run", str(run.out), "--out", str(models), "--name", "c"]
    words += ["--data", str(store), "--crop", "finder", "--replace"]
    for seen, status in (([], 0), (validation[:1], 1)):
        finder = {"data": {"train": [*seen, "another"], "validation": []}}
        (models / "finder" / "model.json").write_text(json.dumps(finder))
        assert cli.main(words) == status
    assert f"was trained on {validation[0]}, on which" in capsys.readouterr().err


def test_last_weights_are_exported_when_asked_for(run):
    folders = [run.out / "models" / name for name in ("averaged", "last")]
    for folder, averaged in zip(folders, (True, False), strict=True):
        export.export(run.out, folder, folder.name, averaged=averaged)
    averaged, last = (load_file(folder / "model.safetensors") for folder in folders)
    for name, weight in run.network.state_dict().items():
        if name in last:
            assert torch.equal(last[name], weight.half())
    assert any(not torch.equal(averaged[name], last[name]) for name in last)


def test_a_model_carries_only_its_own_scores(run):
    scored = export.export(run.out, run.out / "models" / "scored", "scored")
    results = [CaseResult("v", {1: (0.9, 0.8)})]
    write_metrics(run.out, scored, "OpenVINO on CPU, f32", "default", results)
    again = export.export(run.out, run.out / "models" / "again", "again")
    assert again.card["metrics"]["engine"] == "OpenVINO on CPU, f32"
    assert again.card["metrics"]["mean"]["Liver"]["dsc"] == 0.9
    for other in ({"tumor_threshold": 0.9}, {"islands": 0.1}, {"crop": Crop("tiny", 20.0)}):
        changed = export.export(run.out, run.out / "models" / "other", "other", **other)
        assert "metrics" not in changed.card, other


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--tumor-threshold", "0", "0 does not lie between 0 and 1"),
        ("--tumor-threshold", "1", "1 does not lie between 0 and 1"),
        ("--tumor-threshold", "-1", "-1 does not lie between 0 and 1"),
        ("--tumor-threshold", "nan", "nan does not lie between 0 and 1"),
        ("--tumor-threshold", "x", "'x' is no number"),
        ("--islands", "3", "3 lies outside [0, 1]"),
        ("--islands", "nan", "nan lies outside [0, 1]"),
    ],
)
def test_a_number_that_is_none_of_those_wanted(run, option, value, words, capsys):
    with pytest.raises(SystemExit):
        cli.main(["export", "--run", str(run.out), "--name", "n", option, value])
    assert f"argument {option}: {words}" in capsys.readouterr().err


def test_tumor_threshold_becomes_a_half(run):
    plain, shifted = (
        run.out / "models" / name / "model.safetensors" for name in ("plain", "shifted")
    )
    export.export(run.out, plain.parent, "plain")
    description = export.export(run.out, shifted.parent, "shifted", tumor_threshold=0.9)
    assert description.card["tumor_threshold"] == 0.9
    difference = load_file(plain)["heads.0.bias"] - load_file(shifted)["heads.0.bias"]
    assert difference.tolist() == pytest.approx([0.0] * 13 + [math.log(9)], abs=5e-3)


def test_command_line_exports_and_reports_errors(run, capsys):
    arguments = ["export", "--run", str(run.out), "--out", str(run.out / "w"), "--name", "n"]
    assert cli.main(arguments) == 0
    assert (run.out / "w" / "n" / "model.json").exists()
    before = (run.out / "w" / "n" / "model.json").stat().st_mtime_ns
    assert cli.main(arguments) == 1
    assert "n: holds a model already; " in (error := capsys.readouterr().err)
    assert error.endswith("--replace\n")
    assert (run.out / "w" / "n" / "model.json").stat().st_mtime_ns == before
    assert cli.main([*arguments, "--replace"]) == 0
    assert (run.out / "w" / "n" / "model.json").stat().st_mtime_ns > before
    other = [*arguments[:-1], "other"]
    for words in ([*other, "--checkpoint", "none.pt"], ["evaluate", "--data", "x", "--run", "no"]):
        capsys.readouterr()
        assert cli.main(words) == 1
        error = capsys.readouterr().err
        assert "there is no such file; name the folder of a training" in error
        assert error.count("\n") == 1 and "--resume" not in error
    assert cli.main(["fly"]) == 2 and cli.main(["--help"]) == 0


def test_report_has_table_4_and_a_curve(run):
    text = (run.out / "report.md").read_text()
    for row in ("He normal", "16 × 16 × 16", "Number of model parameters", "0.250 kg"):
        assert row in text
    assert (run.out / "curve.png").stat().st_size > 1000


def test_ablation_prints_table_7(run, capsys):
    scores = CaseResult("v", {1: (0.9, 0.8), 14: (0.1, 0.05)})
    description = export.export(run.out, run.out / "models" / "scored", "scored")
    write_metrics(run.out, description, "torch on CPU", "default", [scores])
    assert cli.main(["ablation", str(run.out), str(run.out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| Target | Tiny DSC | Tiny NSD | Tiny DSC | Tiny NSD |"
    assert "| Liver | 90.00 | 80.00 | 90.00 | 80.00 |" in lines
    assert "| Spleen | - | - | - | - |" in lines
    assert "| Average | 50.00 | 42.50 | 50.00 | 42.50 |" in lines


def test_ablation_names_a_run_that_was_not_evaluated(tmp_path, capsys):
    assert ablation.main([str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err
