"""How time and memory grow with the scan: phantoms of the paper's Table 6 sizes, and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.flare_harness.simulate import write_scan
from benchmarks.versus.table import rows


def phantom_scan(folder: Path, slices: int) -> Path:
    """A phantom CT of 512 x 512 x ``slices`` voxels, written once and kept."""
    path = folder / f"phantom_{slices:03d}_0000.nii.gz"
    return path if path.exists() else write_scan(folder, slices)


def series(document: dict[str, Any]) -> dict[str, list[tuple[float, float, float]]]:
    """Tool to (million voxels, median wall seconds, median tree GiB), by size; finished runs."""
    runs = document["runs"]
    voxels = {run["case"]: run["voxels"] / 1e6 for run in runs}
    found: dict[str, list[tuple[float, float, float]]] = {}
    for case in sorted(voxels, key=lambda case: voxels[case]):
        for tool, row in rows(runs, case).items():
            wall, memory = row["wall s"], row["tree PSS GiB"]
            if wall is not None and memory is not None:
                found.setdefault(tool, []).append((voxels[case], wall, memory))
    return found


def line_fit(points: list[tuple[float, float, float]]) -> tuple[float, float]:
    """(fixed seconds, seconds per million voxels) by least squares; NaN slope for one size."""
    sizes = [size for size, _, _ in points]
    if len(set(sizes)) < 2:
        return float("nan"), float("nan")
    slope, fixed = np.polyfit(sizes, [wall for _, wall, _ in points], 1)
    return float(fixed), float(slope)


def markdown(document: dict[str, Any]) -> str:
    """Per tool: each size, then the fixed cost and the cost of a million voxels."""
    lines = ["| tool | Mvoxels: wall s, GiB | fixed s | s per Mvoxel |", "|---|---|---|---|"]
    for tool, points in series(document).items():
        each = "; ".join(f"{size:.1f}: {wall:.1f}, {gib:.2f}" for size, wall, gib in points)
        fixed, slope = line_fit(points)
        lines.append(f"| {tool} | {each} | {fixed:.2f} | {slope:.3f} |")
    return "\n".join(lines) + "\n"


def plot(document: dict[str, Any], path: Path) -> None:
    """Wall time and memory against million voxels, one line per tool."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for tool, points in series(document).items():
        sizes = [size for size, _, _ in points]
        left.plot(sizes, [wall for _, wall, _ in points], "o-", label=tool)
        right.plot(sizes, [gib for _, _, gib in points], "o-", label=tool)
    left.set(xlabel="million voxels", ylabel="wall time, s", yscale="log")
    right.set(xlabel="million voxels", ylabel="memory of the process tree (PSS), GiB")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
