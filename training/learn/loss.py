"""The selected partial compound loss (paper section 2.2, equations 1 and 2).

Each class is a sigmoid channel. A (case, class) pair costs its mean binary cross-entropy minus its
Dice coefficient; the loss is the mean over the pairs that count. A pair of a selected class in a
case that does not annotate it leaves numerator and denominator, so the network is free there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from training.data.coding import one_hot

# Keeps 0/0 from arising when a channel's probabilities underflow.
TINY = 1e-8
# Few enough for a processor's cache, many enough for a GPU.
_VOXELS_AT_ONCE = {"cpu": 1 << 15, "cuda": 1 << 20}


def selected_partial_loss(
    logits_NCZYX: Tensor, target_NCZYX: Tensor, annotated_NC: Tensor
) -> Tensor:
    """Equation 2.

    Args:
        logits_NCZYX: before the sigmoid, any floating type; computed in float32.
        target_NCZYX: 0 or 1 (or a share between), any type.
        annotated_NC: bool; False where the class is selected and the case does not annotate it.

    Returns:
        Scalar: the mean over annotated pairs of mean BCE minus Dice; 0 without any pair. Lies in
        [-1, inf). Contents of channels that are not annotated have no influence whatsoever.
    """
    total = pair_loss_sum(logits_NCZYX, target_NCZYX, annotated_NC)
    return total / annotated_NC.sum().clamp_min(1)


def pair_loss_sum(logits_NCZYX: Tensor, target_NCZYX: Tensor, annotated_NC: Tensor) -> Tensor:
    """The numerator of equation 2, which adds up over parts of a batch and over processes."""
    total = logits_NCZYX.new_zeros((), dtype=torch.float32)
    for logits_CZYX, target_CZYX, annotated_C in zip(
        logits_NCZYX, target_NCZYX, annotated_NC, strict=True
    ):
        pairs = logits_CZYX.flatten(1), target_CZYX.flatten(1)
        losses: Tensor = _PairLosses.apply(*pairs, annotated_C)  # type: ignore[no-untyped-call]
        total = total + losses.sum()
    return total


class _PairLosses(torch.autograd.Function):
    """Mean binary cross-entropy minus Dice of each channel of one case; 0 where not annotated.

    Some voxels at a time, so that what is in between stays in a processor's cache and needs no
    memory: on a CPU half the time of the same formula left to autograd (docs/LOG.md).
    """

    @staticmethod
    def forward(ctx: Any, logits_CV: Tensor, target_CV: Tensor, annotated_C: Tensor) -> Tensor:
        entropy, both, predicted, wanted = torch.zeros((4, len(logits_CV)), device=logits_CV.device)
        for part in _parts(logits_CV):
            x, y = _contiguous(logits_CV[:, part]), _contiguous(target_CV[:, part])
            p = x.sigmoid()
            predicted += p.sum(dim=1)
            wanted += y.sum(dim=1)
            both += p.mul_(y).sum(dim=1)
            entropy += (functional.softplus(x) - x * y).sum(dim=1)
        extent = (predicted + wanted).clamp_min(TINY)
        ctx.save_for_backward(logits_CV, target_CV, annotated_C, both, extent)
        losses = entropy / logits_CV.shape[1] - 2 * both / extent
        # Not multiplied: they may hold anything, NaN included.
        kept: Tensor = losses.where(annotated_C, 0)
        return kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_C: Tensor) -> tuple[Tensor, None, None]:
        logits_CV, target_CV, annotated_C, both, extent = ctx.saved_tensors
        of_entropy = (gradient_C / logits_CV.shape[1])[:, None]
        of_both, of_predicted = (
            (factor * gradient_C)[:, None] for factor in (-2 / extent, 2 * both / extent.square())
        )
        out_CV = torch.empty_like(logits_CV)
        for part in _parts(logits_CV):
            p = _contiguous(logits_CV[:, part]).sigmoid_()
            y = _contiguous(target_CV[:, part])
            of_sigmoid = (y * of_both).add_(of_predicted).mul_(p).mul_(1 - p)
            gradient = p.sub_(y).mul_(of_entropy).add_(of_sigmoid)
            out_CV[:, part] = gradient.masked_fill_(~annotated_C[:, None], 0)
        return out_CV, None, None


def _parts(values_CV: Tensor) -> list[slice]:
    size = _VOXELS_AT_ONCE["cuda" if values_CV.is_cuda else "cpu"]
    return [slice(first, first + size) for first in range(0, values_CV.shape[1], size)]


def _contiguous(values_CV: Tensor) -> Tensor:
    """A new float32 array, channel after channel."""
    out = torch.empty(values_CV.shape, device=values_CV.device)
    return out.copy_(values_CV)


def counted_pairs(annotated_NC: Tensor, selected: Sequence[int]) -> Tensor:
    """The indicator of equation 2 as (N, C) bool.

    Args:
        annotated_NC: which label (column c is label c + 1) each case annotates.
        selected: the set S. A class outside it always counts; where the case does not annotate it
            its target is background, which is the "normal" compound loss.
    """
    always = torch.ones(annotated_NC.shape[1], dtype=torch.bool, device=annotated_NC.device)
    always[[value - 1 for value in selected]] = False
    return annotated_NC | always


def supervision_weights(heads: int) -> list[float]:
    """Weights of the decoder stages, full resolution first (nnU-Net's deep supervision).

    Halved from stage to stage, the lowest dropped, the sum 1.
    """
    weights = [0.5**i for i in range(heads)]
    if heads > 1:
        weights[-1] = 0.0
    return [w / sum(weights) for w in weights]


def supervised_sum(heads: Sequence[Tensor], labels_NZYX: Tensor, counted_NC: Tensor) -> Tensor:
    """Numerator of equation 2, weighted over the decoder's stages.

    Args:
        heads: logits (N, 14, z, y, x) of each stage, full resolution first.
        labels_NZYX: coded labels (:mod:`training.data.coding`) at full resolution; coarser stages
            are compared with the nearest voxels, as in nnU-Net.
        counted_NC: bool, pairs that count.
    """
    total = heads[0].new_zeros((), dtype=torch.float32)
    for weight, logits in zip(supervision_weights(len(heads)), heads, strict=True):
        if weight == 0:
            # Nothing is learnt there, but each parameter must have a gradient when processes
            # exchange them.
            total = total + 0 * logits.float().mean()
            continue
        shape = logits.shape[2:]
        labels = functional.interpolate(labels_NZYX[:, None], shape, mode="nearest-exact")[:, 0]
        total = total + weight * pair_loss_sum(logits, one_hot(labels), counted_NC)
    return total
