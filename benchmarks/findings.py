"""What statistics and doubts cost: seconds of a phantom of 512 x 512 x 300 voxels.

    python -m benchmarks.findings [--shape 300 512 512] [--runs 5]

Medians of wall clock and of processor time; on an idle machine (DESIGN.md: 0.5 s and 0.2 s).
"""

from __future__ import annotations

import argparse
import statistics as of_runs
import time
from collections.abc import Callable

from benchmarks.environment import describe, line
from inference.findings.doubts import doubts
from inference.findings.extents import extents
from inference.findings.hounsfield import hounsfield_by_label
from inference.findings.statistics import statistics
from inference.labels import BACKGROUND
from phantom import make_phantom

GALLBLADDER = 9
FIELD_MM = (450.0, 410.0, 410.0)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.findings")
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar="N")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    z, y, x = options.shape
    dz, dy, dx = (mm / n for mm, n in zip(FIELD_MM, options.shape, strict=True))
    phantom = make_phantom((z, y, x), (dz, dy, dx), seed=1)
    labels, image, grid = phantom.labels_ZYX, phantom.image_ZYX, phantom.grid
    # An organ that the coarse look does not meet is looked for in all voxels.
    without_one = labels.copy()
    without_one[labels == GALLBLADDER] = BACKGROUND
    steps: dict[str, Callable[[], object]] = {
        "statistics": lambda: statistics(labels, image, grid),
        "of which runs, pieces, places": lambda: extents(labels),
        "of which HU": lambda: hounsfield_by_label(labels, image),
        "doubts": lambda: doubts(labels, image, grid),
        "doubts without a gallbladder": lambda: doubts(without_one, image, grid),
    }
    print(f"{line(describe())}; {x} x {y} x {z} voxels, {(labels > 0).mean():.1%} labelled\n")
    print("| step | wall, s | processor, s |\n|---|---|---|")
    for name, step in steps.items():
        wall, processor = zip(*(_timed(step) for _ in range(options.runs)), strict=True)
        print(f"| {name} | {of_runs.median(wall):.3f} | {of_runs.median(processor):.3f} |")


def _timed(step: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main()
