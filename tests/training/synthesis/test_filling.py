"""Other contents for real stomachs."""

from __future__ import annotations

import pytest
import torch

from training.synthesis.filling import GAS_HU, STOMACH, fill_stomach

SPACING = (3.0, 2.0, 2.0)


def stomach() -> tuple[torch.Tensor, torch.Tensor]:
    """A stomach of 50 HU (60 x 80 x 60 mm) in fat, with a spleen of 120 HU beside it."""
    image = torch.full((32, 60, 60), -100.0)
    labels = torch.zeros((32, 60, 60), dtype=torch.uint8)
    image[6:26, 10:50, 8:38], labels[6:26, 10:50, 8:38] = 50.0, STOMACH
    image[6:26, 10:50, 38:50], labels[6:26, 10:50, 38:50] = 120.0, 3
    return image, labels


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(8))
def test_the_wall_and_all_around_stay(seed: int) -> None:
    image, labels = stomach()
    before = image.clone()
    filled = fill_stomach(image, labels, generator(seed), SPACING)
    assert torch.equal(image, before)
    changed = filled != image
    assert changed.any() and not changed[labels != STOMACH].any()
    shell = torch.ones_like(changed)
    shell[7:25, 11:49, 9:37] = False
    # The outermost voxel is wall, but for what its neighbours' contents spill into it.
    difference = (filled - image).abs()
    rim = shell & (labels == STOMACH)
    if difference[~shell].mean() > 60:  # food may look as what was there did
        assert difference[rim].mean() < 0.45 * difference[~shell].mean()
    assert changed[12:20, 20:40, 16:30].all()


def test_gas_lies_over_a_level_and_contents_differ() -> None:
    with_gas, means = 0, []
    for seed in range(40):
        filled = fill_stomach(*stomach(), generator(seed), SPACING)
        column = filled[16, 14:46, 22]
        gas = column < GAS_HU / 2
        means.append(float(filled[16, 40:46, 12:34].mean()))
        if gas[0] and not gas[-1]:
            with_gas += 1
            assert float(filled[16, 14, 22]) == pytest.approx(GAS_HU, abs=60)
    assert 15 <= with_gas <= 36
    assert min(means) < 30 and max(means) > 250


def test_no_room_no_filling() -> None:
    image, labels = stomach()
    assert torch.equal(fill_stomach(image, 0 * labels, generator(0), SPACING), image)
    thin = torch.zeros_like(labels)
    thin[10:12] = STOMACH
    assert torch.equal(fill_stomach(image, thin, generator(0), SPACING), image)


def test_a_tumour_in_the_wall_or_lumen_stays() -> None:
    image, labels = stomach()
    labels[12:20, 24:34, 16:26], image[12:20, 24:34, 16:26] = 14, 80.0
    filled = fill_stomach(image, labels, generator(3), SPACING)
    assert (filled[labels == 14] == 80).all() and (filled != image).any()


def test_the_same_seed_gives_the_same_stomach() -> None:
    one, two, other = (fill_stomach(*stomach(), generator(s), SPACING) for s in (5, 5, 6))
    assert torch.equal(one, two) and not torch.equal(one, other)
