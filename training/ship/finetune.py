"""``python -m training finetune``: go on training a model on a folder of one's own scans.

One command over the other verbs: the model labels what nobody drew (``fuse``), scans are stored
with its own intensity statistics (``preprocess``), it is scored on the patients held out
(``evaluate``), trained from its weights (``train --start-from``), exported with its own settings
(``export``) and scored again. Each step leaves its result in the working folder; the same command
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from inference.cli.argument_types import count
from inference.errors import AbdoboxError, OutputError, one_line
from inference.model.description import ModelDescription
from inference.model.folder import WEIGHTS, finder_folder, model_folder
from inference.scan.atomic import write_atomically
from training.data.case import DatasetError
from training.data.folders import make_folder
from training.data.preprocess import mark_unlabelled, preprocess_all
from training.data.store import Store
from training.data.table import read_cases
from training.fusion.own import fuse_own, own_cases
from training.learn import checkpoint
from training.learn.train import sitting
from training.options import length
from training.recipe import Network, Recipe, from_dict, load_recipe
from training.ship.evaluate import main as evaluate
from training.ship.export import export, model_json
from training.ship.finetune_card import card_text, finetuned

RECIPE = "finetune"
FILES = ("model.json", "model.safetensors")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    arguments = _parser().parse_args(argv)
    out: Path = arguments.out
    work: Path = arguments.work or Path("build/finetune") / out.resolve().name
    try:
        start = model_folder(WEIGHTS, arguments.start)
        if (out / "model.json").exists():
            raise OutputError(out, "holds a model already", "take another folder, or remove it")
        return finetune(arguments, start, work)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1


def finetune(arguments: argparse.Namespace, start: Path, work: Path) -> int:
    """Walk the steps that are still to be done. Returns the exit status.

    Raises:
        AbdoboxError: data or model are not what is needed, or a result cannot be written.
    """
    description = ModelDescription.load(start)
    store, run, device = work / "store", work / "run", ["--device", arguments.device]
    make_folder(arguments.out.resolve().parent)
    make_folder(work)
    place_finder(start, description, arguments.out)
    cases = own_cases(arguments.data, names_seen(start, description))
    check_same(work / "plan.json", plan_of(description, cases, arguments.minutes))
    recipe = recipe_for(description)
    write_atomically(work / "recipe.toml", recipe_toml(recipe).encode())
    if not (store / "store.json").exists():
        fuse_own(cases, start, work / "fused", arguments.device, arguments.workers)
        rows = read_cases(work / "fused")
        mark_unlabelled(rows, work / "fused")
        make_folder(store)
        preprocess_all(rows, recipe, description.intensity, store, arguments.workers)
    _check_splits(Store(store), arguments.data)
    _score(start, store, work / "before", device)
    if not _trained(run, arguments.minutes):
        words = ["--recipe", work / "recipe.toml", "--data", store, "--out", run, *device]
        words += ["--schedule-minutes", arguments.minutes]
        begun = (run / checkpoint.LAST).exists()
        words += ["--resume"] if begun else ["--start-from", start]
        complete, step = sitting([str(word) for word in words])
        if not complete:
            print(f"stopped at step {step}; the same command goes on", file=sys.stderr)
            return 0
    ready = work / "model" / arguments.out.resolve().name
    exported = export_like(description, start, run, ready, store)
    place_finder(start, description, ready)
    _score(ready, store, work / "after", device, again=True)
    _publish(exported, description, work, arguments.out)
    return 0


def names_seen(start: Path, description: ModelDescription) -> set[str]:
    """Names of the scans that the model, or the one that finds the organs for it, trained on."""
    seen = {*description.card.get("data", {}).get("train", [])}
    if description.crop is not None:
        finder = ModelDescription.load(finder_folder(start, description.crop.model))
        seen |= {*finder.card.get("data", {}).get("train", [])}
    return seen


def place_finder(start: Path, description: ModelDescription, out: Path) -> None:
    """Copy the model that finds the organs beside the new one, unless it is there.

    Raises:
        ModelError, OutputError: it is missing, another one has its name, or it cannot be written.
    """
    if description.crop is None:
        return
    finder = finder_folder(start, description.crop.model)
    there = out.resolve().parent / description.crop.model
    if (there / "model.json").exists():
        if ModelDescription.load(there).sha256 != ModelDescription.load(finder).sha256:
            raise OutputError(there, f"is another model than {finder}", "take another --out")
        return
    make_folder(there)
    for name in reversed(FILES):
        write_atomically(there / name, (finder / name).read_bytes())


def plan_of(description: ModelDescription, cases: Sequence[Any], minutes: float) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    return {
        "start": description.sha256,
        "minutes": minutes,
        "cases": {
            case.name: {
                "split": case.split,
                "annotated": {source: list(classes) for source, classes in case.annotated.items()},
            }
            for case in cases
        },
    }


def check_same(path: Path, plan: dict[str, Any]) -> None:
    """Write the plan, or compare it with that of an earlier sitting.

    Raises:
        DatasetError: model, minutes or cases are others than then.
    """
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        for key, what in (("start", "--from"), ("minutes", "--minutes"), ("cases", "cases")):
            if before.get(key) != plan[key]:
                raise DatasetError(
                    path.parent,
                    f"began with other {what}",
                    "give the same as then, or another --work",
                )
    write_atomically(path, json.dumps(plan, indent=1).encode())


def recipe_for(description: ModelDescription) -> Recipe:
    """The recipe of fine-tuning for a model's network, grid and decoding."""
    recipe, net = load_recipe(RECIPE), description.architecture
    if (
        net.convolutions
        != Network(net.features, net.strides, net.kernels).architecture().convolutions
    ):
        raise DatasetError(description.name, "has other stages than recipes know", "take another")
    sampling: dict[str, Any] = {"spacing": description.spacing, "patch": description.patch}
    if "recipe" in description.card:
        shapes = from_dict(description.card["recipe"]).sampling.shapes
    else:
        shapes = ()
    return replace(
        recipe,
        name=RECIPE,
        network=Network(net.features, net.strides, net.kernels),
        sampling=replace(recipe.sampling, **sampling, shapes=shapes),
        decode=description.decode,
    )


