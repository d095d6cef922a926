"""Synthetic patches, and real ones with further tumours, other stomachs or an organ taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from inference.labels import TUMOR
from inference.model.description import Intensity
from training.data.coding import TUMOR_BIT
from training.patches.loader import Batch
from training.synthesis.draw import Draw
from training.synthesis.filling import STOMACH, fill_stomach
from training.synthesis.removal import REMOVABLE, take_away
from training.synthesis.source import SyntheticSource
from training.synthesis.transplant import Piece, add_pieces
from training.synthesis.tumor import add_cysts, add_tumors


@dataclass(frozen=True)
class Mixture:
    """Replaces some of a batch's patches by synthetic ones, takes an organ out of some others, and
    draws tumours, other patients' tumours, and other contents of the stomach into some.

    What happens to a patch depends on (seed, step, place in the batch) alone, so that a run can be
    resumed, and two processes with half a batch each see what one with all of it does.

    Attributes:
        source: of synthetic patches, on the batches' device and at the recipe's spacing.
        intensity: normalisation of the batches.
        share: of patches that are replaced.
        tumor_share: of the remaining real patches with annotated tumours that get further ones.
            Where a scan's tumours are unknown nothing is added (:mod:`training.synthesis.tumor`).
        filling_share: of the real patches with annotated stomachs that get other contents there.
        removal_share: of the real patches with annotated organs that people live without in which
            one is taken away.
        transplant_share: of the real patches with annotated tumours that get some of ``patients``.
        patients: tumours to be drawn, by patient.
        seed: of the run.
        members: places in the whole batch of this process's patches; by default from 0 on.
    """

    source: SyntheticSource
    intensity: Intensity
    share: float
    tumor_share: float = 0.0
    filling_share: float = 0.0
    removal_share: float = 0.0
    transplant_share: float = 0.0
    patients: Sequence[Sequence[Piece]] = ()
    seed: int = 0
    members: Sequence[int] = ()

    def mixed(self, step: int, batch: Batch) -> Batch:
        """The batch of a step with synthetic content; the given one is not changed.

        Raises:
            ValueError: the batch has channels beside the CT (a cascade's second network).
        """
        if batch.image_NCZYX.shape[1] != 1:
            raise ValueError("a cascade's second network cannot be trained on synthetic patches")
        image = batch.image_NCZYX.clone()
        labels, annotated = batch.labels_NZYX.clone(), batch.annotated_NC.clone()
        patch = (labels.shape[1], labels.shape[2], labels.shape[3])
        threshold = self.share + self.tumor_share * (1 - self.share)
        for n, member in enumerate(self.members or range(len(labels))):
            seed = np.random.SeedSequence((self.seed, step, member)).generate_state(1)[0]
            generator = torch.Generator(labels.device).manual_seed(int(seed))
            point = float(torch.rand((), generator=generator, device=labels.device))
            if point < self.share:
                hounsfield, labels[n], annotated[n] = self.source.sample_coded(generator, patch)
                image[n, 0] = self._normalised(hounsfield)
                continue
            if Draw(generator).chance(self.removal_share):
                image[n, 0], labels[n] = self._with_removal(
                    image[n, 0], labels[n], annotated[n], generator
                )
            if annotated[n, STOMACH - 1] and Draw(generator).chance(self.filling_share):
                image[n, 0] = self._with_filling(image[n, 0], labels[n], generator)
            if point < threshold and annotated[n, TUMOR - 1]:
                image[n, 0], labels[n] = self._with_tumors(image[n, 0], labels[n], generator)
            if self.patients and annotated[n, TUMOR - 1]:
                image[n, 0], labels[n] = self._with_pieces(image[n, 0], labels[n], generator)
        return Batch(image, labels, annotated)

    def _with_filling(
        self, image_ZYX: Tensor, coded_ZYX: Tensor, generator: torch.Generator
    ) -> Tensor:
        labels = _values(coded_ZYX)
        filled = fill_stomach(self._hounsfield(image_ZYX), labels, generator, self.source.spacing)
        # A patch whose values were clipped to a window holds none beyond it.
        drawn = self._normalised(filled).clamp(image_ZYX.amin(), image_ZYX.amax())
        return torch.where(labels == STOMACH, drawn, image_ZYX)

    def _with_removal(
        self,
        image_ZYX: Tensor,
        coded_ZYX: Tensor,
        annotated_C: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        seen = torch.unique(coded_ZYX & (TUMOR_BIT - 1)).tolist()
        organs = [organ for organ in REMOVABLE if organ in seen and annotated_C[organ - 1]]
        if not organs:
            return image_ZYX, coded_ZYX
        organ = organs[Draw(generator).choice(len(organs))]
        labels, spacing = _values(coded_ZYX), self.source.spacing
        hounsfield = self._hounsfield(image_ZYX)
        emptied, kept = take_away(hounsfield, labels, organ, generator, spacing)
        drawn = self._normalised(emptied).clamp(image_ZYX.amin(), image_ZYX.amax())
        coded = torch.where(kept == labels, coded_ZYX, kept)
        return torch.where(emptied == hounsfield, image_ZYX, drawn), coded

    def _with_tumors(
        self, image_ZYX: Tensor, coded_ZYX: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        hounsfield, labels = self._hounsfield(image_ZYX), _values(coded_ZYX)
        if Draw(generator).chance(self.source.cyst_chance):
            hounsfield = add_cysts(hounsfield, labels, generator, self.source.spacing)
        drawn, labels = add_tumors(hounsfield, labels, generator, self.source.spacing)
        organs = coded_ZYX & (TUMOR_BIT - 1)
        return self._normalised(drawn), organs | (labels == TUMOR) * TUMOR_BIT

    def _with_pieces(
        self, image_ZYX: Tensor, coded_ZYX: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if not Draw(generator).chance(self.transplant_share):
            return image_ZYX, coded_ZYX
        hounsfield, spacing = self._hounsfield(image_ZYX), self.source.spacing
        drawn, coded = add_pieces(hounsfield, coded_ZYX, self.patients, generator, spacing)
        return self._normalised(drawn), coded

    def _hounsfield(self, image_ZYX: Tensor) -> Tensor:
        return image_ZYX * self.intensity.std + self.intensity.mean

    def _normalised(self, hounsfield: Tensor) -> Tensor:
        hu = self.intensity
        return (hounsfield.clamp(hu.lower, hu.upper) - hu.mean) / hu.std


def _values(coded_ZYX: Tensor) -> Tensor:
    """FLARE values of coded labels, uint8."""
    return torch.where(coded_ZYX >= TUMOR_BIT, TUMOR, coded_ZYX & (TUMOR_BIT - 1))
