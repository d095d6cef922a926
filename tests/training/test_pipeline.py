"""The command line from scans to scores: preprocess, train, stop, resume, evaluate, cascade."""

import csv
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from tests.training.small_store import INTENSITY, SMALL_SECTIONS, scan
from training.__main__ import main
from training.data.coding import members
from training.data.store import Store
from training.learn.checkpoint import CheckpointError
from training.learn.train import claim
from training.ship import cascade

SPACING_XYZ = (3.9, 3.9, 5.0)


def write(path, array, flip):
    """A NIfTI file, its z axis turned over where ``flip``; the anatomy stays where it was."""
    image = sitk.GetImageFromArray(array[::-1] if flip else array)
    image.SetSpacing(SPACING_XYZ)
    if flip:
        image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
        image.SetOrigin((0, 0, (len(array) - 1) * SPACING_XYZ[2]))
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """What ``fuse`` leaves: a table of cases beside their labels."""
    folder = tmp_path_factory.mktemp("fused")
    rows = []
    for seed, split in enumerate(("train", "train", "validation")):
        image, coded = scan(seed, (20, 32, 32))
        labels = np.where(coded >= 16, 14, coded).astype(np.uint8)
        hounsfield = (image * INTENSITY.std + INTENSITY.mean).round().astype(np.int16)
        name = f"case{seed}"
        write(folder / f"{name}_0000.nii.gz", hounsfield, flip=seed == 1)
        write(folder / f"{name}.nii.gz", labels, flip=seed == 1)
        rows.append(
            {
                "name": name,
                "patient": name,
                "split": split,
                "image": folder / f"{name}_0000.nii.gz",
                "label": folder / f"{name}.nii.gz",
                "annotated": "1 2 3 14",
                "agreement": "0.9",
            }
        )
    with (folder / "cases.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (folder / "annotated_classes.csv").write_text(
        "name,source,classes\ncase0,truth,1 14\ncase0,hk,1 2 3\ncase1,hk,1 2 3\n"
    )
    (folder / "fingerprint.json").write_text(json.dumps({"intensity_hu": vars(INTENSITY)}))
    (folder / "mine.toml").write_text(f"""
base = "tiny"
{SMALL_SECTIONS}
[optimisation]
epochs = 2
steps_per_epoch = 2
""")
    assert (
        main(
            [
                "preprocess",
                "--recipe",
                str(folder / "mine.toml"),
                "--data",
                str(folder),
                "--fingerprint",
                str(folder / "fingerprint.json"),
                "--out",
                str(folder / "store"),
            ]
        )
        == 0
    )
    return folder


def test_preprocessing_orients_normalises_and_codes(fused):
    store = Store(fused / "store")
    for seed, case in enumerate(store.cases):
        image, coded = scan(seed, (20, 32, 32))
        clipped = np.clip(image, -2.5, 2.5)
        assert np.abs(store.image(case) - clipped).max() < 0.02, "not turned back, or not clipped"
        for value in (1, 2, 3, 14):
            assert np.array_equal(members(store.labels(case), value), members(coded, value))
    assert [case.unlabelled for case in store.cases] == [False, True, True]
    assert [case.name for case in store.split("train", unlabelled=False)] == ["case0"]


def test_train_stop_resume_evaluate(fused, capsys):
    run = fused / "run"
    train = [
        "train",
        "--recipe",
        str(fused / "mine.toml"),
        "--data",
        str(fused / "store"),
        "--out",
        str(run),
        "--device",
        "cpu",
    ]
    assert main([*train, "--max-minutes", "0"]) == 0
    assert "--resume" in capsys.readouterr().err
    assert main(train) == 1, "a training was overwritten"
    assert main([*train, "--resume"]) == 0
    assert "complete at step 4" in capsys.readouterr().err
    assert (run / "report.md").exists() and (run / "recipe.json").exists()
    evaluate = ["evaluate", "--run", str(run), "--data", str(fused / "store"), "--device", "cpu"]
    assert main(evaluate) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["engine"] in (
        "torch on CPU",
        *(f"OpenVINO on CPU, {k}" for k in ("f32", "bf16")),
    )
    assert set(metrics["dsc"]["case2"]) == {"liver", "right kidney", "spleen", "tumor"}
    assert (run / "metrics.csv").read_text().startswith("Name,Liver_DSC")


def test_a_held_out_patient_is_validated_on_and_stays_held_out(fused, capsys):
    train = ["train", "--recipe", fused / "mine.toml", "--data", fused / "store", "--device", "cpu"]
    train = [*map(str, train), "--out", str(fused / "fold")]
    assert main([*train, "--max-minutes", "0", "--hold-out", "case1"]) == 0
    assert main([*train, "--resume"]) == 1
    assert "other patients held out" in capsys.readouterr().err
    run = ["--run", str(fused / "fold"), "--data", str(fused / "store")]
    assert main(["evaluate", *run, "--device", "cpu"]) == 0
    metrics = json.loads((fused / "fold" / "metrics.json").read_text())
    assert {*metrics["dsc"]} == {"case1", "case2"}
    assert main(["export", *run, "--out", str(fused / "models"), "--name", "fold"]) == 0
    card = json.loads((fused / "models" / "fold" / "model.json").read_text())
    assert card["data"] == {"train": ["case0"], "validation": ["case1", "case2"]}


