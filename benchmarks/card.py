"""The score tables of weights/MODEL_CARD.md, as each model.json has them.

    python -m benchmarks.card

``python -m training evaluate --record`` writes the scores there; the card repeats them, and a test
holds the two equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.labels import NAMES
from inference.model.folder import WEIGHTS

# The card's columns: labels of the paired adrenal glands share one.
COLUMNS: Mapping[str, tuple[int, ...]] = {
    "liver": (1,),
    "r. kidney": (2,),
    "l. kidney": (13,),
    "spleen": (3,),
    "pancreas": (4,),
    "aorta": (5,),
    "cava": (6,),
    "adrenals r., l.": (7, 8),
    "gallbladder": (9,),
    "esophagus": (10,),
    "stomach": (11,),
    "duodenum": (12,),
}
TUMOR = 14
MODELS = ("small", "small_3mm", "tiny")


def main() -> None:
    """Prints both tables."""
    print(mean_table(WEIGHTS, MODELS), case_table(WEIGHTS, MODELS[0]), sep="\n", end="")


def mean_table(weights: Path, models: Sequence[str]) -> str:
    """Markdown: DSC and NSD of each model, means over the validation scans, in per cent."""
    lines = [_line(["", *COLUMNS, "organs", "tumor"]), "|---" * (len(COLUMNS) + 3) + "|"]
    for model in models:
        means = _metrics(weights / model)["mean"]
        # model.json names them as a reader would: "Right kidney".
        by_name = {name.lower(): value for name, value in means.items()}
        for metric in ("dsc", "nsd"):
            cells = [
                ", ".join(_percent(by_name.get(NAMES[label], {}).get(metric)) for label in labels)
                for labels in COLUMNS.values()
            ]
            ends = [f"**{_percent(by_name[name][metric])}**" for name in ("organs", NAMES[TUMOR])]
            lines.append(_line([f"`{model}` {metric.upper()}", *cells, *ends]))
    return "\n".join(lines) + "\n"


def case_table(weights: Path, model: str) -> str:
    """Markdown: DSC of one model, scan by scan, in per cent."""
    lines = [_line(["", *COLUMNS, "tumor"]), "|---" * (len(COLUMNS) + 2) + "|"]
    for case, scores in _metrics(weights / model)["dsc"].items():
        cells = [
            ", ".join(_percent(scores.get(NAMES[label])) for label in labels)
            for labels in (*COLUMNS.values(), (TUMOR,))
        ]
        lines.append(_line([f"`{case}`", *cells]))
    return "\n".join(lines) + "\n"


def _metrics(model: Path) -> dict[str, Any]:
    text = (model / "model.json").read_text(encoding="utf-8")
    metrics: dict[str, Any] = json.loads(text)["metrics"]
    return metrics


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


if __name__ == "__main__":
    main()
