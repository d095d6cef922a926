"""The selected partial compound loss (paper section 2.2, equations 1 and 2).

Each class is a sigmoid channel. A (case, class) pair costs its mean binary cross-entropy minus its
Dice coefficient; the loss is the mean over the pairs that count. A pair of a selected class in a
case that does not annotate it leaves numerator and denominator, so the network is free there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from training.coding import one_hot

# Keeps 0/0 from arising when a channel's probabilities underflow.
TINY = 1e-8


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
        # Channels are taken out, not multiplied by 0: they may hold anything, NaN included.
        x = logits_CZYX[annotated_C].flatten(1).float()
        y = target_CZYX[annotated_C].flatten(1).float()
        entropy = functional.binary_cross_entropy_with_logits(x, y, reduction="none").mean(dim=1)
        p = x.sigmoid()
        dice = 2 * (p * y).sum(dim=1) / (p.sum(dim=1) + y.sum(dim=1)).clamp_min(TINY)
        total = total + (entropy - dice).sum()
    return total


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
        labels_NZYX: coded labels (:mod:`training.coding`) at full resolution; coarser stages are
            compared with the nearest voxels, as in nnU-Net.
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
