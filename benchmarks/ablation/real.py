"""The paper's Table 7 in small, on real scans: networks of Tiny's size, equal time for each.

The rows differ as the paper's do: no scans that are labelled by machines alone; labels brought back
to the scan's grid by nearest neighbour or as logits; classes that a scan does not annotate counted
as background (normal loss) or left out (selected partial loss); a second network that sees the
first one's labels, with either loss.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import describe, line
from inference.errors import AbdoboxError
from training.learn.train import sitting

# A recipe's text for each training; what a row evaluates is in ROWS.
_BASE = 'base = "tiny_cpu"\ntitle = "{title}"\ndecode = "nearest"\nseed = {seed}\n'
_NORMAL, _SECOND = "[loss]\nselected = []\n", "[network]\nprevious = true\n"
RECIPES = {
    "small_set": "unlabelled = false\n",
    "partial": "",
    "normal": _NORMAL,
    "n_cascade": _SECOND + _NORMAL,
    "p_cascade": _SECOND,
}
FIRST_STAGE = "partial"


@dataclass(frozen=True)
class Row:
    """A row of the table: which training it evaluates, and how its labels are decoded."""

    title: str
    training: str
    decode: str = "nearest"


ROWS = (
    Row("without unlabelled scans", "small_set"),
    Row("selected partial loss", "partial"),
    Row("the same, normal inference", "partial", "linear"),
    Row("normal loss", "normal"),
    Row("N-Cascade", "n_cascade"),
    Row("P-Cascade", "p_cascade"),
)
Verb = Callable[..., None]


def real(
    folder: Path,
    store: Path,
    device: str,
    minutes: float,
    seeds: Sequence[int],
    training: Verb,
    second: Verb,
) -> str:
    """Train and evaluate every row with every seed; what is finished is kept.

    Seeds may be trained side by side, each by a call of its own, and brought together by another.

    Args:
        folder: for the runs, and for real.json with every figure.
        store: made by ``python -m training preprocess`` with ``sampling.native``.
        minutes: of each training.
        seeds: one network of each row for each.
        training, second: run ``python -m training`` and its ``cascade``, given their words.

    Returns:
        Markdown.

    Raises:
        AbdoboxError: a training was stopped, or something cannot be read.
    """
    scores: dict[str, list[dict[str, Any]]] = {row.title: [] for row in ROWS}
    for seed in seeds:
        place = folder / f"seed_{seed}"
        data = _linked(store, place / "store")
        for name in RECIPES:
            options = ("--data", data, "--device", device)
            run, steps = _trained(place, name, seed, minutes, options)
            if name == FIRST_STAGE and not any(data.glob("*.previous.npy")):
                training("export", "--run", run, "--data", data, "--out", place / "models",
                         "--name", "first", "--replace")  # fmt: skip
                second("--model", place / "models" / "first", *options)
            for row in ROWS:
                if row.training == name:
                    training("evaluate", "--run", run, "--decode", row.decode, *options)
                    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
                    scores[row.title].append({**metrics["mean"], "steps": steps})
    result = {"machine": describe(), "minutes": minutes, "seeds": len(seeds), "rows": scores}
    (folder / "real.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return real_table(result)


def real_table(result: dict[str, Any]) -> str:
    """Markdown: mean over the seeds, and from where to where they reach, in per cent."""
    lines = [
        f"{line(result['machine'])}; {result['minutes']:g} minutes each, {result['seeds']} seeds:",
        "",
        "| | organs DSC | organs NSD | tumor DSC | tumor NSD | steps |",
        "|---|---|---|---|---|---|",
    ]
    for title, means in result["rows"].items():
        cells = [
            _reach([mean[target][metric] for mean in means])
            for target in ("Organs", "Tumor")
            for metric in ("dsc", "nsd")
        ]
        steps = " and ".join(str(mean["steps"]) for mean in means)
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {steps} |")
    return "\n".join(lines) + "\n"


def _reach(values: list[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.mean(known):.1f} ({min(known):.1f} to {max(known):.1f})"


def _trained(
    place: Path, name: str, seed: int, minutes: float, options: tuple[object, ...]
) -> tuple[Path, int]:
    """The run's folder, and how many steps the time was enough for."""
    recipe, run = place / f"{name}.toml", place / name
    text = _BASE.format(title=name, seed=seed) + RECIPES[name]
    recipe.write_text(text, encoding="utf-8")
    more = ("--resume",) if (run / "last.pt").exists() else ()
    words = ("--recipe", recipe, "--out", run, "--schedule-minutes", minutes, *options, *more)
    complete, step = sitting([str(word) for word in words])
    if not complete:
        raise AbdoboxError(run, f"was stopped at step {step}", "the same command goes on with it")
    return run, step


def _linked(store: Path, place: Path) -> Path:
    """The store's files once more, for a first network's labels to lie beside them."""
    place.mkdir(parents=True, exist_ok=True)
    for file in store.iterdir():
        if not (place / file.name).exists():
            os.link(file, place / file.name)
    return place
