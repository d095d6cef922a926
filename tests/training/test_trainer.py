"""Training: stop and resume bit for bit, two processes as one, partial labels, overfitting."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_store import make_store, small_recipe

from training import checkpoint
from training.journal import read_journal
from training.limits import Limits, Position
from training.loader import Loader
from training.processes import Processes
from training.recipe import Augmentation
from training.store import Store
from training.trainer import Trainer
from training.validate import quick_dice
from training.weights import build_network, inference_weights

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


def test_resumes_bit_for_bit(tmp_path):
    whole = trainer(tmp_path)
    assert whole.train(Limits())
    resumed = trainer(tmp_path)
    assert not resumed.train(Limits(steps=2))
    resumed = trainer(tmp_path)
    resumed.restore(checkpoint.load(tmp_path / "run" / checkpoint.LAST))
    assert resumed.position.step == 2
    assert resumed.train(Limits())
    first, second = flat(whole.state()), flat(resumed.state())
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
    assert whole.position.step == resumed.position.step == 6


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


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_trainer import three_steps
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


def test_two_processes_train_as_one(tmp_path):
    """Same losses and weights as one process with the whole batch, though the processes' shares
    hold different numbers of annotated pairs (gloo; the environment is what torchrun sets)."""
    make_store(tmp_path, annotated=((1, 2, 3), (2, 14)))
    losses, weights = three_steps(str(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = SCRIPT.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    common = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
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


EVERYTHING = (1, 2, 3, 14)
PARTLY = ((1, 2, 14), (1, 3))


def overfitted(folder, annotated, selected=range(1, 15)):
    """DSC of all labels, annotated or not, on two scans after training on them, by case."""
    recipe = small_recipe(patch=(24, 40, 40), batch=2, slab=0.0)
    recipe = replace(
        recipe,
        augmentation=Augmentation(
            rotation=0,
            scaling=0,
            elastic=0,
            gamma=0,
            gamma_inverted=0,
            contrast=0,
            brightness=0,
            low_resolution=0,
            blur=0,
            noise=0,
        ),
        loss=replace(recipe.loss, selected=tuple(selected)),
        network=replace(
            recipe.network,
            features=(8, 16, 32),
            kernels=((3, 3, 3),) * 3,
            strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
            head_prior=0.01,
        ),
        optimisation=replace(
            recipe.optimisation,
            optimizer="adamw",
            rate=1e-2,
            decay="cosine",
            ema=0.9,
            epochs=1,
            steps_per_epoch=150,
        ),
        validate_every=100,
    )
    run = trainer(folder, recipe, annotated=annotated)
    run.train(Limits())
    network = run.averaged()
    complete = Loader(make_store(folder / "store"), [], recipe, ONE.device)
    return [
        quick_dice(network, complete, replace(case, annotated=EVERYTHING), torch.float32)
        for case in run.store.split("train")
    ]


def mean(scores):
    return sum(scores.values()) / len(scores)


@pytest.mark.slow
def test_overfits_two_scans(tmp_path):
    for scores in overfitted(tmp_path, (EVERYTHING, EVERYTHING)):
        assert mean(scores) >= 0.95


@pytest.mark.slow
def test_partial_labels_are_enough_with_the_partial_loss_only(tmp_path):
    """Each class is annotated in one scan or both, and found in both; if what is not annotated
    counts as background, as in the normal loss, it is not."""
    for name in ("partial", "normal"):
        (tmp_path / name).mkdir()
    partial = overfitted(tmp_path / "partial", PARTLY)
    for scores, annotated in zip(partial, PARTLY, strict=True):
        assert mean({v: scores[v] for v in annotated}) >= 0.95
        assert mean(scores) >= 0.8
    normal = overfitted(tmp_path / "normal", PARTLY, selected=())
    assert sum(map(mean, normal)) < sum(map(mean, partial)) - 0.1
