"""``python -m training export``: from a run to a model folder that ``inference`` reads.

Weights are stored as float16, which halves the file; the network's input and arithmetic stay what
the engine chooses.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors

from inference.errors import AbdoboxError, OutputError
from inference.model.description import Crop, Intensity, ModelDescription
from inference.model.folder import WEIGHTS
from inference.scan.atomic import write_atomically
from training.data.folders import make_folder
from training.data.store import Store
from training.learn import checkpoint
from training.learn.weights import inference_weights, with_threshold
from training.options import add_threshold, share
from training.recipe import Recipe, from_dict

LICENCE = (
    "Research only: the pseudo-labels come from networks that were trained on FLARE data "
    "(CC BY-NC-SA style terms). See weights/MODEL_CARD.md."
)
STEP = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    folder = arguments.out / arguments.name
    try:
        crop = _crop(arguments, folder)
    except ValueError as error:
        parser.error(str(error))
    try:
        if not arguments.replace:
            check_free(folder)
        description = export(
            arguments.run,
            folder,
            arguments.name,
            version=arguments.version,
            which=arguments.checkpoint,
            store=arguments.data,
            tumor_threshold=arguments.tumor_threshold,
            averaged=not arguments.last_weights,
            crop=crop,
            islands=arguments.islands,
        )
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{folder}: {description.card['training']['steps']} steps, sha256 "
        f"{description.sha256[:12]}",
        file=sys.stderr,
    )
    return 0


def export(
    run: Path,
    folder: Path,
    name: str,
    *,
    version: str = "0.1.0",
    which: str = checkpoint.LAST,
    store: Path | None = None,
    tumor_threshold: float = 0.5,
    averaged: bool = True,
    crop: Crop | None = None,
    islands: float = 0.0,
) -> ModelDescription:
    """Write ``folder/model.safetensors`` and ``folder/model.json``.

    Of deep supervision's heads only the one at full resolution is kept.

    Args:
        run: folder of the training.
        folder: of the model; made where it is missing.
        name, version: of the model.
        which: checkpoint in ``run``.
        store: the preprocessed scans, to list the cases that were trained on.
        tumor_threshold: probability from which a voxel is tumour. The tumour wins over every organ,
            so one that is seldom right costs organs; inference always cuts at 0.5, therefore the
            threshold is moved there through the head's bias.
        averaged: take the moving average of the weights, where the training kept one.
        crop: the model, beside this one, that finds the organs first; windows are then cut to them.
        islands: pieces of an organ below this share of its largest one are left out.

    Raises:
        CheckpointError: there is no such checkpoint, or what finds the organs was trained on scans
            that this model is validated on.
        OutputError: the model cannot be written.
    """
    state = checkpoint.load(run / which, remedy=checkpoint.NAME_RUN)
    if not averaged:
        state["average"] = None
    recipe = from_dict(state["recipe"])
    data = packed(with_threshold(inference_weights(state), tumor_threshold))
    description = ModelDescription(
        name=name,
        version=version,
        architecture=recipe.network.architecture(),
        spacing=recipe.sampling.spacing,
        patch=recipe.sampling.patch,
        intensity=Intensity(**state["intensity_hu"]),
        decode=recipe.decode,
        step=None if crop else STEP,
        crop=crop,
        islands=islands,
        sha256=hashlib.sha256(data).hexdigest(),
        card={"tumor_threshold": tumor_threshold, **_card(state, recipe, run, store)},
    )
    if crop is not None:
        check_finder(folder.parent / crop.model / "model.json", description.card)
    description.card.update(_metrics(run, description))
    write_model(folder, description, data)
    return description


def packed(weights: Mapping[str, torch.Tensor]) -> bytes:
    """Weights as a model's folder has them: safetensors, float16."""
    half = {name: weight.to(torch.float16).contiguous() for name, weight in weights.items()}
    return bytes(safetensors(half))


