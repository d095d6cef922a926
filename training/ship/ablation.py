"""``python -m training ablation``: the paper's Table 7 from finished and evaluated runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import AbdoboxError
from inference.labels import NAMES

ROWS = (*(name.capitalize() for name in NAMES.values()), "Average")


@dataclass(frozen=True)
class Column:
    """One run: its title and, by target, mean DSC and NSD (fractions; None where unknown)."""

    title: str
    scores: dict[str, tuple[float | None, float | None]]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training ablation", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of trainings")
    arguments = parser.parse_args(argv)
    try:
        print(table([read_column(run) for run in arguments.runs]))
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def read_column(run: Path) -> Column:
    """The scores that ``evaluate`` left in a run's folder.

    Raises:
        AbdoboxError: the run was not evaluated.
    """
    try:
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        recipe = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AbdoboxError(
            run, "holds no evaluated training", "run python -m training evaluate"
        ) from error
    mean: dict[str, dict[str, Any]] = metrics["mean"]
    scores = {target: (values["dsc"], values["nsd"]) for target, values in mean.items()}
    return Column(recipe["title"] or recipe["name"], scores)


def table(columns: Sequence[Column]) -> str:
    """Markdown in the form of Table 7: a row per target, DSC and NSD in percent per run."""
    heads = [f"{column.title} {metric}" for column in columns for metric in ("DSC", "NSD")]
    lines = ["| Target | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for target in ROWS:
        cells = [
            _percent(value)
            for column in columns
            for value in column.scores.get(target, (None, None))
        ]
        lines.append(f"| {target} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
