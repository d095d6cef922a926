"""Markdown tables of scores in percent, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.scan import Scores, mean_by_label, organ_mean
from inference.labels import COLUMNS
from inference.scan.atomic import write_atomically


def table(rows: Mapping[str, Sequence[Scores]], metric: int = 0) -> str:
    """One row per condition: mean of the organs, then every label; means over the scans.

    Args:
        rows: condition -> scores of each scan.
        metric: 0 for DSC, 1 for NSD.
    """
    means = {name: mean_by_label(list(scores), metric) for name, scores in rows.items() if scores}
    labels = sorted({label for mean in means.values() for label in mean})
    heads = ["organs", *(COLUMNS[label] for label in labels)]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, mean in means.items():
        cells = [organ_mean(mean), *(mean.get(label) for label in labels)]
        lines.append(f"| {name} | {' | '.join(_percent(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def as_json(scores: Scores) -> dict[str, dict[str, float]]:
    """Label's short name -> DSC and NSD."""
    return {
        COLUMNS[label]: {"dsc": round(dsc, 4), "nsd": round(nsd, 4)}
        for label, (dsc, nsd) in scores.items()
    }


def write(path: Path, document: dict[str, Any]) -> None:
    """A result file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
