"""The comparison as Markdown: medians over runs, and ratios to the first tool."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.environment import line
from benchmarks.versus.notes import NOTES

Run = dict[str, Any]
GIB = 2**30

COLUMNS: tuple[tuple[str, Callable[[Run], float | None]], ...] = (
    ("wall s", lambda run: run["seconds"]),
    ("CPU s", lambda run: run["cpu_s"]),
    ("tree PSS GiB", lambda run: run["peak_tree_bytes"] / GIB),
    ("largest process GiB", lambda run: run["peak_process_bytes"] / GIB),
    ("GPU GiB", lambda run: _gib(run["peak_device_bytes"])),
    ("wall s per Mvoxel", lambda run: run["seconds"] / run["voxels"] * 1e6),
)


def rows(runs: list[Run], case: str) -> dict[str, dict[str, float | None]]:
    """Medians of the finished runs of one case: tool to column to value, plus ``runs``.

    Tools keep the order in which they first ran; one whose every run was stopped has no medians.
    """
    tools = dict.fromkeys(run["tool"] for run in runs if run["case"] == case)
    table: dict[str, dict[str, float | None]] = {}
    for tool in tools:
        done = [
            run for run in runs
            if (run["case"], run["tool"], run["ended"]) == (case, tool, "done")
        ]  # fmt: skip
        table[tool] = {"runs": float(len(done))}
        for name, value in COLUMNS:
            values = [v for run in done if (v := value(run)) is not None]
            table[tool][name] = median(values) if values else None
    return table


def ratio(value: float | None, reference: float | None) -> float | None:
    """``value`` as a multiple of ``reference``; None where either is missing or zero."""
    return value / reference if value and reference else None


def markdown(document: dict[str, Any]) -> str:
    """Caption, one table per case, agreement, what did not finish, and notes on the tools."""
    runs = document["runs"]
    parts = [line(document["machine"]), ""]
    commits = sorted({run["commit"] for run in runs})
    if len(commits) > 1:
        parts += [f"Runs of different commits: {', '.join(commits)}.", ""]
    for case in dict.fromkeys(run["case"] for run in runs):
        parts += [f"**{case}** ({_size(runs, case)})", "", *_table(rows(runs, case)), ""]
        for pair, agreement in document["agreement"].get(case, {}).items():
            parts += [_agreement(pair, agreement)]
        parts += [""]
    stopped = [run for run in runs if run["ended"] != "done"]
    parts += [
        f"- {run['case']}, {run['tool']}: {_REASONS[run['ended']]} after {run['seconds']:.0f} s at "
        f"{run['peak_tree_bytes'] / GIB:.1f} GiB"
        for run in stopped
    ]
    tools = dict.fromkeys(run["tool"] for run in runs)
    parts += [""] if stopped else []
    parts += [f"- {tool}: {NOTES[tool]}" for tool in tools if tool in NOTES]
    return "\n".join(parts).strip() + "\n"


_REASONS = {
    "failed": "failed",
    "nothing": "ended without labels",
    "memory": "stopped for lack of memory",
    "time": "stopped for lack of time",
}


def _table(table: dict[str, dict[str, float | None]]) -> list[str]:
    used = [
        name for name, _ in COLUMNS if any(row[name] is not None for row in table.values())
    ]  # fmt: skip
    first = next(iter(table))
    lines = [
        "| tool | runs | " + " | ".join(used) + " | wall ratio | memory ratio |",
        "|---|---|" + "---|" * (len(used) + 2),
    ]
    for tool, row in table.items():
        cells = [tool, f"{row['runs']:.0f}", *(_cell(row[name]) for name in used)]
        for name in ("wall s", "tree PSS GiB"):
            value = ratio(row[name], table[first][name])
            cells.append(f"{value:.1f}x" if value else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _agreement(pair: str, agreement: dict[str, Any]) -> str:
    dsc = {label: value for label, value in agreement["dsc"].items() if value is not None}
    each = ", ".join(f"{label}: {value:.3f}" for label, value in dsc.items())
    mean = "no labels" if agreement["mean_dsc"] is None else f"mean DSC {agreement['mean_dsc']:.4f}"
    return f"- {pair}: {mean}, {agreement['equal_voxels']:.3%} of voxels equal ({each})"


def _size(runs: list[Run], case: str) -> str:
    run = next(run for run in runs if run["case"] == case)
    return f"{run['voxels'] / 1e6:.1f} million voxels, model {run['model']}, {run['device']}"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _gib(size: float | None) -> float | None:
    return None if size is None else size / GIB
