"""Training: stop and resume bit for bit, two processes as one, partial labels, overfitting."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.errors import DeviceError
from tests.training.small_store import make_store, small_recipe
from training.data.store import Store, StoreError
from training.learn import checkpoint
from training.learn.journal import read_journal
from training.learn.limits import Limits, Position
from training.learn.processes import Processes
from training.learn.trainer import Trainer
from training.learn.weights import build_network, inference_weights
from training.recipe import RecipeError
from training.synthesis.anatomy import Anatomy

ONE = Processes(torch.device("cpu"))


def trainer(folder, recipe=None, **store) -> Trainer:
    out = folder / "run"
    out.mkdir(exist_ok=True)
    data = folder / "store"
    data.mkdir(exist_ok=True)
    return Trainer(recipe or small_recipe(), make_store(data, **store), out, ONE)


def flat(tree):
    if isinstance(tree, dict):
        return {f"{k}.{n}": v for k, sub in tree.items() for n, v in flat(sub).items()}
    if isinstance(tree, list | tuple):
        return flat(dict(enumerate(tree)))
    return {"": tree}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_resumes_bit_for_bit(tmp_path, optimizer):
    recipe = small_recipe()
    optimisation = replace(recipe.optimisation, optimizer=optimizer, rate=1e-3)
    recipe = replace(recipe, optimisation=optimisation)
    whole = trainer(tmp_path, recipe)
    assert whole.train(Limits())
    resumed = trainer(tmp_path, recipe)
    assert not resumed.train(Limits(steps=2))
    resumed = trainer(tmp_path, recipe)
    resumed.restore(checkpoint.load(tmp_path / "run" / checkpoint.LAST))
    assert resumed.position.step == 2
    assert resumed.train(Limits())
    first, second = flat(whole.state()), flat(resumed.state())
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
    assert whole.position.step == resumed.position.step == 6


def test_resumes_with_numbers_that_need_a_scaler(tmp_path):
    """A run in bfloat16 that goes on on a card that has float16 only."""
    run = trainer(tmp_path)
    assert not run.train(Limits(steps=2))
    resumed = trainer(tmp_path)
    resumed.scaler = torch.amp.GradScaler("cpu", enabled=True)
    resumed.restore(checkpoint.load(tmp_path / "run" / checkpoint.LAST))
    assert resumed.position.step == 2
    assert resumed.scaler.is_enabled()


def test_stops_after_the_minutes_with_a_checkpoint(tmp_path):
    run = trainer(tmp_path)
    assert not run.train(Limits(minutes=0))
    assert checkpoint.load(tmp_path / "run" / checkpoint.LAST)["position"]["step"] == 0


def test_progress_follows_steps_or_time():
    position = Position(step=25, seconds=90)
    assert Limits().progress(position, 100) == pytest.approx(0.25)
    assert Limits(schedule_minutes=3).progress(position, 100) == pytest.approx(0.5)
    assert Limits(schedule_minutes=1).progress(position, 100) == 1


def test_a_request_to_stop_is_heard(tmp_path):
    run = trainer(tmp_path)
    run.stop()
    assert not run.train(Limits()) and run.position.step == 0
    assert (tmp_path / "run" / checkpoint.LAST).exists()


def test_checkpoints_survive_a_crash_while_writing(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"step": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("crash")))
    with pytest.raises(OSError, match="crash"):
        checkpoint.save(path, {"step": 2})
    assert checkpoint.load(path)["step"] == 1


def test_tumors_of_held_out_patients_are_drawn_nowhere(tmp_path):
    recipe = small_recipe()
    recipe = replace(recipe, synthesis=replace(recipe.synthesis, transplants=1.0))
    make_store(tmp_path)
    body = Anatomy(np.zeros((4, 4, 4), np.int16), 5.0, (1,), (0, 4))

    def pieces(*held_out):
        store = Store(tmp_path, held_out)
        return Trainer(recipe, store, tmp_path, ONE, [body]).mixture.patients

    both, one = pieces(), pieces("case0")
    assert (len(both), len(one)) == (2, 1)
    assert torch.equal(one[0][0].values, both[1][0].values)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_damaged_checkpoints_are_named(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match=r"last\.pt"):
        checkpoint.load(tmp_path / "last.pt")


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    state = trainer(tmp_path).state()
    wide = small_recipe()
    wide = replace(wide, network=replace(wide.network, features=(6, 8)))
    with pytest.raises(checkpoint.CheckpointError):
        trainer(tmp_path, wide).restore(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": 0.5}, "recipe"),
        ({"schedule_minutes": 5.0}, "--schedule-minutes"),
        ({"label_maps": ["other.nii.gz"]}, "--label-maps"),
    ],
)
def test_other_terms_are_refused(tmp_path, change, words):
    before = {"schedule_minutes": None, "label_maps": ["a.nii.gz"]}
    state = Trainer(small_recipe(), make_store(tmp_path), tmp_path, ONE, further=before).state()
    recipe = small_recipe()
    if "rate" in change:
        recipe = replace(recipe, optimisation=replace(recipe.optimisation, **change))
        change = {}
    other = Trainer(recipe, Store(tmp_path), tmp_path, ONE, further=before | change)
    with pytest.raises(checkpoint.CheckpointError, match=words):
        other.restore(state)
    renamed = Trainer(replace(small_recipe(), name="other"), Store(tmp_path), tmp_path, ONE)
    renamed.restore(state)


def test_first_weights_must_not_have_seen_the_held_out(tmp_path):
    make_store(tmp_path)
    path = tmp_path / "first.pt"
    checkpoint.save(path, Trainer(small_recipe(), Store(tmp_path), tmp_path, ONE).state())
    fold = Trainer(small_recipe(), Store(tmp_path, ["case1"]), tmp_path, ONE)
    with pytest.raises(checkpoint.CheckpointError, match="has not held out case1"):
        fold.start_from(path)
    checkpoint.save(path, fold.state())
    fold.start_from(path)
    assert len(fold.state()["started_from"]) == 64


def test_more_processes_than_patches_and_other_grids_are_refused(tmp_path):
    store, recipe = make_store(tmp_path), small_recipe()
    with pytest.raises(RecipeError, match="2 patches a step for 3 processes"):
        Trainer(recipe, store, tmp_path, Processes(torch.device("cpu"), 0, 3))
    for wrong in ({"native": True}, {"spacing": (1.0, 1.0, 1.0)}):
        with pytest.raises(StoreError, match="preprocess with the recipe"):
            Trainer(
                replace(recipe, sampling=replace(recipe.sampling, **wrong)), store, tmp_path, ONE
            )


def test_unannotated_classes_do_not_move_the_heads(tmp_path):
    """What is masked everywhere keeps its head's weights but for the decay."""
    recipe = small_recipe()
    recipe = replace(
        recipe,
        loss=replace(recipe.loss, selected=tuple(range(1, 15))),
        optimisation=replace(recipe.optimisation, weight_decay=0.0),
    )
    run = trainer(tmp_path, recipe, annotated=((1, 2), (1, 2)))
    before = run.network.heads[0].weight.detach().clone()
    run.train(Limits(steps=2))
    moved = (run.network.heads[0].weight.detach() != before).flatten(1).any(1)
    assert moved.tolist() == [True, True] + [False] * 12


