"""The optimiser, and the learning rate over the course of a training (paper Table 4)."""

from __future__ import annotations

import math

import torch
from torch import nn

from training.recipe import Optimisation

POLY_EXPONENT = 0.9


def rate_factor(settings: Optimisation, progress: float) -> float:
    """Share of the initial learning rate to use.

    Args:
        settings: warm-up and decay. ``poly`` is the paper's Table 4, taken per step instead of per
            epoch, which differs by less than one epoch's change.
        progress: share of the training that is done, 0 to 1, counted in steps or in time.
    """
    if progress < settings.warmup:
        # From a hundredth, so that the very first step already learns.
        return max(progress / settings.warmup, 0.01)
    left = (1 - progress) / (1 - settings.warmup) if settings.warmup < 1 else 0.0
    left = min(max(left, 0.0), 1.0)
    if settings.decay == "cosine":
        return 0.5 * (1 - math.cos(math.pi * left))
    factor: float = left**POLY_EXPONENT
    return factor


def build_optimizer(network: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum (paper Table 4), or AdamW."""
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            network.parameters(), settings.rate, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        network.parameters(),
        settings.rate,
        settings.momentum,
        weight_decay=settings.weight_decay,
        nesterov=True,
    )
