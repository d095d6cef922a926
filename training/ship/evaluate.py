"""``python -m training evaluate``: DSC and NSD of a run on its validation cases.

Runs what a user runs: the model is exported into the run's folder, loaded by the
:class:`inference.segmenter.Segmenter`, and its labels are compared on each scan's own grid. So is a
cascade's second network, which gets the first one's labels from the store. A model that was
exported before is scored by itself, ``--model DIR`` without ``--run``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.results import CaseResult
from evaluation.rules import MODES
from evaluation.scoring import evaluate_case
from evaluation.table import cases_csv, summarise, summary_markdown
from inference.engines.interface import Precision
from inference.errors import AbdoboxError
from inference.grid import Orientation
from inference.labels import NAMES
from inference.model.description import ModelDescription
from inference.model.folder import WEIGHTS
from inference.model.folder import model_folder as named_model
from inference.scan.atomic import write_atomically
from inference.scan.volume import read_labels
from inference.segmenter import Segmenter
from inference.types import DECODES, Decode, Labels
from training.data.folders import make_folder
from training.data.store import Store, StoredCase, StoreError
from training.learn import checkpoint
from training.options import add_threshold
from training.recipe import Recipe, from_dict
from training.ship.cascade import CascadePredictor
from training.ship.export import export, exported, model_json


class Predictor(NamedTuple):
    """A model that is ready to be scored.

    Attributes:
        labels: of a stored case's original scan, in its own axis order.
        decode: the decoding used.
        engine: name of what computes, which says the precision.
    """

    labels: Callable[[StoredCase], Labels]
    decode: Decode
    engine: str


class Scored(NamedTuple):
    """What was scored, by which engine, and each case's scores."""

    description: ModelDescription
    engine: str
    results: list[CaseResult]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.run is None and arguments.model is None:
        parser.error("name the folder of a training (--run), or a model (--model)")
    if arguments.record and (arguments.run is not None or arguments.split != "validation"):
        parser.error("--record takes a model's scores (--model) on the validation cases")
    try:
        if arguments.run is None:
            description, engine, results = model_scores(arguments)
        else:
            description, engine, results = run_scores(arguments)
        out = arguments.out or arguments.run
        if out is not None:
            make_folder(out)
            write_metrics(out, description, engine, arguments.mode, results)
        if arguments.record:
            scores = metrics(description, engine, arguments.mode, results)
            record(named_model(WEIGHTS, str(arguments.model)), scores)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    rows = summarise(results, MODES[arguments.mode].decimals)
    print(summary_markdown(rows, arguments.mode, results))
    return 0


def run_scores(arguments: argparse.Namespace) -> Scored:
    """Of a run's network, exported, or of the model that was named, on what the run held out.

    Raises:
        AbdoboxError: there is no such run, or something cannot be read.
    """
    path = arguments.run / arguments.checkpoint
    state = checkpoint.load(path, remedy=checkpoint.NAME_RUN)
    cases = _cases(arguments, state.get("held_out", []))
    predict = predictor(arguments, from_dict(state["recipe"]))
    results = [score(case, predict.labels(case), arguments.mode) for case in cases]
    description = ModelDescription.load(model_folder(arguments))
    return Scored(dataclasses.replace(description, decode=predict.decode), predict.engine, results)


def model_scores(arguments: argparse.Namespace) -> Scored:
    """Of a model by itself. What it was trained on is said, where it is to be validated.

    Raises:
        AbdoboxError: it or a scan cannot be read, or there are no cases.
    """
    # What is recorded must not hang on the processor that computed it.
    precision: Precision = "f32" if arguments.record else "auto"
    segmenter = Segmenter.load(
        WEIGHTS, arguments.device, model=str(arguments.model), precision=precision
    )
    decode = arguments.decode or segmenter.description.decode
    cases = _cases(arguments)
    seen = {*segmenter.description.card.get("data", {}).get("train", [])}
    names = ", ".join(case.name for case in cases if case.name in seen)
    if names and arguments.split == "validation":
        print(f"warning: {arguments.model} was trained on {names}", file=sys.stderr)
    results = [
        score(case, segmenter.segment(Path(case.image), decode=decode).labels, arguments.mode)
        for case in cases
    ]
    description = dataclasses.replace(segmenter.description, decode=decode)
    return Scored(description, segmenter.network.name, results)


def _cases(arguments: argparse.Namespace, held_out: Sequence[str] = ()) -> list[StoredCase]:
    """Those to be scored. Raises StoreError where there are none."""
    cases = Store(arguments.data, held_out).split(arguments.split)
    if not cases:
        raise StoreError(
            arguments.data,
            f"has no {arguments.split} cases",
            "name another --split, or hold patients out of the training (train --hold-out)",
        )
    return cases


