"""The results as the organisers' CSV, as the paper's Table 6, and as pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from benchmarks.flare_harness.case import Result

# FLARE 2023 ranks what lies below these alike.
TOLERATED_S, TOLERATED_MB = 15.0, 4096.0
# The header of the organisers' *_Efficiency.csv.
OFFICIAL_COLUMNS = (
    "Name", "Time", "GPU_Mem", "AUC_GPU_Time", "CPU_Utilization", "AUC_CPU_Time", "RAM",
    "AUC_RAM_Time",
)  # fmt: skip
_FIGURES = (
    "seconds", "gpu_max_mb", "gpu_official_mb_s", "cpu_max_percent", "cpu_official_percent_s",
    "ram_max_mb", "ram_official_mb_s",
)  # fmt: skip


def write_official_csv(path: Path, results: Sequence[Result]) -> None:
    """One row per case; the GPU's columns stay empty without one. MB, seconds, per cent."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(OFFICIAL_COLUMNS)
        for result in results:
            figures = result.figures()
            writer.writerow(
                [f"{result.name}.nii.gz", *(_number(figures[key], 2, "") for key in _FIGURES)]
            )


def markdown(results: Sequence[Result]) -> str:
    """The paper's Table 6, with the true area, the container's RAM and processor time beside."""
    lines = [
        "| Case ID | Image Size | Running Time (s) | Max GPU (MB) | Total GPU (MB*s, sum x 0.1) "
        "| GPU area (MB*s, trapezoid) | Container RAM (MB) | Container CPU (s) | State |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for result in results:
        figures = result.figures()
        cells = [
            result.name,
            "(" + ", ".join(str(n) for n in result.scan["size"]) + ")",
            _number(figures["seconds"], 2),
            *(
                _number(figures[key], 0)
                for key in ("gpu_max_mb", "gpu_official_mb_s", "gpu_area_mb_s")
            ),
            _number(figures["container_ram_max_mb"], 0),
            _number(figures["container_cpu_s"], 1),
            "; ".join([result.state, *result.problems]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_remarks(results)]) + "\n"


def _remarks(results: Sequence[Result]) -> list[str]:
    done = [r for r in results if r.state == "done"]
    quick = sum(r.outcome.seconds <= TOLERATED_S for r in done)
    lines = [
        f"{len(done)} of {len(results)} cases done; {quick} of them within the challenge's "
        f"tolerance of {TOLERATED_S:.0f} s."
    ]
    if any(r.gpu_mb for r in results):
        small = sum(r.gpu_mb is not None and r.gpu_mb.peak <= TOLERATED_MB for r in done)
        lines.append(f"{small} of them within {TOLERATED_MB:.0f} MB of device memory.")
    else:
        lines.append("No GPU was watched: its columns are empty.")
    return lines


def draw_curves(path: Path, result: Result) -> None:
    """Memory over time as a picture: the device's where there is one, else the container's RAM."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if result.gpu_mb:
        axes.plot(result.gpu_mb.seconds, result.gpu_mb.values, label="GPU memory (total - free)")
    if result.container:
        seconds = [t for t, _ in result.container]
        axes.plot(seconds, [u.ram_mb for _, u in result.container], label="container RAM")
    axes.axvline(result.outcome.seconds, color="0.6", linewidth=0.8)
    axes.set(xlabel="Time (s)", ylabel="MB", title=f"{result.name}: {result.state}", ylim=(0, None))
    if axes.lines[:-1]:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=100)


def _number(value: float | None, decimals: int, missing: str = "-") -> str:
    return missing if value is None else f"{value:.{decimals}f}"
