"""Synthetic patches and tumours in training batches."""

from __future__ import annotations

import pytest
import torch

from inference.model.description import Intensity
from training.data.coding import TUMOR_BIT
from training.patches.loader import Batch
from training.synthesis.mixture import Mixture
from training.synthesis.source import SyntheticSource
from training.synthesis.transplant import Piece

INTENSITY = Intensity(-900, 300, 80, 100)
SPACING = (5.0, 5.0, 5.0)


class FakeSource(SyntheticSource):
    """A source of one even patch of liver: 180 HU, no tumour, all classes annotated."""

    def __init__(self) -> None:
        super().__init__([], SPACING)

    def sample_coded(
        self, generator: torch.Generator, patch: tuple[int, int, int]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        labels = torch.ones(patch, dtype=torch.uint8)
        return torch.full(patch, 180.0), labels, torch.ones(14, dtype=torch.bool)


def real_batch(count: int, tumor_known: bool) -> Batch:
    """Patches of liver at 100 HU (0.2 after normalisation); liver and maybe tumour annotated."""
    annotated = torch.zeros((count, 14), dtype=torch.bool)
    annotated[:, 0], annotated[:, 13] = True, tumor_known
    labels = torch.zeros((count, 24, 24, 24), dtype=torch.uint8)
    labels[:, 2:22, 2:22, 2:22] = 1
    return Batch(torch.full((count, 1, 24, 24, 24), 0.2), labels, annotated)


def test_the_share_of_synthetic_patches_is_kept_and_they_are_normalised() -> None:
    mixture = Mixture(FakeSource(), INTENSITY, share=0.5)
    batch = real_batch(40, tumor_known=False)
    mixed = mixture.mixed(0, batch)
    replaced = mixed.annotated_NC.all(dim=1)
    assert 10 <= int(replaced.sum()) <= 30
    assert torch.allclose(mixed.image_NCZYX[replaced], torch.tensor(1.0))
    assert torch.equal(mixed.image_NCZYX[~replaced], batch.image_NCZYX[~replaced])
    assert not batch.annotated_NC.all(dim=1).any(), "the given batch is left alone"


def test_a_step_can_be_repeated_and_shared_between_processes() -> None:
    whole, again, even, odd = (
        Mixture(FakeSource(), INTENSITY, share=0.5, members=members)
        .mixed(7, real_batch(len(members), tumor_known=False))
        .annotated_NC
        for members in (range(20), range(20), range(0, 20, 2), range(1, 20, 2))
    )
    assert torch.equal(whole, again)
    assert torch.equal(whole[::2], even) and torch.equal(whole[1::2], odd)
    assert not torch.equal(even, odd)


def test_tumors_are_added_only_where_the_scans_own_are_known() -> None:
    mixture = Mixture(FakeSource(), INTENSITY, share=0.0, tumor_share=1.0)
    unknown = mixture.mixed(0, real_batch(3, tumor_known=False))
    assert not (unknown.labels_NZYX >= TUMOR_BIT).any()
    known = mixture.mixed(0, real_batch(3, tumor_known=True))
    tumor = known.labels_NZYX >= TUMOR_BIT
    assert tumor.flatten(1).any(dim=1).all()
    host = known.labels_NZYX & (TUMOR_BIT - 1)
    assert torch.equal(host, real_batch(3, tumor_known=True).labels_NZYX), "organs stay beneath"
    assert not torch.equal(known.image_NCZYX, real_batch(3, True).image_NCZYX)


def test_other_patients_tumors_are_added_only_where_the_scans_own_are_known() -> None:
    values = torch.zeros(2, 7, 7, 7)
    values[0, 1:6, 1:6, 1:6], values[1, 1:6, 1:6, 1:6] = -60.0, 1.0
    patients = [[Piece(values, SPACING, 1, 25.0)]]
    mixture = Mixture(FakeSource(), INTENSITY, share=0.0, transplant_share=0.5, patients=patients)
    unknown = mixture.mixed(0, real_batch(20, tumor_known=False))
    assert not (unknown.labels_NZYX >= TUMOR_BIT).any()
    batch = real_batch(20, tumor_known=True)
    known = mixture.mixed(0, batch)
    tumor = known.labels_NZYX >= TUMOR_BIT
    assert 5 <= int(tumor.flatten(1).any(dim=1).sum()) <= 15
    assert torch.equal(known.labels_NZYX & (TUMOR_BIT - 1), batch.labels_NZYX)
    # 100 HU of liver: 36 to 72 HU less, 0.36 to 0.72 after normalisation by 100 HU.
    assert 0.2 - 0.73 <= float(known.image_NCZYX[:, 0][tumor].min()) <= 0.2 - 0.35


def test_an_organ_is_taken_away_only_where_it_is_annotated() -> None:
    mixture = Mixture(FakeSource(), INTENSITY, share=0.0, removal_share=1.0)
    batch = real_batch(3, tumor_known=False)
    batch.labels_NZYX[:, 2:12, 2:12, 2:12] = 3
    batch.image_NCZYX[:, :, 23] = -3.0  # a patch holds no value beyond those that it had
    kept = mixture.mixed(0, batch)
    assert torch.equal(kept.labels_NZYX, batch.labels_NZYX)
    assert torch.equal(kept.image_NCZYX, batch.image_NCZYX)
    batch.annotated_NC[:, 3 - 1] = True
    emptied = mixture.mixed(0, batch)
    assert (batch.labels_NZYX == 3).any() and not (emptied.labels_NZYX == 3).any()
    assert torch.equal(emptied.labels_NZYX == 1, batch.labels_NZYX == 1)
    gone = (batch.labels_NZYX == 3)[:, None]
    assert (emptied.image_NCZYX[gone] < batch.image_NCZYX[gone]).float().mean() > 0.9


def test_a_cascade_is_refused() -> None:
    batch = real_batch(1, tumor_known=False)
    cascade = Batch(
        batch.image_NCZYX.expand(-1, 15, -1, -1, -1), batch.labels_NZYX, batch.annotated_NC
    )
    with pytest.raises(ValueError, match="cascade"):
        Mixture(FakeSource(), INTENSITY, share=0.5).mixed(0, cascade)


def test_stomachs_get_other_contents_only_where_they_are_annotated() -> None:
    mixture = Mixture(FakeSource(), INTENSITY, share=0.0, filling_share=1.0)
    batch = real_batch(2, tumor_known=False)
    batch.labels_NZYX[:, 6:20, 6:20, 6:20] = 11
    # Windowed: nothing below 50 or above 200 HU.
    batch.image_NCZYX[:, :, 0], batch.image_NCZYX[:, :, 1] = -0.3, 1.2
    assert torch.equal(mixture.mixed(0, batch).image_NCZYX, batch.image_NCZYX)
    batch.annotated_NC[1, 10] = True
    mixed = mixture.mixed(0, batch)
    changed = mixed.image_NCZYX != batch.image_NCZYX
    assert changed[1].any() and not changed[0].any()
    assert not changed[:, 0][batch.labels_NZYX != 11].any()
    assert mixed.image_NCZYX.amin() > -0.301 and mixed.image_NCZYX.amax() < 1.201
    assert torch.equal(mixed.labels_NZYX, batch.labels_NZYX)
