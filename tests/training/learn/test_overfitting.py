"""A small network learns two phantoms by heart, also where one does not annotate a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.labels import NAMES
from tests.training.phantom_store import SHAPE, SPACING, make_phantom_store
from tests.training.small_store import STILL
from training.learn.limits import Limits
from training.learn.processes import Processes
from training.learn.trainer import Trainer
from training.learn.validate import quick_dice
from training.patches.loader import Loader
from training.recipe import Recipe, load_recipe

pytestmark = pytest.mark.slow

ALL = tuple(NAMES)
LIVER = 1
CPU = torch.device("cpu")


def recipe(selected: Sequence[int], steps: int) -> Recipe:
    """Both scans in every step, whole and unchanged; 0.2 s a step on a free core."""
    tiny = load_recipe("tiny")
    return replace(
        tiny,
        augmentation=STILL,
        loss=replace(tiny.loss, selected=tuple(selected)),
        network=replace(
            tiny.network,
            features=(8, 16, 32),
            kernels=((3, 3, 3),) * 3,
            strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
            head_prior=0.01,
        ),
        sampling=replace(
            tiny.sampling, spacing=SPACING, patch=SHAPE, batch=2, slab=0.0, foreground=0.0
        ),
        optimisation=replace(
            tiny.optimisation,
            optimizer="adamw",
            rate=1e-2,
            decay="cosine",
            warmup=0.05,
            ema=0.9,
            epochs=1,
            steps_per_epoch=steps,
            amp="float32",
        ),
        validate_every=100,
    )


def learnt(
    folder: Path,
    annotated: Sequence[Sequence[int]],
    selected: Sequence[int] = ALL,
    steps: int = 600,
) -> list[dict[int, float]]:
    """DSC of all classes, annotated or not, on either phantom after training on both."""
    for name in ("store", "run", "complete"):
        (folder / name).mkdir(parents=True)
    settings = recipe(selected, steps)
    run = Trainer(
        settings, make_phantom_store(folder / "store", annotated), folder / "run", Processes(CPU)
    )
    run.train(Limits())
    complete = make_phantom_store(folder / "complete", (ALL, ALL))
    loader = Loader(complete, [], settings, CPU)
    network = run.averaged()
    return [quick_dice(network, loader, case, torch.float32) for case in complete.cases]


def mean(scores: dict[int, float], classes: Sequence[int] = ALL) -> float:
    return sum(scores[value] for value in classes) / len(classes)


def test_two_phantoms_with_all_fourteen_classes(tmp_path: Path):
    for scores in learnt(tmp_path, (ALL, ALL), steps=900):
        assert mean(scores) >= 0.95, scores


def test_a_class_is_learnt_from_the_scan_that_annotates_it(tmp_path: Path):
    """With the partial loss it is found in both; if what is not annotated counts as background, as
    in the normal loss, the network learns by heart that this patient has no liver. (Twice the same
    but for the order of sums: 0.50 and 0.38 with the partial loss, 0.05 and 0.19 with the normal
    one; from one other patient alone, no more can be asked.)"""
    partly = tuple(value for value in ALL if value != LIVER)
    first, second = learnt(tmp_path / "partial", (partly, ALL))
    assert mean(first, partly) >= 0.95, first
    assert mean(second) >= 0.95, second
    assert first[LIVER] >= 0.3, first
    missed, kept = learnt(tmp_path / "normal", (partly, ALL), selected=())
    assert kept[LIVER] >= 0.95, kept
    assert missed[LIVER] <= 0.25, missed
