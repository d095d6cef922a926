"""Tumours of one patient in another's organ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.small_store import INTENSITY, make_store
from training.synthesis.transplant import Piece, add_piece, add_pieces, cut_pieces

SPACING = (3.0, 2.0, 2.0)
LIVER, TUMOR_BIT = 1, 16


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def block(hounsfield: float = 100.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A liver (72 x 88 x 88 mm) in fat, coded."""
    image = torch.full((40, 64, 64), -100.0)
    coded = torch.zeros((40, 64, 64), dtype=torch.uint8)
    image[8:32, 10:54, 10:54], coded[8:32, 10:54, 10:54] = hounsfield, LIVER
    return image, coded


def ball(difference: float = -50.0, diameter: float = 20.0, organ: int = LIVER) -> Piece:
    """A ball on voxels of 1 x 2 x 2 mm, some voxels of liver around it."""
    z, y, x = torch.meshgrid(*(torch.arange(n) - n // 2 for n in (41, 21, 21)), indexing="ij")
    mask = (z**2 + (2 * y) ** 2 + (2 * x) ** 2) < (diameter / 2) ** 2
    return Piece(torch.stack((mask * difference, mask.float())), (1.0, 2.0, 2.0), organ, diameter)


@pytest.mark.parametrize("seed", range(8))
def test_a_tumor_stays_in_its_organ_and_keeps_its_shape(seed: int) -> None:
    image, coded = block()
    before = image.clone(), coded.clone()
    changed, marked = add_piece(image, coded, ball(), generator(seed), SPACING)
    assert torch.equal(image, before[0]) and torch.equal(coded, before[1])
    tumor = marked >= TUMOR_BIT
    assert tumor.any() and (marked[tumor] == LIVER | TUMOR_BIT).all()
    assert torch.equal(marked & 15, coded) and torch.equal(changed[coded == 0], image[coded == 0])
    # Between 60 and 120 % of -50 HU in its middle; nothing beyond a voxel around it.
    assert 100 - 62 <= changed[tumor].min() <= 100 - 28
    near = torch.nn.functional.max_pool3d(tumor[None].float(), 5, 1, 2)[0] > 0
    torch.testing.assert_close(changed[~near], image[~near])
    extents = [
        (int(i.max()) - int(i.min()) + 1) * s
        for i, s in zip(torch.nonzero(tumor).T, SPACING, strict=True)
    ]
    inner = torch.nonzero(tumor)
    if (inner.amin(0) > torch.tensor([8, 10, 10])).all() and (
        inner.amax(0) < torch.tensor([31, 53, 53])
    ).all():
        assert max(extents) - min(extents) <= 8, "a ball stays one, whichever way it is turned"


def test_its_size_is_that_of_the_piece() -> None:
    """The middle of many volumes is the ball's: nothing is lost between the two grids."""
    volumes = []
    for seed in range(60):
        _, marked = add_piece(*block(), ball(), generator(seed), SPACING)
        volumes.append(float((marked >= TUMOR_BIT).sum()) * 12)
    whole = 4 / 3 * torch.pi * 10**3
    assert 0.5 * whole < float(torch.tensor(volumes).median()) < 1.5 * whole
    assert max(volumes) > 2 * min(volumes)


def test_large_ones_are_made_smaller() -> None:
    big = Piece(ball().values, (10.0, 20.0, 20.0), LIVER, 200.0)
    for seed in range(5):
        _, marked = add_piece(*block(), big, generator(seed), SPACING)
        assert float((marked >= TUMOR_BIT).sum()) * 12 < 1.1 * torch.pi / 6 * 80**3


def test_without_contrast_it_hardly_differs() -> None:
    strongest = min(
        float(add_piece(*block(50.0), ball(), generator(seed), SPACING)[0][20, 12:52, 12:52].min())
        for seed in range(10)
    )
    assert 50 - 0.6 * 1.2 * 50 - 1 <= strongest < 50


def test_no_organ_no_tumor() -> None:
    image, coded = block()
    changed, marked = add_piece(image, coded, ball(organ=3), generator(0), SPACING)
    assert changed is image and marked is coded


def test_tumors_that_are_there_are_not_drawn_over() -> None:
    image, coded = block()
    coded[12:28, 16:48, 16:48] |= TUMOR_BIT
    changed, _ = add_piece(image, coded, ball(), generator(1), SPACING)
    assert torch.equal(changed[coded >= TUMOR_BIT], image[coded >= TUMOR_BIT])


def test_equal_generators_give_equal_tumors() -> None:
    patients = [[ball()], [ball(30.0, 12.0), ball(-20.0, 8.0)]]
    first, second = (add_pieces(*block(), patients, generator(3), SPACING) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_pieces_of_a_store(tmp_path: Path) -> None:
    """The store's tumour: -0.2 in an organ of 1.0, normalised by 100 HU: 120 HU less."""
    store = make_store(tmp_path, annotated=((1, 2, 3, 14), (1, 2, 3), (1, 2, 3, 14)))
    patients = cut_pieces(store, store.split("train"))
    assert [len(pieces) for pieces in patients] == [1, 1], (
        "case1 does not say where its tumours are"
    )
    piece = patients[0][0]
    assert piece.organ == LIVER and piece.spacing == store.cases[0].spacing
    difference, mask = piece.values
    assert float(difference[mask > 0].mean()) == pytest.approx(-1.2 * INTENSITY.std, abs=6)
    assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, :, -1].any())
    voxels = int((store.labels(store.cases[0]) >= TUMOR_BIT).sum())
    assert int(mask.sum()) == voxels
    volume = voxels * 5.0 * 3.9 * 3.9
    assert piece.diameter_mm == pytest.approx((6 * volume / torch.pi) ** (1 / 3))
