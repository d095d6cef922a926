"""Means and detection rates with their intervals, and the table of single lesions."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import LEVEL, RESAMPLES, SEED, Bootstrap, Interval
from evaluation.lesions import DETECTED, MINIMUM_IOU, MISSED, SIZES, count_lesions
from evaluation.results import CaseResult
from inference.labels import NAMES, TUMOR

Summary = dict[str, Any]
DEFINITION = (
    "26-connected components; a hit is an IoU of at least 0.10, one-to-one; size is the diameter "
    "of the sphere of equal volume; figures are over all lesions of all cases"
)


def summarise_cases(results: Sequence[CaseResult], mode: str) -> Summary:
    """The JSON summary. Fractions of 1; an interval that cannot be known is null.

    Args:
        results: all cases; those that failed are named and left out of every figure.
        mode: of the scoring.

    Returns:
        ``cases``, ``failed``, ``bootstrap``, ``classes`` (by class, ``Organs`` and ``Average``:
        number of cases, ``dsc`` and ``nsd``) and, where they were found, ``lesions``: by size,
        numbers, sensitivity, precision, F1 and false positives per case.
    """
    scored = [result for result in results if result.error is None]
    summary: Summary = {
        "mode": mode,
        "cases": len(results),
        "failed": [result.name for result in results if result.error is not None],
        "bootstrap": {
            "over": "cases", "method": "percentile",
            "level": LEVEL, "resamples": RESAMPLES, "seed": SEED,
        },
        "classes": _classes(scored),
    }  # fmt: skip
    with_lesions = [result for result in scored if result.lesions is not None]
    if with_lesions:
        summary["lesions"] = {
            "definition": DEFINITION,
            "minimum_iou": MINIMUM_IOU,
            "cases": len(with_lesions),
            "sizes": _lesions(with_lesions),
        }
    return summary


def summary_json(summary: Summary) -> str:
    """The text of its file."""
    return json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def lesions_csv(results: Sequence[CaseResult]) -> str:
    """One row per lesion: those of the reference, then those of the prediction without a hit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["Name", "Of", "Outcome", "Size", "Diameter_mm", "Volume_ml", "IoU"])
    for result in results:
        for lesion in result.lesions or ():
            of = "reference" if lesion.outcome in (DETECTED, MISSED) else "prediction"
            numbers = [f"{v:.4f}" for v in (lesion.diameter_mm, lesion.volume_ml, lesion.iou)]
            writer.writerow([result.name, of, lesion.outcome, lesion.size, *numbers])
    return text.getvalue()


def lesions_markdown(summary: Summary) -> str:
    """Detection by size as a markdown table with 95 % intervals; empty without lesions."""
    if "lesions" not in summary:
        return ""
    found = summary["lesions"]
    lines = [
        "",
        "| Lesions | Number | Sensitivity (%) | F1 (%) | False positives per case |",
        "|---|---:|---:|---:|---:|",
    ]
    for size, row in found["sizes"].items():
        shares = [_percent(row[key]) for key in ("sensitivity", "f1")]
        rate = _with_interval(row["false_positives_per_case"], 1, 2)
        lines.append(f"| {size} | {row['references']} | {' | '.join((*shares, rate))} |")
    lines += ["", f"Cases: {found['cases']}; {DEFINITION}.", f"In brackets {_about()}."]
    return "\n".join(lines) + "\n"


def _classes(scored: Sequence[CaseResult]) -> dict[str, Any]:
    draws = Bootstrap(len(scored))
    tables = {}
    for metric, name in enumerate(("dsc", "nsd")):
        rows = [
            [r.scores[label][metric] if label in r.scores else math.nan for r in scored]
            for label in NAMES
        ]
        tables[name] = np.array(rows).reshape(len(NAMES), len(scored))
    names = [name.capitalize() for name in NAMES.values()]
    groups = {name: [row] for row, name in enumerate(names)}
    groups["Organs"] = [row for row, label in enumerate(NAMES) if label != TUMOR]
    groups["Average"] = [*range(len(NAMES))]
    return {
        name: {
            "cases": int((~np.isnan(tables["dsc"][rows])).any(0).sum()),
            **{key: _number(draws.mean_of_means(table[rows])) for key, table in tables.items()},
        }
        for name, rows in groups.items()
    }


def _lesions(results: Sequence[CaseResult]) -> dict[str, Any]:
    draws = Bootstrap(len(results))
    return {size: _of_size(results, size, draws) for size in SIZES}


def _of_size(results: Sequence[CaseResult], size: str, draws: Bootstrap) -> dict[str, Any]:
    counts = [count_lesions(result.lesions or (), size) for result in results]

    def column(name: str) -> NDArray[np.float64]:
        return np.array([getattr(count, name) for count in counts], np.float64)

    references, detected, false = map(column, ("references", "detected", "false_positives"))
    return {
        "references": int(references.sum()),
        "detected": int(detected.sum()),
        "false_positives": int(false.sum()),
        "sensitivity": _number(draws.ratio(detected, references)),
        "precision": _number(draws.ratio(detected, detected + false)),
        "f1": _number(draws.ratio(2 * detected, references + detected + false)),
        "false_positives_per_case": _number(draws.ratio(false, np.ones(len(counts)))),
    }


def _number(interval: Interval) -> dict[str, float | None]:
    return {k: None if math.isnan(v) else round(v, 6) for k, v in asdict(interval).items()}


def _percent(number: dict[str, float | None]) -> str:
    return _with_interval(number, 100, 1)


def _with_interval(number: dict[str, float | None], factor: float, decimals: int) -> str:
    value, low, high = number["value"], number["low"], number["high"]
    if value is None:
        return "-"
    text = f"{factor * value:.{decimals}f}"
    if low is None or high is None:
        return text
    return f"{text} ({factor * low:.{decimals}f} to {factor * high:.{decimals}f})"


def _about() -> str:
    return f"the {100 * LEVEL:.0f} % interval of a bootstrap over cases, {RESAMPLES} draws"
