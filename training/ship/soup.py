"""``python -m training soup``: two trained models as one, their weights averaged.

::

    python -m training soup OLD NEW --share 0.6 --tumor-threshold 0.9 --out weights --name small

What goes on from ``OLD`` on other scans lies close enough to it that a point between them is a
network, too, and often one that is better on both kinds of scan: Wortsman et al., "Robust
fine-tuning of zero-shot models" (CVPR 2022) and "Model soups" (ICML 2022).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load

from inference.errors import AbdoboxError, ModelError
from inference.model.description import ModelDescription, verified_weights
from inference.model.folder import WEIGHTS, model_folder
from training.learn.weights import with_threshold, without_threshold
from training.options import add_threshold, probability
from training.ship.export import check_finder, check_free, packed, write_model

# What must be equal for an average to mean anything.
_SAME = ("architecture", "spacing", "patch", "intensity")
# What an average has anew: it is no model that was scored, and its maps reach elsewhere.
_NOT_KEPT = ("metrics", "started_from", "training", "data", "soup")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    arguments = _parser().parse_args(argv)
    folder = arguments.out / arguments.name
    try:
        if not arguments.replace:
            check_free(folder)
        first, second = (model_folder(WEIGHTS, name) for name in (arguments.old, arguments.new))
        description = soup(
            (first, second),
            folder,
            arguments.name,
            share=arguments.share,
            version=arguments.version,
            tumor_threshold=arguments.tumor_threshold,
        )
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: sha256 {description.sha256[:12]}; now calibrate it for int8", file=sys.stderr)
    return 0


def soup(
    folders: tuple[Path, Path],
    folder: Path,
    name: str,
    *,
    share: float,
    version: str = "0.1.0",
    tumor_threshold: float = 0.5,
) -> ModelDescription:
    """Write ``folder/model.safetensors`` and ``folder/model.json``.

    Spacing, decoding, crop and the like are those of the second model.

    Args:
        folders: of the two models; the first has weight ``1 - share``.
        folder: of the model to write; made where it is missing.
        name, version: of that model.
        share: weight of the second model, between 0 and 1.
        tumor_threshold: as for :func:`training.ship.export.export`; those of the two are undone.

    Raises:
        ModelError: a model cannot be read, or the two are networks of different shape or input.
        CheckpointError: the first model, or the one that crops, was trained on scans that the
            second is validated on.
        OutputError: the model cannot be written.
    """
    old, new = (ModelDescription.load(path) for path in folders)
    if unequal := [key for key in _SAME if getattr(old, key) != getattr(new, key)]:
        raise ModelError(
            folders[1],
            f"has another {unequal[0]} than {folders[0]}",
            "average a model with one that was trained on from it",
        )
    parts = [
        _as_trained(load(verified_weights(path, model)), model)
        for path, model in zip(folders, (old, new), strict=True)
    ]
    mixed = {key: torch.lerp(parts[0][key], parts[1][key], share) for key in parts[1]}
    data = packed(with_threshold(mixed, tumor_threshold))
    description = replace(
        new,
        name=name,
        version=version,
        sha256=hashlib.sha256(data).hexdigest(),
        ranges={},
        card=_card((old, new), share, tumor_threshold),
    )
    check_finder(folders[0] / "model.json", description.card)
    if new.crop is not None:
        check_finder(folder.parent / new.crop.model / "model.json", description.card)
    write_model(folder, description, data)
    return description


def _as_trained(
    weights: Mapping[str, torch.Tensor], model: ModelDescription
) -> dict[str, torch.Tensor]:
    """A model's weights in float32, as if its tumour began at a probability of 0.5."""
    threshold = float(model.card.get("tumor_threshold", 0.5))
    return {key: w.float() for key, w in without_threshold(weights, threshold).items()}


def _card(
    models: tuple[ModelDescription, ModelDescription], share: float, tumor_threshold: float
) -> dict[str, Any]:
    """What else model.json says: both trainings, and every scan that either has seen."""
    parts = [
        {
            "version": model.version,
            "sha256": model.sha256,
            "share": weight,
            **{key: model.card[key] for key in ("training", "started_from") if key in model.card},
        }
        for model, weight in zip(models, (1 - share, share), strict=True)
    ]
    listed = [model.card["data"] for model in models if "data" in model.card]
    kept = {key: value for key, value in models[1].card.items() if key not in _NOT_KEPT}
    card: dict[str, Any] = {**kept, "tumor_threshold": tumor_threshold, "soup": parts}
    if listed:
        card["data"] = {
            "train": sorted({scan for data in listed for scan in data["train"]}),
            "validation": listed[-1]["validation"],
        }
    return card


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training soup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", help="model that the other one started from: name or folder")
    parser.add_argument("new", help="model that was trained on")
    parser.add_argument("--share", type=probability, default=0.5, help="weight of the new model")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of models")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--replace", action="store_true", help="a model that is there already")
    parser.add_argument("--version", default="0.1.0")
    add_threshold(parser)
    return parser