def write_model(folder: Path, description: ModelDescription, data: bytes) -> None:
    """Both files of a model's folder, which is made where it is missing. Raises OutputError."""
    make_folder(folder)
    # The weights come first: a model.json always finds the weights whose hash it names, or an
    # error that says so.
    write_atomically(folder / "model.safetensors", data)
    write_atomically(folder / "model.json", model_json(description).encode())


def model_json(description: ModelDescription) -> str:
    """The text of a model.json, lists of numbers on one line each."""
    text = json.dumps(description.to_json(), indent=1)
    numbers = re.compile(r"\[\s+(-?[\d.][^\[\]{}\"]*?)\s+\]")
    return numbers.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def _crop(arguments: argparse.Namespace, folder: Path) -> Crop | None:
    """What the options say of cropping the model in ``folder``. Raises ValueError."""
    if not arguments.crop:
        return None
    crop = Crop(arguments.crop, arguments.margin, arguments.agreement)
    if (folder.parent / crop.model).resolve() == folder.resolve():
        raise ValueError(f"--crop {crop.model} is this model itself: name another one")
    return crop


def _card(state: dict[str, Any], recipe: Recipe, run: Path, store: Path | None) -> dict[str, Any]:
    """What else model.json says: how the model came about."""
    position = state["position"]
    card: dict[str, Any] = {
        "licence": LICENCE,
        "started_from": state.get("started_from"),
        "recipe": recipe.to_dict(),
        "training": {
            "steps": position["step"],
            "minutes": round(position["seconds"] / 60, 1),
            "averaged_weights": state["average"] is not None,
        },
    }
    if store is not None:
        cases = Store(store, state.get("held_out", [])).cases
        card["data"] = {
            split: sorted(c.name for c in cases if c.split == split)
            for split in ("train", "validation")
        }
    return card


def check_free(folder: Path) -> None:
    """Raises OutputError where a folder holds a model."""
    if (folder / "model.json").exists():
        raise OutputError(folder, "holds a model already", "take another --name, or add --replace")


def check_finder(path: Path, card: dict[str, Any]) -> None:
    """Whether what a model builds on has seen none of the scans that the model is validated on.

    Args:
        path: model.json of what finds its organs; where it is missing, nobody can tell.
        card: of the model.

    Raises:
        CheckpointError: it was trained on one of them.
    """
    if "data" not in card or not path.is_file():
        return
    finder = json.loads(path.read_text(encoding="utf-8"))
    if seen := sorted({*finder.get("data", {}).get("train", [])} & {*card["data"]["validation"]}):
        raise checkpoint.CheckpointError(
            path,
            f"was trained on {', '.join(seen)}, on which this model is validated",
            "take one whose training held them out too",
        )


def exported(description: ModelDescription) -> dict[str, Any]:
    """What decides a model's labels, by which ``evaluate`` says which model it has scored."""
    document = description.to_json()
    return {key: document.get(key) for key in ("sha256", "decode", "step", "crop", "islands")}


def _metrics(run: Path, description: ModelDescription) -> dict[str, Any]:
    """The scores that ``evaluate`` has left in the run's folder, if they are this model's."""
    try:
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {"metrics": metrics} if metrics.get("model") == exported(description) else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder of models")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--replace", action="store_true", help="a model that is there already")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--checkpoint", default=checkpoint.LAST, help="file in the run's folder")
    parser.add_argument("--data", type=Path, help="store, to list the cases in the model's card")
    parser.add_argument("--crop", metavar="MODEL", help="model that finds the organs first")
    parser.add_argument(
        "--margin", type=float, default=20.0, metavar="MM", help="around what it finds"
    )
    parser.add_argument(
        "--agreement",
        type=float,
        default=0.0,
        metavar="DICE",
        help="with it, below which a scan holds no abdomen (default: 0, always believed)",
    )
    parser.add_argument(
        "--islands",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="leave out pieces of an organ that are smaller than this share of its largest one",
    )
    parser.add_argument("--last-weights", action="store_true", help="not their moving average")
    add_threshold(parser)
    return parser