def test_journal_has_losses_and_validation(tmp_path):
    trainer(tmp_path).train(Limits())
    events = read_journal(tmp_path / "run")
    assert [event["kind"] for event in events] == ["validation", "validation", "training"]
    assert events[-1]["step"] == 6 and -1 <= events[-1]["loss"] < 3
    assert (tmp_path / "run" / checkpoint.BEST).exists()


def test_he_initialisation_and_head_prior():
    recipe = small_recipe()
    torch.manual_seed(0)
    network = build_network(replace(recipe.network, head_prior=0.01))
    weight = network.encoder[1][1].conv.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (1 + 1e-4) / (27 * 8)) ** 0.5, rel=0.1)
    assert float(network.heads[0].bias.detach().sigmoid().mean()) == pytest.approx(0.01)


def test_exported_weights_are_the_average_without_deep_heads(tmp_path):
    run = trainer(tmp_path)
    run.train(Limits(steps=1))
    weights = inference_weights(run.state())
    assert not [k for k in weights if k.startswith("heads.") and "heads.0." not in k]
    assert torch.equal(weights["heads.0.bias"], run.average.weights["heads.0.bias"])


def test_transposed_convolutions_have_no_biases(tmp_path):
    run = trainer(tmp_path)
    run.train(Limits(steps=1))
    state = run.state()
    assert not any(up.bias.any() for up in run.network.up)
    for weights in (state["network"], state["average"]["weights"]):
        weights["up.0.bias"] = torch.ones_like(weights["up.0.bias"])  # as older trainings have it
    assert not inference_weights(state)["up.0.bias"].any()
    assert inference_weights(state)["decoder.0.0.conv.bias"].any()


def test_devices_are_those_that_are_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (
        Processes.join("auto").device == Processes.join("torch-cpu").device == torch.device("cpu")
    )
    with pytest.raises(DeviceError, match=r"--device gpu: is unknown; use auto, cpu"):
        Processes.join("gpu")
    with pytest.raises(DeviceError, match=r"--device cuda: takes CUDA device 0, and torch finds 0"):
        Processes.join("cuda")
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    for device, index in (("auto", 1), ("cuda", 1), ("cuda:0", 0)):
        assert Processes.join(device).device == torch.device("cuda", index) == chosen.pop()
    for device, index in (("cuda:2", 2), ("cuda:999", 999)):
        with pytest.raises(DeviceError, match=rf"CUDA device {index}, and torch finds 2 here"):
            Processes.join(device)


SCRIPT = """
from tests.training.learn.test_trainer import three_steps
three_steps({folder!r})
"""


def three_steps(folder: str):
    """Losses of three steps, and the weights afterwards, in this process of a run."""
    processes = Processes.join("cpu")
    run = Trainer(small_recipe(batch=4), Store(Path(folder)), Path(folder), processes)
    losses = [
        run.step(batch, 0.0) for batch, _ in zip(run.loader.batches(0), range(3), strict=False)
    ]
    if processes.rank == 0 and processes.world > 1:
        torch.save((losses, run.network.state_dict()), Path(folder) / "result.pt")
    processes.leave()
    return losses, run.network.state_dict()


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """Same losses and weights as one process with the whole batch, though the processes' shares
    hold different numbers of annotated pairs (gloo; the environment is what torchrun sets)."""
    make_store(tmp_path, annotated=((1, 2, 3), (2, 14)))
    losses, weights = three_steps(str(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = SCRIPT.format(folder=str(tmp_path))
    common = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
    }
    children = [
        subprocess.Popen([sys.executable, "-c", code], env={**common, "RANK": str(rank)})
        for rank in (0, 1)
    ]
    assert [child.wait(120) for child in children] == [0, 0]
    losses2, weights2 = torch.load(tmp_path / "result.pt")
    assert losses == pytest.approx(losses2, abs=1e-5)
    for name, weight in weights.items():
        assert torch.allclose(weight, weights2[name], atol=1e-4), name
