"""Which label a voxel gets from its logits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..labels import TUMOR

Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]


def winners(logits_CV: Logits) -> Labels:
    """The label of each voxel from its logits, channels first.

    Among the organs whose probability exceeds one half (logit > 0) the likeliest wins, the lower
    label where two are equal; a tumour wins over the organ that it lies in; where nothing passes,
    background.
    """
    ballot = Ballot(logits_CV.shape[1:])
    for label, logits in enumerate(logits_CV, 1):
        ballot.cast(label, logits)
    return ballot.labels


class Ballot:
    """Finds the winners of some voxels, label after label in ascending order."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.labels: Labels = np.zeros(shape, np.uint8)
        self._best = np.zeros(shape, np.float32)

    def cast(self, label: int, logits: Logits) -> None:
        wins = logits > (0 if label == TUMOR else self._best)
        np.maximum(self._best, logits, out=self._best)
        # The label rises from call to call: whoever wins now outnumbers the former winner.
        np.maximum(self.labels, wins.view(np.uint8) * np.uint8(label), out=self.labels)
