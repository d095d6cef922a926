"""Cascades (paper section 4.1): a second network that sees a coarser one's labels.

``python -m training.cascade`` lets the first network label every scan of a store that was
preprocessed for the second; recipes with ``network.previous`` read them as 14 further channels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from inference.description import Intensity
from inference.errors import AbdoboxError
from inference.grid import Orientation
from inference.labels import TUMOR
from inference.network import UNet
from inference.segmenter import Segmenter
from inference.volume import read_volume
from training.coding import Labels, code_labels, resample_coded
from training.loader import Loader
from training.precision import training_dtype
from training.recipe import from_dict
from training.store import Store, StoredCase
from training.validate import whole_scan
from training.weights import inference_weights


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.cascade", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the first network")
    parser.add_argument("--data", type=Path, required=True, help="store of the second")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    try:
        store = Store(arguments.data)
        segmenter = Segmenter.load(arguments.model, arguments.device)
        for case in store.cases:
            labels = segmenter.segment(Path(case.image)).labels
            write_previous(store, case, labels)
            print(f"labelled {case.name}", file=sys.stderr)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write_previous(store: Store, case: StoredCase, labels_ZYX: Labels) -> None:
    """Store the first network's labels, given in the scan's own axis order and grid."""
    orientation = Orientation.of(read_volume(Path(case.image)).grid.direction)
    coded = code_labels(np.ascontiguousarray(orientation.apply(labels_ZYX)))
    if coded.shape != case.shape:
        coded = resample_coded(coded, case.shape)
    np.save(store.folder / f"{case.name}.previous.npy", coded)


class CascadePredictor:
    """Labels stored cases with a cascade's second network, a whole scan at a time.

    Args:
        state: checkpoint of the second network.
        store: with the first network's labels.
        decode: ``nearest`` or ``linear``.
    """

    def __init__(self, state: dict[str, Any], store: Store, decode: str) -> None:
        recipe = from_dict(state["recipe"])
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if store.intensity != Intensity(**state["intensity_hu"]):
            raise AbdoboxError(
                store.folder,
                "has other intensity statistics than the network",
                "take the store that it was trained from",
            )
        self.decode = decode
        self.network = UNet(recipe.network.architecture()).to(device).eval()
        self.network.load_state_dict(inference_weights(state))
        self.loader = Loader(store, store.cases, recipe, device)
        self.dtype = training_dtype(recipe.optimisation.amp, device)

    def __call__(self, case: StoredCase) -> Labels:
        """Labels (z, y, x) in the scan's own axis order."""
        grid = read_volume(Path(case.image)).grid
        orientation = Orientation.of(grid.direction)
        canonical = orientation.canonical(grid)
        logits, _ = whole_scan(self.network, self.loader, case, self.dtype)
        inside = tuple(
            slice((have - want) // 2, (have - want) // 2 + want)
            for have, want in zip(
                logits.shape[2:],
                canonical.resampled_shape(self.loader.recipe.sampling.spacing),
                strict=True,
            )
        )
        logits = logits[(slice(None), slice(None), *inside)]
        if self.decode == "linear":
            logits = functional.interpolate(logits, canonical.shape, mode="trilinear")
            labels = decoded(logits[0])
        else:
            coarse = decoded(logits[0])[None, None]
            labels = functional.interpolate(coarse, canonical.shape, mode="nearest-exact")[0, 0]
        return np.ascontiguousarray(orientation.invert(labels.cpu().numpy()))


def decoded(logits_CZYX: torch.Tensor) -> torch.Tensor:
    """Labels (z, y, x) uint8: the highest positive logit, and the tumour over any organ."""
    best, organ = logits_CZYX[: TUMOR - 1].max(dim=0)
    labels = torch.where(best > 0, organ + 1, 0)
    return torch.where(logits_CZYX[TUMOR - 1] > 0, TUMOR, labels).to(torch.uint8)


if __name__ == "__main__":
    sys.exit(main())
