"""``python -m training fingerprint``: spacing and foreground intensity of a training set.

Paper section 2.1. The 0.5 and 99.5 percentile of foreground voxels become the clip limits of
``model.json``, and the mean and standard deviation of the clipped voxels its normalisation.
Percentiles come from a histogram of 1 HU wide bins, so that no voxel is kept and the memory does
not grow with the data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.cli.argument_types import count
from inference.errors import AbdoboxError
from inference.model.description import Intensity
from inference.scan.atomic import write_atomically
from inference.scan.volume import read_labels, read_volume
from inference.types import Shape, Triple
from training.data.case import DatasetError
from training.data.folders import make_folder
from training.data.hounsfield import scale_problem
from training.data.table import read_cases

LOWEST_HU = -1024
HIGHEST_HU = 4095
CLIP_PERCENTILES = (0.5, 99.5)
# Percentiles of the spacing over the cases that are written down.
SPACING_PERCENTILES = (0, 10, 50, 90, 100)

Histogram = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CaseFingerprint:
    """What one scan adds.

    Attributes:
        spacing: (z, y, x) of the canonical array in mm.
        shape: (z, y, x) of it.
        histogram: number of foreground voxels (any label but 0) per HU, from LOWEST_HU on.
    """

    name: str
    spacing: Triple
    shape: Shape
    histogram: Histogram


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m training fingerprint``. Returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        rows = read_cases(arguments.data, ("name", "split", "image", "label"))
        make_folder(arguments.out.parent)
        files = [
            (row["name"], Path(row["image"]), Path(row["label"]))
            for row in rows
            if row["split"] == "train"
            and not any(fnmatch(row["name"], pattern) for pattern in arguments.exclude)
        ]
        fingerprints = fingerprint_all(files, arguments.workers)
        if not fingerprints:
            raise DatasetError(arguments.data, "no case has foreground", "check --exclude")
        plan = summarise(fingerprints) | {"excluded": arguments.exclude}
        write_atomically(arguments.out, (json.dumps(plan, indent=1) + "\n").encode())
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def fingerprint_all(files: Iterable[tuple[str, Path, Path]], workers: int) -> list[CaseFingerprint]:
    """Of the cases (name, image, label) that can be read and have foreground."""
    fingerprints: list[CaseFingerprint] = []
    with ProcessPoolExecutor(workers) as pool:
        for result in pool.map(_fingerprint_or_reason, files):
            if isinstance(result, str):
                print(f"left out {result}", file=sys.stderr)
            elif result.histogram.any():
                fingerprints.append(result)
    return fingerprints


def fingerprint_case(name: str, image: Path, label: Path) -> CaseFingerprint:
    """Read one scan and its labels.

    Raises:
        ScanError: one of them cannot be read.
        DatasetError: they differ in shape, or the scan is not in HU.
    """
    volume = read_volume(image)
    labels_ZYX, _ = read_labels(label)
    if labels_ZYX.shape != volume.voxels_ZYX.shape:
        raise DatasetError(label, "has another shape than its scan", "run training fuse again")
    if problem := scale_problem(volume.voxels_ZYX, labels_ZYX):
        raise DatasetError(image, problem, "store it as HU")
    _, grid = volume.canonical()
    foreground = volume.voxels_ZYX[labels_ZYX > 0]
    return CaseFingerprint(name, grid.spacing, grid.shape, hounsfield_histogram(foreground))


def hounsfield_histogram(values: npt.NDArray[Any]) -> Histogram:
    """Voxels per whole HU from LOWEST_HU to HIGHEST_HU; values beyond count at the ends."""
    bins = np.clip(np.rint(values), LOWEST_HU, HIGHEST_HU).astype(np.int64) - LOWEST_HU
    return np.bincount(bins, minlength=HIGHEST_HU - LOWEST_HU + 1).astype(np.float64)


def intensity_of(histogram: Histogram) -> Intensity:
    """Clip limits, mean and SD from a (weighted) histogram.

    A percentile is the lowest HU at or below which that share of the voxels lies.
    """
    hounsfield = np.arange(LOWEST_HU, HIGHEST_HU + 1, dtype=np.float64)
    cumulative = np.cumsum(histogram) / histogram.sum()
    lower, upper = (
        float(hounsfield[np.searchsorted(cumulative, p / 100)]) for p in CLIP_PERCENTILES
    )
    clipped = np.clip(hounsfield, lower, upper)
    mean = float(np.average(clipped, weights=histogram))
    variance = float(np.average((clipped - mean) ** 2, weights=histogram))
    return Intensity(lower, upper, mean, variance**0.5)


def summarise(fingerprints: Iterable[CaseFingerprint]) -> dict[str, Any]:
    """The JSON plan: spacing, shape, ``intensity_hu`` and the cases that it rests on.

    Every case weighs the same, as in nnU-Net, which draws equally many voxels from each: a fine
    grid or a large liver must not decide.
    """
    cases = list(fingerprints)
    pooled = sum((case.histogram / case.histogram.sum() for case in cases), np.zeros(1))
    spacing = np.percentile([case.spacing for case in cases], SPACING_PERCENTILES, axis=0)
    shapes = np.median([case.shape for case in cases], axis=0)
    return {
        "intensity_hu": {k: round(v, 3) for k, v in asdict(intensity_of(pooled)).items()},
        "spacing_mm_ZYX": {
            str(p): [round(float(s), 4) for s in row]
            for p, row in zip(SPACING_PERCENTILES, spacing, strict=True)
        },
        "median_shape_ZYX": [int(n) for n in shapes],
        "cases": [case.name for case in cases],
    }


def _fingerprint_or_reason(files: tuple[str, Path, Path]) -> CaseFingerprint | str:
    try:
        return fingerprint_case(*files)
    except AbdoboxError as error:
        return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training fingerprint", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder written by fuse")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    parser.add_argument(
        "--exclude",
        nargs="*",
        default=[],
        metavar="PATTERN",
        help="names to leave out, such as scans whose HU are clipped: 'msd_*'",
    )
    parser.add_argument("--workers", type=count, default=2)
    return parser
