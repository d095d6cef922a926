"""Command line of :mod:`benchmarks.quality`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.quality.absent import absent_results, absent_table
from benchmarks.quality.degrade import degradations
from benchmarks.quality.scan import Scan, Scores, labelled, named_scans, segment, validation_scans
from benchmarks.quality.synthetic import synthetic_scans
from benchmarks.quality.tables import as_json, table, write
from benchmarks.quality.tumor import tumor_results, tumor_table
from inference.engines.interface import Precision
from inference.errors import AbdoboxError, DeviceError, ModelError
from inference.labels import NAMES, TUMOR
from inference.model.folder import WEIGHTS
from inference.segmenter import Segmenter
from inference.types import DECODES, Labels
from training.data.folders import make_folder

Rows = dict[str, list[Scores]]
STEPS: dict[str, float | None] = {
    "step 0.5": 0.5,
    "step 0.75": 0.75,
    "step 1": 1.0,
    "cut to the patient": None,
}
REFERENCE = ("step 0.5", "linear")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(argv)
    try:
        make_folder(options.out.parent)
        text, results = COMMANDS[options.command](options)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    document = {"machine": environment.describe(), "command": options.command, "results": results}
    write(options.out, document)
    print(text, end="")
    return 0


def _robustness(options: argparse.Namespace) -> tuple[str, Any]:
    segmenter = _segmenter(options)
    rows: Rows = {}
    for scan in validation_scans(options.data):
        for name, degrade in degradations().items():
            worse = degrade(scan)
            rows.setdefault(name, []).append(worse.score(segment(segmenter, worse)))
    return _both(rows), _rows_json(rows)


def _settings(options: argparse.Namespace) -> tuple[str, Any]:
    """Each way of placing windows and of decoding: against the labels, and against the first."""
    rows: Rows = {}
    alike: Rows = {}
    scans = list(validation_scans(options.data))
    for model in options.model or [None]:
        segmenter = Segmenter.load(WEIGHTS, options.device, model=model)
        description = segmenter.description
        variants = {name: replace(description, step=s, crop=None) for name, s in STEPS.items()}
        if description.crop is not None:
            variants[f"cropped with {description.crop.margin_mm:.0f} mm"] = description
        references: list[Scan] | None = None
        for name, variant in variants.items():
            segmenter.description = variant
            for decode in DECODES:
                predicted = [segment(segmenter, scan, decode) for scan in scans]
                row = f"{description.name}, {name}, {decode}"
                rows[row] = _scored(scans, predicted)
                if name == REFERENCE[0] and decode == REFERENCE[1]:
                    references = _as_references(scans, predicted)
                elif references is not None:
                    alike[row] = _scored(references, predicted)
    text = f"{table(rows)}\nAgreement with {', '.join(REFERENCE)}\n\n{table(alike)}"
    return text, {"labels": _rows_json(rows), "reference": _rows_json(alike)}


def _precisions(options: argparse.Namespace) -> tuple[str, Any]:
    """Each precision, against the labels and against float32 in the same windows."""
    cases, data = options.cases, options.data
    segmenters = _precise_segmenters(options)
    scans = list(named_scans(data, cases) if cases else validation_scans(data))
    rows: Rows = {}
    alike: Rows = {}
    references: dict[str, list[Scan]] = {}
    for segmenter in segmenters:
        description = segmenter.description
        reference = replace(description, step=0.5, crop=None)
        for windows, variant in (("default", description), ("step 0.5", reference)):
            row = f"{segmenter.network.name}, {windows}"
            if row in rows:  # auto is one of the others
                continue
            segmenter.description = variant
            predicted = [segment(segmenter, scan) for scan in scans]
            rows[row] = _scored(scans, predicted)
            if windows in references:
                alike[row] = _scored(references[windows], predicted)
            else:
                references[windows] = _as_references(scans, predicted)
    text = f"{_both(rows)}\nAgreement with float32 in the same windows, DSC, %\n\n{table(alike)}"
    return text, {"labels": _rows_json(rows), "float32": _rows_json(alike)}


def _precise_segmenters(options: argparse.Namespace) -> list[Segmenter]:
    """One for float32 and for each other precision that device and model have.

    Raises:
        AbdoboxError: there is no such model or device.
    """
    segmenters = [_segmenter(options, "f32")]
    for precision in ("auto", "int8"):
        try:
            segmenters.append(_segmenter(options, precision))
        except (DeviceError, ModelError) as error:  # a GPU has no int8 here, some models no ranges
            print(f"left out {precision}: {error.subject} {error.cause}", file=sys.stderr)
    return segmenters


def _as_references(scans: Sequence[Scan], predicted: Sequence[Labels]) -> list[Scan]:
    return [
        replace(scan, labels_ZYX=labels, annotated=tuple(NAMES))
        for scan, labels in zip(scans, predicted, strict=True)
    ]


def _teachers(options: argparse.Namespace) -> tuple[str, Any]:
    """The model against the fused labels and each source, and the sources against the fused."""
    segmenter = _segmenter(options)
    scans = list(validation_scans(options.data))
    ours = [segment(segmenter, scan) for scan in scans]
    rows: Rows = {"model, fused labels": _scored(scans, ours)}
    for name, folders in options.labels.items():
        others = labelled(options.data, scans, folders)
        rows[f"model, {name}"] = _scored(others, ours)
        theirs = [other.labels_ZYX for other in others]
        classes = set(others[0].annotated)
        rows[f"{name}, fused labels"] = [
            {label: score for label, score in scores.items() if label in classes}
            for scores in _scored(scans, theirs)
        ]
    return _both(rows), _rows_json(rows)


def _scored(scans: Sequence[Scan], predicted: Sequence[Labels]) -> list[Scores]:
    return [scan.score(labels) for scan, labels in zip(scans, predicted, strict=True)]


def _synthetic(options: argparse.Namespace) -> tuple[str, Any]:
    segmenter = _segmenter(options)
    cache = options.out.parent / "anatomies"
    rows: Rows = {"synthetic scans": []}
    for scan in synthetic_scans(options.label_maps, options.structures, cache, options.count):
        scores = dict(scan.score(segment(segmenter, scan)))
        if not (scan.labels_ZYX == TUMOR).any():
            scores.pop(TUMOR, None)
        rows["synthetic scans"].append(scores)
    return _both(rows), _rows_json(rows)


def _groups(options: argparse.Namespace) -> tuple[str, Any]:
    segmenter = _segmenter(options)
    rows: Rows = {}
    for name, cases in options.group:
        scans = named_scans(options.data, cases)
        rows[name] = [scan.score(segment(segmenter, scan)) for scan in scans]
    return _both(rows), _rows_json(rows)


def _tumor(options: argparse.Namespace) -> tuple[str, Any]:
    scans = validation_scans(options.data, options.split)
    if options.cases:
        scans = named_scans(options.data, options.cases)
    results = tumor_results(_segmenter(options), scans)
    return tumor_table(results), [asdict(result) for result in results]


def _absent(options: argparse.Namespace) -> tuple[str, Any]:
    results = list(absent_results(_segmenter(options), validation_scans(options.data)))
    return absent_table(results), [asdict(result) for result in results]


COMMANDS = {
    "robustness": _robustness,
    "settings": _settings,
    "precisions": _precisions,
    "teachers": _teachers,
    "synthetic": _synthetic,
    "groups": _groups,
    "tumor": _tumor,
    "absent": _absent,
}


def _both(rows: Rows) -> str:
    return f"DSC, %\n\n{table(rows, 0)}\nNSD, %\n\n{table(rows, 1)}"


def _rows_json(rows: Rows) -> dict[str, Any]:
    return {name: [as_json(scores) for scores in many] for name, many in rows.items()}


def _segmenter(options: argparse.Namespace, precision: Precision = "auto") -> Segmenter:
    return Segmenter.load(WEIGHTS, options.device, model=options.model, precision=precision)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        command = commands.add_parser(name)
        command.add_argument("--out", type=Path, required=True, metavar="FILE.json")
        command.add_argument("--device", default="auto")
        many = {"nargs": "+"} if name == "settings" else {}
        command.add_argument("--model", help="name in weights/, or a folder", **many)
        if name != "synthetic":
            command.add_argument("--data", type=Path, required=True, help="written by fuse")
    tumor = commands.choices["tumor"]
    tumor.add_argument("--split", default="validation", choices=("validation", "train"))
    for command in (tumor, commands.choices["precisions"]):
        command.add_argument("--cases", nargs="+", metavar="CASE", help="these instead of a split")
    commands.choices["groups"].add_argument(
        "--group", type=_group, action="append", required=True, metavar="NAME=CASE,CASE...",
        help="scans of any split that make one row",
    )  # fmt: skip
    teachers = commands.choices["teachers"]
    teachers.add_argument(
        "--labels", type=_source, nargs="+", action=_Sources, required=True,
        metavar="NAME=DIR[:DIR]", help="other label maps of the same scans",
    )  # fmt: skip
    synthetic = commands.choices["synthetic"]
    synthetic.add_argument("--label-maps", type=Path, nargs="+", required=True, metavar="NIFTI")
    synthetic.add_argument("--structures", type=Path, required=True, metavar="JSON")
    synthetic.add_argument("--count", type=int, default=10)
    return parser


def _source(text: str) -> tuple[str, list[Path]]:
    name, _, folders = text.partition("=")
    if not folders:
        raise argparse.ArgumentTypeError("is not NAME=DIR")
    return name, [Path(folder) for folder in folders.split(":")]


def _group(text: str) -> tuple[str, list[str]]:
    name, _, cases = text.partition("=")
    if not cases:
        raise argparse.ArgumentTypeError("is not NAME=CASE,CASE...")
    return name, cases.split(",")


class _Sources(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, dict(values))


if __name__ == "__main__":
    sys.exit(main())