@pytest.mark.parametrize(
    ("verb", "missing"),
    [
        ("preprocess", "cases.csv"),
        ("train", "nowhere"),
        ("evaluate", "last.pt"),
    ],
)
def test_missing_input_is_one_clear_line(fused, tmp_path, capsys, verb, missing):
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    options = {
        "preprocess": [
            "--recipe",
            "tiny",
            "--data",
            str(nowhere),
            "--out",
            str(tmp_path / "o"),
            "--fingerprint",
            str(fused / "fingerprint.json"),
        ],
        "train": ["--recipe", "tiny", "--data", str(nowhere), "--out", str(tmp_path / "o")],
        "evaluate": ["--run", str(tmp_path), "--data", str(nowhere)],
    }
    assert main([verb, *options[verb]]) == 1
    error = capsys.readouterr().err
    assert missing in error and error.count("\n") == 1


@pytest.mark.parametrize("device", ["gpu", "cuda:200"])
def test_a_device_that_is_not_there_is_one_clear_line(fused, tmp_path, capsys, device):
    words = [
        "--recipe",
        str(fused / "mine.toml"),
        "--data",
        str(fused / "store"),
        "--device",
        device,
    ]
    assert main(["train", *words, "--out", str(tmp_path / "o")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"--device {device}: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "option", "value", "words"),
    [
        ("preprocess", "--workers", "0", "'0' is no whole number above 0"),
        ("fingerprint", "--workers", "x", "'x' is no whole number above 0"),
        ("fuse", "--workers", "-1", "'-1' is no whole number above 0"),
        ("train", "--max-minutes", "-3", "-3 is not 0 or more"),
        ("train", "--max-minutes", "nan", "nan is not 0 or more"),
        ("train", "--schedule-minutes", "0", "0 is not more than 0"),
    ],
)
def test_a_number_that_makes_no_sense(capsys, verb, option, value, words):
    with pytest.raises(SystemExit):
        main([verb, option, value])
    assert f"argument {option}: {words}" in capsys.readouterr().err


def test_nothing_to_score_is_an_error(fused, tmp_path, capsys):
    """A store of training scans alone: one that was made before any were held out."""
    shutil.copytree(fused / "store", tmp_path / "store")
    for path in tmp_path.glob("store/case*.json"):
        path.write_text(path.read_text().replace('"validation"', '"train"'))
    options = ["--data", str(tmp_path / "store"), "--device", "cpu"]
    train = ["train", "--recipe", str(fused / "mine.toml"), "--out", str(tmp_path / "run")]
    assert main([*train, *options, "--max-minutes", "0"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--run", str(tmp_path / "run"), *options]) == 1
    error = capsys.readouterr().err
    assert "store: has no validation cases; name another --split" in error
    assert error.count("\n") == 1 and not (tmp_path / "run" / "metrics.json").exists()


def test_one_training_at_a_time_in_a_folder(tmp_path):
    first = claim(tmp_path)
    with pytest.raises(CheckpointError, match="another training"):
        claim(tmp_path)
    first.close()
    claim(tmp_path).close()


def test_cascade_from_the_first_networks_labels_to_scores(fused):
    """First network labels the second's store, the second is trained and evaluated on them."""
    first, second = fused / "first", fused / "second"
    options = ["--data", str(fused / "store"), "--device", "cpu"]
    assert main(["train", "--recipe", str(fused / "mine.toml"), "--out", str(first), *options]) == 0
    assert main(["export", "--run", str(first), "--out", str(fused / "models"), "--name", "a"]) == 0
    assert (
        cascade.main(
            [
                "--model",
                str(fused / "models" / "a"),
                "--data",
                str(fused / "store"),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    store = Store(fused / "store")
    assert store.previous(store.cases[0]).shape == store.cases[0].shape
    text = (fused / "mine.toml").read_text().replace("[network]", "[network]\nprevious = true")
    (fused / "second.toml").write_text(text)
    recipe = str(fused / "second.toml")
    assert main(["train", "--recipe", recipe, "--out", str(second), *options]) == 0
    for decode in ("nearest", "linear"):
        assert main(["evaluate", "--run", str(second), "--decode", decode, *options]) == 0
        metrics = json.loads((second / "metrics.json").read_text())
        assert metrics["model"]["decode"] == decode and "liver" in metrics["dsc"]["case2"]