def predictor(arguments: argparse.Namespace, recipe: Recipe) -> Predictor:
    """What labels the cases: the run, exported, or the model that was named.

    Raises:
        AbdoboxError: it cannot be exported, or not be loaded.
    """
    decode = arguments.decode or recipe.decode
    folder = model_folder(arguments)
    if arguments.model is None:
        export(
            arguments.run,
            folder,
            recipe.name,
            which=arguments.checkpoint,
            store=arguments.data,
            tumor_threshold=arguments.tumor_threshold,
        )
    if recipe.network.previous:
        store = Store(arguments.data)
        cascade = CascadePredictor(folder, store, arguments.device, decode)
        return Predictor(cascade, decode, cascade.network.name)
    segmenter = Segmenter.load(folder, arguments.device)

    def labels(case: StoredCase) -> Labels:
        return segmenter.segment(Path(case.image), decode=decode).labels

    return Predictor(labels, decode, segmenter.network.name)


def model_folder(arguments: argparse.Namespace) -> Path:
    """Of the model that is scored."""
    folder: Path = arguments.model or arguments.run / "model"
    return folder


def score(case: StoredCase, predicted: Labels, mode: str) -> CaseResult:
    """Compare with the labels that the case was preprocessed from."""
    reference, grid = read_labels(Path(case.label))
    spacing = grid.spacing
    if MODES[mode].canonical_axes:
        orientation = Orientation.of(grid.direction)
        predicted, reference = orientation.apply(predicted), orientation.apply(reference)
        spacing = orientation.canonical(grid).spacing
    scores = evaluate_case(
        predicted,
        reference,
        spacing,
        case.annotated,
        mode,
    )
    return CaseResult(case.name, scores)


def write_metrics(
    run: Path,
    description: ModelDescription,
    engine: str,
    mode: str,
    results: Sequence[CaseResult],
) -> None:
    """``metrics.json``, ``metrics.csv`` and ``metrics.md`` in a folder.

    Args:
        run: the run's folder, or another one.
        description: of the model that was scored.
        engine: name of what computed; the same model scores otherwise in another precision.
        mode: of the scoring.
        results: of each case.

    Raises:
        OutputError: they cannot be written.
    """
    rows = summarise(results, MODES[mode].decimals)
    document = metrics(description, engine, mode, results)
    write_atomically(run / "metrics.json", json.dumps(document, indent=1).encode())
    write_atomically(run / "metrics.csv", cases_csv(results).encode())
    write_atomically(run / "metrics.md", summary_markdown(rows, mode, results).encode())


def metrics(
    description: ModelDescription, engine: str, mode: str, results: Sequence[CaseResult]
) -> dict[str, Any]:
    """What ``metrics.json`` and a model's ``model.json`` say of its scores.

    Args: as for :func:`write_metrics`.
    """
    rows = summarise(results, MODES[mode].decimals)
    return {
        "against": "the labels of the data set, pseudo-labels where no person drew any",
        "model": exported(description),
        "engine": engine,
        "step": description.card.get("training", {}).get("steps"),
        "mode": mode,
        "mean": {
            row.target: {"cases": row.cases, "dsc": _number(row.dsc[0]), "nsd": _number(row.nsd[0])}
            for row in rows
        },
        "dsc": {r.name: {NAMES[v]: _number(s[0]) for v, s in r.scores.items()} for r in results},
        "nsd": {r.name: {NAMES[v]: _number(s[1]) for v, s in r.scores.items()} for r in results},
    }


def record(folder: Path, scores: dict[str, Any]) -> None:
    """Write a model's scores into its own ``model.json``. Raises AbdoboxError."""
    description = ModelDescription.load(folder)
    description.card["metrics"] = scores
    write_atomically(folder / "model.json", model_json(description).encode())


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training evaluate", description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of the training")
    parser.add_argument("--data", type=Path, required=True, help="folder written by preprocess")
    parser.add_argument("--split", default="validation", choices=("validation", "train"))
    parser.add_argument("--checkpoint", default=checkpoint.LAST, help="file in the run's folder")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="exported from this run, with its own settings; without --run, any model",
    )
    parser.add_argument(
        "--out", type=Path, help="folder for metrics.* (default: the run's; else none are written)"
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="compute in float32, and write the scores into the model's model.json",
    )
    parser.add_argument("--decode", choices=DECODES, help="by default the recipe's, or the model's")
    parser.add_argument("--mode", default="default", choices=("default", "flare23"))
    parser.add_argument("--device", default="auto")
    add_threshold(parser)
    return parser
