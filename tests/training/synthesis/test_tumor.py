"""Tumours drawn into a plain block of organ in fat."""

from __future__ import annotations

import pytest
import torch

from training.synthesis.tumor import add_cysts, add_tumor, add_tumors

SPACING = (3.0, 2.0, 2.0)


def block() -> tuple[torch.Tensor, torch.Tensor]:
    """A liver of 100 HU (72 x 88 x 88 mm) in fat, a little air at one side."""
    image = torch.full((40, 64, 64), -100.0)
    labels = torch.zeros((40, 64, 64), dtype=torch.uint8)
    image[8:32, 10:54, 10:54], labels[8:32, 10:54, 10:54] = 100.0, 1
    image[:, :, 60:] = -1000.0
    return image, labels


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", range(6))
def test_a_tumor_is_connected_to_its_organ_and_changes_only_its_place(seed: int) -> None:
    image, labels = block()
    before = image.clone(), labels.clone()
    changed, marked = add_tumor(image, labels, generator(seed), SPACING, site=1)
    assert torch.equal(image, before[0]) and torch.equal(labels, before[1])
    tumor = marked == 14
    assert tumor.any() and (marked[~tumor] == labels[~tumor]).all()
    assert (labels[tumor] == 1).float().mean() > 0.3
    assert not tumor[:, :, 60:].any(), "tumours do not grow into air"
    diameter = 2 * (float(tumor.sum()) * 12 * 0.75 / torch.pi) ** (1 / 3)
    assert 3 < diameter < 90
    near = torch.nn.functional.max_pool3d(tumor[None].float(), 11, 1, 5)[0] > 0
    assert torch.equal(changed[~near], image[~near])


def test_tumors_differ_from_their_organ() -> None:
    differences = []
    for seed in range(20):
        image, labels = block()
        changed, marked = add_tumor(image, labels, generator(seed), SPACING, site=1)
        differences.append(abs(float(changed[marked == 14].median()) - 100))
    assert sum(d > 5 for d in differences) >= 18


def test_a_missing_site_changes_nothing() -> None:
    image, labels = block()
    changed, marked = add_tumor(image, labels, generator(0), SPACING, site=4)
    assert changed is image and marked is labels


def test_equal_generators_give_equal_tumors() -> None:
    first, second = (add_tumors(*block(), generator(3), SPACING) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_an_empty_patch_stays_empty() -> None:
    image = torch.full((8, 8, 8), -1000.0)
    labels = torch.zeros((8, 8, 8), dtype=torch.uint8)
    _, marked = add_tumors(image, labels, generator(0), SPACING)
    assert not marked.any()


def test_cysts_are_even_water_within_their_organ() -> None:
    found = 0
    for seed in range(12):
        image, labels = block()
        changed = add_cysts(image, labels, generator(seed), SPACING)
        different = (changed - image).abs() > 40
        found += bool(different.any())
        assert not different[labels != 1].any()
        inside = changed[different & ((changed - 7.5).abs() < 45)]
        assert len(inside) >= 0.8 * int(different.sum())
    assert 2 <= found <= 11, "an organ that the patch does not show gets none"
    image, labels = block()
    assert torch.equal(add_cysts(image, 0 * labels, generator(0), SPACING), image)
