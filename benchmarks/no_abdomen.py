"""What the box draws where there is no abdomen: millilitres of organs in a head, in legs, in air.

    python -m benchmarks.no_abdomen [--model NAME] [--case SCAN --above MM]

Head and legs are made of ellipsoids and cylinders with the HU of bone, brain, muscle and fat, and
noise. Training draws simple heads and limbs of its own (:mod:`training.synthesis.elsewhere`), so
for a model that saw those, the real chests tell more. ``--case`` takes a real scan and keeps what
lies more than MM above its lowest slice: the chest of a scan that reaches so far; aorta and
esophagus are rightly there.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.environment import describe, line
from benchmarks.models import HELP, chosen
from inference.grid import Grid
from inference.labels import NAMES
from inference.scan.volume import Volume, read_volume
from inference.segmenter import Segmenter

MM = 2.0
NOISE_HU = 12.0
AIR, FAT, BRAIN, MUSCLE, BONE = -1000.0, -100.0, 35.0, 55.0, 900.0


def head() -> Volume:
    """A head of 220 x 190 x 150 mm: scalp, skull, brain."""
    z, y, x = _coordinates((130, 120, 100))
    radius = np.sqrt((z / 110) ** 2 + (y / 95) ** 2 + (x / 75) ** 2)
    return _scan(np.select([radius < 0.86, radius < 0.93, radius < 1], [BRAIN, BONE, MUSCLE], AIR))


def legs() -> Volume:
    """Two thighs of 160 mm across and 400 mm along: skin fat, muscle, femur."""
    _, y, x = _coordinates((200, 110, 190))
    radius = np.minimum(np.hypot(y, x - 90), np.hypot(y, x + 90))
    return _scan(np.select([radius < 14, radius < 65, radius < 80], [BONE, MUSCLE, FAT], AIR))


def air() -> Volume:
    """A scan of nobody."""
    return _scan(np.full((80, 128, 128), AIR))


def _coordinates(shape_ZYX: tuple[int, int, int]) -> list[npt.NDArray[np.float64]]:
    """Millimetres from the centre, along z, y and x."""
    axes = [MM * (np.arange(n) - (n - 1) / 2) for n in shape_ZYX]
    return list(np.meshgrid(*axes, indexing="ij"))


def _scan(hu_ZYX: npt.NDArray[np.float64]) -> Volume:
    noise = np.random.default_rng(0).normal(0, NOISE_HU, hu_ZYX.shape)
    voxels = np.clip(hu_ZYX + noise, -1024, 3071).astype(np.int16)
    z, y, x = voxels.shape
    return Volume.of_array(voxels, Grid((z, y, x), (MM, MM, MM)))


def above(scan: Path, mm: float) -> Volume:
    """The part of a scan that lies more than ``mm`` above its lowest slice."""
    voxels_ZYX, grid = read_volume(scan).canonical()
    first = round(mm / grid.spacing[0])
    kept = np.ascontiguousarray(voxels_ZYX[first:])
    z, y, x = kept.shape
    return Volume.of_array(kept, replace(grid, shape=(z, y, x)))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.no_abdomen")
    parser.add_argument("--model", help=HELP)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--above", type=float, default=0.0, metavar="MM")
    options = parser.parse_args()
    volumes = {"head": head(), "legs": legs(), "air": air()}
    if options.case:
        name = options.case.name.removesuffix(".nii.gz").removesuffix("_0000")
        volumes[f"{name} above {options.above:g} mm"] = above(options.case, options.above)
    segmenter = Segmenter.load(chosen(options.model), "cpu")
    print(f"{line(describe())}, model {segmenter.description.name}\n")
    print("| scan | in all | of which |\n|---|---|---|")
    for name, volume in volumes.items():
        labels = segmenter.segment(volume).labels
        ml = {
            organ: (labels == value).sum() * volume.grid.voxel_ml for value, organ in NAMES.items()
        }
        found = ", ".join(f"{organ} {v:.1f}" for organ, v in ml.items() if v >= 0.05)
        print(f"| {name} | {sum(ml.values()):.1f} ml | {found or 'nothing'} |")


if __name__ == "__main__":
    main()
