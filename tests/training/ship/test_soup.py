"""The average of two models: weights, tumour thresholds, and what may judge it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.labels import TUMOR
from inference.model.description import Crop, ModelDescription, verified_weights
from tests.random_model import TINY, random_weights, write_model
from training import __main__ as cli
from training.learn.weights import HEAD_BIAS


def logit(p):
    return math.log(p / (1 - p))


def write(folder, seed, threshold, card=None, **changes):
    """A model of random weights, its threshold in the head's bias as export leaves it there."""
    weights = random_weights(TINY.architecture, seed)
    weights[HEAD_BIAS][TUMOR - 1] -= logit(threshold)
    card = {"tumor_threshold": threshold, "metrics": {"of": folder.name}, **(card or {})}
    return write_model(folder, replace(TINY, card=card, **changes), weights)


def mix(tmp_path, *words):
    return cli.main(
        ["soup", str(tmp_path / "old"), str(tmp_path / "new"), "--out", str(tmp_path),
         "--name", "mean", *words]
    )  # fmt: skip


def test_weights_are_the_weighted_mean_and_the_threshold_is_set_anew(tmp_path):
    write(tmp_path / "old", 1, 0.8)
    write(tmp_path / "new", 2, 0.5)
    assert mix(tmp_path, "--share", "0.25", "--tumor-threshold", "0.9", "--version", "7") == 0
    found = load_file(tmp_path / "mean" / "model.safetensors")
    a, b = random_weights(TINY.architecture, 1), random_weights(TINY.architecture, 2)
    for key, weight in found.items():
        expected = 0.75 * a[key] + 0.25 * b[key]
        if key == HEAD_BIAS:
            expected[TUMOR - 1] -= logit(0.9)
        assert weight.dtype == np.float16
        np.testing.assert_allclose(weight, expected, rtol=1e-3, atol=1e-6)
    description = ModelDescription.load(tmp_path / "mean")
    assert verified_weights(tmp_path / "mean", description)
    assert (description.name, description.version) == ("mean", "7")
    assert description.card["tumor_threshold"] == 0.9


def test_the_card_names_both_and_keeps_no_score_of_either(tmp_path):
    old = {"data": {"train": ["a", "b"], "validation": ["v"]}, "training": {"steps": 3}}
    new = {"data": {"train": ["b", "c"], "validation": ["v", "w"]}, "training": {"steps": 5}}
    shas = []
    for name, card, seed in (("old", old, 1), ("new", new, 2)):
        folder = write(tmp_path / name, seed, 0.5, card, islands=0.1 * seed, crop=None)
        shas.append(ModelDescription.load(folder).sha256)
    assert mix(tmp_path, "--share", "0.6") == 0
    description = ModelDescription.load(tmp_path / "mean")
    assert "metrics" not in description.card and "training" not in description.card
    assert description.card["data"] == {"train": ["a", "b", "c"], "validation": ["v", "w"]}
    parts = description.card["soup"]
    assert [part["sha256"] for part in parts] == shas
    assert [part["share"] for part in parts] == [0.4, 0.6]
    assert [part["training"]["steps"] for part in parts] == [3, 5]
    assert description.islands == pytest.approx(0.2)  # the new one's


def test_what_either_was_trained_on_judges_nothing(tmp_path, capsys):
    write(tmp_path / "old", 1, 0.5, {"data": {"train": ["v"], "validation": []}})
    write(tmp_path / "new", 2, 0.5, {"data": {"train": ["a"], "validation": ["v"]}})
    assert mix(tmp_path) == 1
    assert "was trained on v" in capsys.readouterr().err
    write(tmp_path / "old", 1, 0.5)
    write(tmp_path / "finder", 3, 0.5, {"data": {"train": ["v"], "validation": []}})
    new = {"data": {"train": ["a"], "validation": ["v"]}}
    write(tmp_path / "new", 2, 0.5, new, step=None, crop=Crop("finder", 20.0))
    assert mix(tmp_path) == 1
    assert "finder/model.json: was trained on v" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_models_of_another_kind_are_refused(tmp_path, capsys):
    write(tmp_path / "old", 1, 0.5)
    write(tmp_path / "new", 2, 0.5, spacing=(3.0, 8.0, 8.0))
    assert mix(tmp_path) == 1
    assert "has another spacing than" in capsys.readouterr().err


def test_an_average_replaces_no_model_unasked(tmp_path, capsys):
    for name, seed in (("old", 1), ("new", 2), ("mean", 3)):
        write(tmp_path / name, seed, 0.5)
    assert mix(tmp_path) == 1
    assert "holds a model already" in capsys.readouterr().err
    assert mix(tmp_path, "--replace") == 0
