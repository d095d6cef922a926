"""What a fine-tuned model says about itself: its entry in ``model.json``, and a short card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference.labels import NAMES
from inference.model.description import ModelDescription
from training.data.store import StoredCase

Metrics = Mapping[str, Any]


def finetuned(
    start: ModelDescription, cases: Sequence[StoredCase], before: Metrics, after: Metrics
) -> dict[str, Any]:
    """Starting model, numbers of scans per class, and DSC before and after.

    Args:
        start: the starting model.
        cases: of the store.
        before, after: metrics.json of ``evaluate`` for the starting model and the new one.
    """
    split = {name: [c for c in cases if c.split == name] for name in ("train", "validation")}
    dsc = {
        name: {"before": _mean(before, name), "after": _mean(after, name)}
        for name in NAMES.values()
    }
    return {
        "from": {"name": start.name, "version": start.version, "sha256": start.sha256},
        "scans": {name: len(found) for name, found in split.items()},
        "unlabelled": sum(case.unlabelled for case in split["train"]),
        "annotated": {
            NAMES[value]: sum(value in case.annotated for case in split["train"]) for value in NAMES
        },
        "dsc": {name: row for name, row in dsc.items() if row["after"] is not None},
        "mean_dsc": {
            when: _rounded([row[when] for row in dsc.values()]) for when in ("before", "after")
        },
    }


def card_text(model: ModelDescription, start: ModelDescription, story: Mapping[str, Any]) -> str:
    """The card, as Markdown."""
    licence = start.card.get("licence", "not stated")
    scans, training, mean = story["scans"], model.card["training"], story["mean_dsc"]
    lines = [
        f"# {model.name}: fine-tuned from {start.name} {start.version}",
        "",
        f"{training['steps']} steps in {training['minutes']} minutes on {scans['train']} scans "
        f"({story['unlabelled']} of them without labels drawn by people), validated on "
        f"{scans['validation']} scans of other patients. Started from weights with SHA-256 "
        f"{start.sha256[:12]}; crop, islands, windows, tumour threshold and decoding are theirs.",
        "",
        "DSC in per cent on the validation scans, against what people drew:",
        "",
        "| class | training scans that annotate it | before | after |",
        "|---|---|---|---|",
    ]
    for name, count in story["annotated"].items():
        row = story["dsc"].get(name, {"before": None, "after": None})
        cells = " | ".join(_percent(row[when]) for when in ("before", "after"))
        lines.append(f"| {name} | {count} | {cells} |")
    lines += [
        f"| **mean** | | {_percent(mean['before'])} | {_percent(mean['after'])} |",
        "",
        "A dash: nobody drew the class on a validation scan, or it is in none of them; whether it "
        "is as good as before is not known. Organs that nobody drew were taught by the starting "
        "model's own labels where these are anatomically plausible, tumours never.",
        "",
        f"**Licence.** The terms of the starting weights stay: {licence} "
        "Those of the scans trained on come on top.",
        "",
        "Not a medical device.",
    ]
    return "\n".join(lines) + "\n"


def _mean(metrics: Metrics, name: str) -> float | None:
    return _rounded([row.get(name) for row in metrics["dsc"].values()])


def _rounded(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"
