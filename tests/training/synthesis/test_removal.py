"""Organs taken away from real patches."""

from __future__ import annotations

import pytest
import torch

from training.synthesis.removal import REMOVABLE, take_away

SPACING = (3.0, 2.0, 2.0)
SPLEEN, LIVER, TUMOR = 3, 1, 14


def body() -> tuple[torch.Tensor, torch.Tensor]:
    """A spleen of 120 HU (36 x 40 x 40 mm) in fat, with a liver of 100 HU close beside it."""
    image = torch.full((32, 60, 60), -100.0)
    labels = torch.zeros((32, 60, 60), dtype=torch.uint8)
    image[10:22, 20:40, 10:30], labels[10:22, 20:40, 10:30] = 120.0, SPLEEN
    image[10:22, 20:40, 31:50], labels[10:22, 20:40, 31:50] = 100.0, LIVER
    return image, labels


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(6))
def test_the_organ_goes_and_its_neighbours_stay(seed: int) -> None:
    image, labels = body()
    before, known = image.clone(), labels.clone()
    emptied, left = take_away(image, labels, SPLEEN, generator(seed), SPACING)
    assert torch.equal(image, before) and torch.equal(labels, known), "the given ones stay"
    assert not (left == SPLEEN).any()
    assert torch.equal(left == LIVER, labels == LIVER)
    assert torch.equal(emptied[labels == LIVER], image[labels == LIVER])
    far = torch.ones_like(labels, dtype=torch.bool)
    far[6:26, 15:45, 5:35] = False
    assert torch.equal(emptied[far], image[far])
    # Fat and bowel, nowhere as bright as the spleen was.
    inside = emptied[labels == SPLEEN]
    assert inside.mean() < 60 and inside.std() > 5
    assert emptied[12:20, 22:38, 12:28].max() < 115


def test_no_outline_of_the_organ_is_left() -> None:
    image, labels = body()
    image[labels == LIVER] = -100.0
    image += 8.0 * torch.randn(image.shape, generator=generator(1))
    away = torch.stack(
        [take_away(image, labels, SPLEEN, generator(s), SPACING)[0] for s in range(40)]
    )
    # Means over many fillings along one side, from the inside outward: no ring at the border, 10.
    across = away[:, 12:20, 22:38, 4:24].mean(dim=(0, 1, 2))
    inside, border, rim = across[10:].mean(), across[6:8], across[4:6]
    assert (border - inside).abs().max() < 10 and (rim - inside).abs().max() < 25
    assert away[0, 12:20, 22:38, 12:28].diff(dim=2).abs().median() > 8.0, "and the scan's noise"


def test_nothing_to_take_away() -> None:
    image, labels = body()
    for organ in set(REMOVABLE) - {SPLEEN}:
        emptied, left = take_away(image, labels, organ, generator(0), SPACING)
        assert torch.equal(emptied, image) and torch.equal(left, labels)


def test_an_organ_with_a_tumour_stays() -> None:
    image, labels = body()
    labels[14:18, 26:32, 16:22] = TUMOR
    emptied, left = take_away(image, labels, SPLEEN, generator(0), SPACING)
    assert torch.equal(emptied, image) and torch.equal(left, labels)


def test_the_same_seed_takes_away_alike() -> None:
    one, two, other = (take_away(*body(), SPLEEN, generator(s), SPACING)[0] for s in (5, 5, 6))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_an_organ_of_which_the_patch_shows_its_last_voxels_goes() -> None:
    image, labels = body()
    image, labels = image[:, 18:21], labels[:, 18:21]
    for thin in (1, 2, 3):
        emptied, left = take_away(
            image[:, 3 - thin :], labels[:, 3 - thin :], SPLEEN, generator(0), (5.0, 4.0, 4.0)
        )
        assert not (left == SPLEEN).any()
        assert emptied.isfinite().all()
