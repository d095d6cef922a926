"""Small bowel and colon with folds, content and gas. Reference coordinates, see reference.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.reference import Jitter
from phantom.shapes import Tube, catmull_rom
from phantom.solids import Grown, Solid, Union

# First loops, left below the stomach.
JEJUNUM = [
    (30, -76, -44),
    (52, -66, -34),
    (78, -62, -20),
    (84, -88, -26),
    (58, -98, -34),
    (40, -90, -52),
]


@dataclass(frozen=True)
class Bowel:
    """Small or large bowel: outer surface, lumen, and the gas in it."""

    wall: Solid
    lumen: Solid
    gas: Solid


def small_bowel(jitter: Jitter) -> Bowel:
    """One long tube folded to and fro below the mesocolon, from the duodenojejunal flexure."""
    knots = [np.array(k, float) for k in JEJUNUM]
    direction = 1
    for row, z in enumerate(np.arange(-58, -215, -25.0)):
        for y in (-122, -92) if row % 2 == 0 else (-92, -124):
            reach = 74 - 0.12 * abs(z + 110)
            for x in direction * np.linspace(reach, -reach, 6):
                knots.append(np.array([x, y, z]) + jitter.shift(6))
            direction = -direction
    radii = 11 + 2 * np.sin(np.arange(len(knots)) * 1.9)
    return _bowel(
        jitter, np.array(knots), radii, fold_mm=60, fold_depth_mm=0.8, wall_mm=2.5, gas_share=0.16
    )


def colon(jitter: Jitter) -> Bowel:
    """Ascending, transverse (sagging), descending and sigmoid colon with haustra."""
    sag = 20 * jitter.factor(0.3)
    knots = np.array(
        [
            (-92, -60, -158),
            (-102, -42, -120),
            (-104, -34, -80),
            (-92, -70, -62),
            (-62, -128, -66 - sag / 2),
            (0, -142, -66 - sag),
            (52, -140, -44 - sag / 2),
            (92, -106, -8),
            (112, -62, 6),
            (114, -30, -32),
            (112, -18, -80),
            (104, -30, -130),
            (82, -52, -172),
            (40, -70, -196),
            (8, -40, -214),
            (0, -14, -236),
        ]
    )
    radii = np.array([26, 25, 24, 21, 20, 19, 18, 18, 17, 15, 14, 14, 13, 13, 14, 15.0])
    return _bowel(
        jitter,
        knots,
        radii * jitter.factor(0.08),
        fold_mm=24,
        fold_depth_mm=3.2,
        wall_mm=2,
        gas_share=0.5,
    )


def _bowel(
    jitter: Jitter,
    knots: np.ndarray,
    radii: np.ndarray,
    *,
    fold_mm: float,
    fold_depth_mm: float,
    wall_mm: float,
    gas_share: float,
) -> Bowel:
    """A bowel along ``knots`` with folds; runs of it hold gas, which floats to the front."""
    curve = catmull_rom(np.column_stack([knots, radii]), 8.0)
    way = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve[:, :3], axis=0), axis=1))])
    curve[:, 3] += fold_depth_mm * np.cos(2 * np.pi * way / fold_mm) - 0.5 * fold_depth_mm
    outer = Tube(curve[:, :3], curve[:, 3], step_mm=12)
    lumen = Grown(outer, -wall_mm)
    runs: list[Solid] = []
    start = 2
    while start < len(curve) - 4:
        length = int(jitter.rng.integers(3, 9))
        run = curve[start : start + length]
        if not runs or jitter.rng.random() < gas_share:
            floated = run[:, :3] - np.array([0, 0.35, 0]) * run[:, 3:]
            runs.append(Tube(floated, 0.75 * run[:, 3], step_mm=12))
        start += length
    return Bowel(wall=outer, lumen=lumen, gas=Union(runs) & lumen)
