"""Patches that show no abdomen."""

from __future__ import annotations

import pytest
import torch

from training.synthesis.draw import Draw
from training.synthesis.elsewhere import elsewhere
from training.synthesis.source import SyntheticSource

PATCH, SPACING = (32, 48, 56), (5.0, 5.0, 5.0)


def patch(seed: int) -> torch.Tensor:
    return elsewhere(Draw(torch.Generator().manual_seed(seed)), PATCH, SPACING)


def test_equal_seeds_give_equal_patches_within_the_range_of_ct() -> None:
    for seed in range(12):
        image = patch(seed)
        assert image.shape == PATCH and image.dtype == torch.float32
        assert image.isfinite().all() and image.min() >= -1024 and image.max() <= 3071
        assert torch.equal(image, patch(seed))


def test_the_kinds_differ() -> None:
    images = [patch(seed) for seed in range(30)]
    bone = [bool((image > 400).float().mean() > 0.005) for image in images]
    soft = [bool(((image > 0) & (image < 100)).float().mean() > 0.05) for image in images]
    assert 10 < sum(bone) < 30, "limbs and heads have bone, bags and air none"
    assert 15 < sum(soft) < 30, "next to all hold soft tissue, air does not"


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_the_source_says_that_nothing_is_there(chance: float) -> None:
    source = SyntheticSource([], SPACING, elsewhere_chance=chance)
    generator = torch.Generator().manual_seed(0)
    if not chance:
        with pytest.raises(IndexError):  # there are no bodies to draw from
            source.sample(generator, PATCH)
        return
    _, labels, annotated = source.sample(generator, PATCH)
    assert not labels.any() and annotated.all() and annotated.shape == (14,)
