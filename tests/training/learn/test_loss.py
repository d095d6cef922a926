"""The loss against a transcription of the paper's equations, and what must not influence it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.learn.loss import (
    counted_pairs,
    pair_loss_sum,
    selected_partial_loss,
    supervision_weights,
)


def equation_2(logits, target, indicator):
    """The paper's equation 2, written with loops, in float64."""
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    y = target.astype(np.float64)
    cases, classes = indicator.shape
    voxels = logits[0, 0].size
    total = 0.0
    for b in range(cases):
        for c in range(classes):
            i = float(indicator[b, c])
            bce = -(y[b, c] * np.log(p[b, c]) + (1 - y[b, c]) * np.log(1 - p[b, c])).sum()
            if i == 0:
                continue
            dice = 2 * (i * p[b, c] * y[b, c]).sum() / ((i * p[b, c]).sum() + (i * y[b, c]).sum())
            total += i / voxels * bce - dice
    return total / indicator.sum()


def equation_1(logits, target):
    """Equation 1 of one case, mean over classes."""
    return equation_2(logits, target, np.ones(logits.shape[:2], bool))


def example(seed=0, cases=3, classes=14, shape=(3, 4, 5)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (cases, classes, *shape)).astype(np.float32)
    target = rng.random(logits.shape) < 0.3
    annotated = rng.random((cases, classes)) < 0.6
    return logits, target, annotated


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), cases=st.integers(1, 3))
def test_equals_equation_2(seed, cases):
    logits, target, annotated = example(seed, cases)
    annotated[0, 0] = True
    found = selected_partial_loss(*map(torch.from_numpy, (logits, target, annotated)))
    assert float(found) == pytest.approx(equation_2(logits, target, annotated), rel=1e-5)


def test_equals_equation_1_where_everything_is_annotated():
    logits, target, annotated = example(cases=1)
    found = selected_partial_loss(
        torch.from_numpy(logits),
        torch.from_numpy(target),
        torch.ones_like(torch.from_numpy(annotated)),
    )
    assert float(found) == pytest.approx(equation_1(logits, target), rel=1e-5)


def test_masked_pairs_leave_numerator_and_denominator():
    """They do not count as 0, as they would if they stayed in the mean."""
    logits, target, _ = example(cases=1, classes=2)
    both = torch.tensor([[True, True]])
    one = torch.tensor([[True, False]])
    x, y = torch.from_numpy(logits), torch.from_numpy(target)
    first = selected_partial_loss(x[:, :1], y[:, :1], both[:, :1])
    assert float(selected_partial_loss(x, y, one)) == pytest.approx(float(first), rel=1e-6)
    assert float(selected_partial_loss(x, y, both)) != pytest.approx(float(first), rel=1e-3)


@pytest.mark.parametrize("content", [0.0, 1e30, float("inf"), float("nan")])
def test_contents_of_masked_channels_are_irrelevant(content):
    logits, target, annotated = map(torch.from_numpy, example())
    changed, labels = logits.clone(), target.float()
    changed[~annotated] = content
    labels[~annotated] = content
    changed.requires_grad_()
    loss = selected_partial_loss(changed, labels, annotated)
    loss.backward()
    assert loss.item() == float(selected_partial_loss(logits, target, annotated))
    assert (changed.grad[~annotated] == 0).all()
    assert (changed.grad[annotated] != 0).any() and changed.grad.isfinite().all()


def test_nothing_annotated_gives_zero_and_no_gradient():
    logits, target, annotated = map(torch.from_numpy, example())
    logits.requires_grad_()
    loss = selected_partial_loss(logits, target, torch.zeros_like(annotated))
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_far_from_zero(dtype):
    """BCE and sigmoid are taken in float32: no overflow, no log of 0."""
    logits = torch.full((1, 1, 8, 8, 8), 3e4, dtype=dtype).requires_grad_()
    loss = selected_partial_loss(logits, torch.zeros(1, 1, 8, 8, 8), torch.ones(1, 1).bool())
    loss.backward()
    assert float(loss.detach()) == pytest.approx(3e4, rel=0.01) and logits.grad.isfinite().all()


def test_absent_class_predicted_absent_costs_nothing():
    logits = torch.full((1, 1, 4, 4, 4), -200.0)
    assert float(
        selected_partial_loss(logits, torch.zeros_like(logits), torch.ones(1, 1).bool())
    ) == pytest.approx(0, abs=1e-6)


def test_perfect_prediction_costs_minus_one():
    target = torch.rand(2, 3, 4, 4, 4) < 0.5
    logits = torch.where(target, 50.0, -50.0)
    loss = selected_partial_loss(logits, target, torch.ones(2, 3).bool())
    assert float(loss) == pytest.approx(-1)


def test_sum_adds_up_over_parts_of_the_batch():
    logits, target, annotated = map(torch.from_numpy, example())
    whole = pair_loss_sum(logits, target, annotated)
    parts = sum(
        pair_loss_sum(logits[n : n + 1], target[n : n + 1], annotated[n : n + 1]) for n in range(3)
    )
    assert float(whole) == pytest.approx(float(parts), rel=1e-6)


def test_only_selected_classes_can_be_masked():
    annotated = torch.zeros(1, 14, dtype=torch.bool)
    assert counted_pairs(annotated, (14,)).tolist() == [[True] * 13 + [False]]
    assert counted_pairs(annotated, ()).all()
    assert not counted_pairs(annotated, range(1, 15)).any()
    annotated[0, 13] = True
    assert counted_pairs(annotated, (14,)).all()


def test_supervision_weights_halve_drop_the_last_and_sum_to_one():
    assert supervision_weights(4) == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0])
    assert supervision_weights(1) == [1]


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
def test_gradients_are_those_of_autograd(last):
    """More voxels than are taken at once, in either order of memory, a pair masked."""
    shape = (2, 5, 30, 40, 50)
    target, annotated = torch.rand(shape) < 0.2, torch.ones(2, 5, dtype=torch.bool)
    annotated[1, 2] = False
    logits = torch.randn(shape) * 4
    if last:
        logits = logits.contiguous(memory_format=torch.channels_last_3d)
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    (3 * pair_loss_sum(ours, target, annotated)).backward()
    y = target.double().flatten(2)
    p = theirs.flatten(2).sigmoid()
    entropy = torch.nn.functional.binary_cross_entropy(p, y, reduction="none").mean(dim=2)
    dice = 2 * (p * y).sum(dim=2) / (p.sum(dim=2) + y.sum(dim=2))
    (3 * (entropy - dice)[annotated].sum()).backward()
    assert ours.grad.stride() == logits.stride()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-9)
