"""A training that starts from an exported model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math

import pytest
import safetensors.torch
import torch

from inference.errors import ModelError
from inference.labels import TUMOR
from inference.model.description import ModelDescription
from tests.training.small_store import INTENSITY, make_store, small_recipe
from training.learn import checkpoint
from training.learn.first_weights import first_weights
from training.learn.processes import Processes
from training.learn.trainer import Trainer
from training.learn.weights import inference_weights

ONE = Processes(torch.device("cpu"))


def _exported(folder, trainer, **changes):
    """The trainer's network as a model's folder."""
    weights = inference_weights(trainer.state())
    data = safetensors.torch.save({name: w.contiguous() for name, w in weights.items()})
    net = trainer.recipe.network.architecture()
    model = ModelDescription(
        "m", "1", net, (5.0, 4.0, 4.0), (16, 16, 16), INTENSITY, "nearest", 0.5,
        hashlib.sha256(data).hexdigest(), card={"data": {"train": ["case0"]}},
    )  # fmt: skip
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(data)
    document = dataclasses.replace(model, **changes).to_json()
    (folder / "model.json").write_text(json.dumps(document))
    return folder


@pytest.mark.slow
def test_an_exported_model_is_gone_on_from(tmp_path):
    store = make_store(tmp_path)
    first = Trainer(dataclasses.replace(small_recipe(), seed=3), store, tmp_path, ONE)
    model = _exported(tmp_path / "model", first)
    second = Trainer(small_recipe(), store, tmp_path, ONE)
    fresh = {name: p.clone() for name, p in second.network.named_parameters()}
    second.start_from(model)
    assert second.started_from == ModelDescription.load(model).sha256
    for name, value in second.network.named_parameters():
        anew = name.startswith("heads.") and not name.startswith("heads.0.")
        expected = fresh[name] if anew else dict(first.network.named_parameters())[name]
        torch.testing.assert_close(value, expected, atol=0, rtol=0)


def test_what_a_model_has_seen_or_is_normalised_to_must_fit(tmp_path):
    store = make_store(tmp_path)
    trainer = Trainer(small_recipe(), store, tmp_path, ONE)
    seen = _exported(tmp_path / "seen", trainer, card={"data": {"train": ["case1", "v"]}})
    with pytest.raises(checkpoint.CheckpointError, match="was trained on v, on which"):
        trainer.start_from(seen)
    other = dataclasses.replace(INTENSITY, mean=51.0)
    with pytest.raises(checkpoint.CheckpointError, match=r"preprocess with --fingerprint .*json"):
        trainer.start_from(_exported(tmp_path / "other", trainer, intensity=other))
    damaged = _exported(tmp_path / "damaged", trainer)
    (damaged / "model.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match="SHA-256"):
        trainer.start_from(damaged)


def test_the_tumour_threshold_of_an_export_is_taken_out_again(tmp_path):
    """Else every round of training and export would move it once more."""
    store = make_store(tmp_path)
    trainer = Trainer(small_recipe(), store, tmp_path, ONE)
    trainer.average = None
    export_bias = inference_weights(trainer.state())["heads.0.bias"].clone()
    export_bias[TUMOR - 1] -= math.log(0.8 / 0.2)
    trained = trainer.network.heads[0].bias.detach().clone()
    with torch.no_grad():
        trainer.network.heads[0].bias.copy_(export_bias)
    model = _exported(tmp_path / "model", trainer, card={"tumor_threshold": 0.8})
    found = first_weights(model, store, tmp_path).weights["heads.0.bias"]
    torch.testing.assert_close(found, trained, atol=1e-6, rtol=0)
