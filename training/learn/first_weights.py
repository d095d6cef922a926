"""The weights that a training starts from: a checkpoint's, or those of an exported model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from inference.model.description import ModelDescription, verified_weights
from training.data.store import Store
from training.learn import checkpoint, terms
from training.learn.weights import averaged_weights, without_threshold


@dataclass(frozen=True)
class FirstWeights:
    """See :func:`first_weights`.

    Attributes:
        weights: by the names of the U-Net's parameters. Those of an exported model lack the heads
            of deep supervision; its tumour threshold is taken out of them again.
        sha256: of the file that they came from.
    """

    weights: dict[str, Tensor]
    sha256: str


def first_weights(
    path: Path, store: Store, out: Path, device: torch.device | str = "cpu"
) -> FirstWeights:
    """Read the (averaged) weights of ``path``, if this training may start from them.

    Args:
        path: a checkpoint of ``train``, or a model's folder (``weights/small``).
        store: what will be trained and validated on.
        out: folder of the run, for errors.
        device: for the tensors.

    Raises:
        CheckpointError, ModelError: missing, damaged, trained on scans that are validated on here,
            or on other intensity statistics.
    """
    if (path / "model.json").is_file():
        description = ModelDescription.load(path)
        data = verified_weights(path, description)
        seen = {*description.card.get("data", {}).get("train", [])}
        _check_unseen(path, sorted(seen & {case.name for case in store.split("validation")}), out)
        if description.intensity != store.intensity:
            raise checkpoint.CheckpointError(
                path,
                f"was trained on other intensity statistics than {store.folder}",
                f"preprocess with --fingerprint {path / 'model.json'}",
            )
        weights = {name: value.to(device) for name, value in safetensors.torch.load(data).items()}
        threshold = description.card.get("tumor_threshold", 0.5)
        return FirstWeights(without_threshold(weights, threshold), description.sha256)
    state: dict[str, Any] = checkpoint.load(
        path, device, "name a checkpoint that train has written, or a model's folder"
    )
    terms.check_held_out(store.held_out, state, path, out)
    return FirstWeights(averaged_weights(state), hashlib.sha256(path.read_bytes()).hexdigest())


def _check_unseen(path: Path, seen: list[str], out: Path) -> None:
    if seen:
        raise checkpoint.CheckpointError(
            path,
            f"was trained on {', '.join(seen)}, on which {out} is to be validated",
            "start from a model that held them out too",
        )
