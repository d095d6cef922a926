"""A quick look at how well a network does while it trains: DSC on the network's own grid.

A whole scan goes through the network at once. What is reported for a model comes from
``python -m training evaluate``, on the scan's grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from inference.types import Shape
from training.data.coding import one_hot
from training.data.store import StoredCase
from training.learn.precision import autocast, memory_format
from training.patches.crop import Place, read_crop
from training.patches.loader import Loader
from training.recipe import Recipe


@torch.inference_mode()
def quick_dice(
    network: nn.Module, loader: Loader, case: StoredCase, dtype: torch.dtype
) -> dict[int, float]:
    """DSC per annotated label of a case; NaN where neither prediction nor label has it."""
    logits, labels = whole_scan(network, loader, case, dtype)
    predicted, wanted = logits[0] > 0, one_hot(labels[None])[0]
    result = {}
    for value in case.annotated:
        p, w = predicted[value - 1], wanted[value - 1]
        total = int(p.sum() + w.sum())
        result[value] = 2 * int((p & w).sum()) / total if total else math.nan
    return result


@torch.inference_mode()
def whole_scan(
    network: nn.Module, loader: Loader, case: StoredCase, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Logits (1, 14, z, y, x) and coded labels (z, y, x) on the network's grid, uncropped."""
    z, y, x = (n / 2 for n in case.shape)
    shape, spacing = scan_shape(case, loader.recipe), loader.recipe.sampling.spacing
    place = Place(case, shape, spacing, (z, y, x), (0, case.shape[0]))
    crop = read_crop(loader.store, place, loader.recipe.network.previous)
    image, labels = crop.sampled(loader.device)
    with autocast(dtype, loader.device):
        logits = network(image[None].contiguous(memory_format=memory_format(loader.device)))
    return (logits[0] if isinstance(logits, list) else logits).float(), labels


def scan_shape(case: StoredCase, recipe: Recipe) -> Shape:
    """Shape of the whole scan on the network's grid, rounded up to what the strides divide."""
    divisor = recipe.network.architecture().divisor
    z, y, x = (
        max(math.ceil(n * old / new / d), 1) * d
        for n, old, new, d in zip(
            case.shape, case.spacing, recipe.sampling.spacing, divisor, strict=True
        )
    )
    return (z, y, x)


def mean_dice(scores: Sequence[dict[int, float]]) -> float:
    """Mean over labels of the mean over cases, undefined values left out."""
    labels = sorted({value for score in scores for value in score})
    means = [
        np.nanmean(found)
        for value in labels
        if not np.isnan(found := [s[value] for s in scores if value in s]).all()
    ]
    return float(np.mean(means)) if means else math.nan