def recipe_toml(recipe: Recipe) -> str:
    """The recipe as a TOML file that :func:`training.recipe.load_recipe` reads."""
    document = asdict(recipe)
    plain = {k: v for k, v in document.items() if not isinstance(v, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for name, section in document.items():
        if isinstance(section, dict):
            lines += ["", f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in section.items())]
    return "\n".join(lines) + "\n"


def export_like(
    start: ModelDescription, folder: Path, run: Path, out: Path, store: Path
) -> ModelDescription:
    """Export a run with the starting model's crop, islands, windows and threshold.

    Args:
        start, folder: the starting model.
        run, store: what was trained, on what.
        out: folder of the new model.
    """
    exported = export(
        run,
        out,
        out.name,
        store=store,
        crop=start.crop,
        islands=start.islands,
        tumor_threshold=start.card.get("tumor_threshold", 0.5),
    )
    licence = start.card.get("licence", "not stated")
    card = {**exported.card, "licence": f"As the weights it started from ({start.name}): {licence}"}
    exported = replace(exported, step=start.step, card=card)
    write_atomically(out / "model.json", model_json(exported).encode())
    return exported


def _publish(exported: ModelDescription, start: ModelDescription, work: Path, out: Path) -> None:
    """Put model and card, with the scores before and after, where they were asked for."""
    before, after = (
        json.loads((work / name / "metrics.json").read_text(encoding="utf-8"))
        for name in ("before", "after")
    )
    cases = Store(work / "store").cases
    story = finetuned(start, cases, before, after)
    card = {**exported.card, "finetuned": story, "metrics": after}
    make_folder(out)
    text = card_text(replace(exported, card=card), start, story)
    write_atomically(out / "MODEL_CARD.md", text.encode())
    ready = work / "model" / exported.name
    write_atomically(out / "model.safetensors", (ready / "model.safetensors").read_bytes())
    write_atomically(out / "model.json", model_json(replace(exported, card=card)).encode())
    shutil.rmtree(work / "model")
    print(text)
    if start.ranges:
        words = f"python -m training calibrate --model {out} --data {work / 'fused'}"
        print(f"for int8 on processors without bfloat16: {words}", file=sys.stderr)
    if story["mean_dsc"]["after"] < story["mean_dsc"]["before"]:
        line = f"warning: {out} scores lower than {start.name} did; see its MODEL_CARD.md"
        print(one_line(line), file=sys.stderr)


def _score(model: Path, store: Path, out: Path, device: list[str], again: bool = False) -> None:
    """``evaluate`` a model into a folder, unless that has been done. Raises DatasetError."""
    if (out / "metrics.json").exists() and not again:
        return
    words = ["--model", str(model), "--data", str(store), "--out", str(out), *device]
    if evaluate(words):
        raise DatasetError(model, "could not be scored (see above)", "mend that; go on as before")


def _trained(run: Path, minutes: float) -> bool:
    """Whether the training has come to its end."""
    path = run / checkpoint.LAST
    return path.exists() and checkpoint.load(path)["position"]["seconds"] >= 60 * minutes


def _check_splits(store: Store, data: Path) -> None:
    """Raises DatasetError where nothing is left to train on, or to validate on."""
    for split, what in (("train", "train"), ("validation", "validate")):
        if not any(case.annotated for case in store.split(split)):
            raise DatasetError(
                data, f"has no usable scan to {what} on", "give label maps of two patients at least"
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training finetune",
        description="Go on training a model on scans and label maps of one's own.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of scans and label maps")
    parser.add_argument(
        "--from",
        dest="start",
        required=True,
        metavar="MODEL",
        help="name in weights/, or a folder",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new model")
    parser.add_argument(
        "--minutes", type=length, default=30.0, metavar="M", help="of training (default: 30)"
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="working folder (default: build/finetune/NAME)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda[:N]")
    parser.add_argument("--workers", type=count, default=2)
    return parser
