"""Trunk wall, lungs, heart, the muscles along the spine, the couch. See reference.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.reference import Jitter, spine_y
from phantom.shapes import Column, Ellipsoid, Tube
from phantom.solids import Grown, Intersection, Points, Solid, Union

# Inside of the trunk wall: z, half width, half depth, y of the centre.
CAVITY = np.array(
    [
        (-320, 118, 82, -48),
        (-220, 126, 86, -50),
        (-140, 126, 88, -55),
        (-70, 132, 92, -60),
        (0, 141, 101, -61),
        (60, 143, 105, -60),
        (120, 136, 104, -57),
        (200, 116, 92, -50),
        (320, 80, 62, -38),
    ],
    float,
)
# Muscle and ribs around it: thickness in mm by z.
WALL_MM = np.array([30, 24, 12, 10, 11, 13, 16, 26, 40.0])
# From the wall back to the lumbar and thoracic fascia, over the muscles along the spine.
BACK_MM = np.array([40, 38, 36, 34, 30, 26, 22, 16, 10.0])
# Lowest reach of the pleural recesses.
LUNG_BASE = Ellipsoid((0, -30, 170), (170, 170, 176))


@dataclass(frozen=True)
class Trunk:
    """The nested walls of the trunk."""

    skin: Solid
    fat: Solid
    muscle: Solid
    cavity: Solid
    under_diaphragm: Solid
    lungs: Solid


def build_trunk(jitter: Jitter, fatness: float) -> Trunk:
    """Walls, domes and lungs; ``fatness`` 0..1 sets the subcutaneous fat (5 to 30 mm)."""
    cavity = Column(CAVITY, 2.5)
    muscle = Column(CAVITY + np.column_stack([0 * WALL_MM, WALL_MM, WALL_MM, 0 * WALL_MM]), 2.5)
    layer = 5 + 25 * fatness  # at the flanks
    front, back = 0.9 * layer, 0.5 * layer + BACK_MM
    skin_profile = CAVITY + np.column_stack(
        [
            0 * WALL_MM,
            WALL_MM + layer + 2,
            WALL_MM + 0.5 * (front + back) + 2,
            0.5 * (back - front),
        ]
    )
    skin = Column(skin_profile, 2.3)
    height = jitter.factor(0.06)
    domes = Union(
        [
            Ellipsoid((-71, -58, -12), (85, 100, 108 * height)),
            Ellipsoid((71, -56, -14), (84, 100, 100 * height)),
            Ellipsoid((0, -78, -14), (92, 94, 92 * height)),
        ],
        24.0,
    )
    mediastinum = Tube([(0, 6, -40), (2, -40, 110), (0, -38, 320)], [44, 34, 30], (0.9, 1.6, 1))
    return Trunk(
        skin=skin,
        fat=Grown(skin, -2.0),
        muscle=muscle,
        cavity=cavity,
        under_diaphragm=domes,
        lungs=Intersection(Grown(cavity, -1.5) - Grown(domes, 2.5), LUNG_BASE, 6.0) - mediastinum,
    )


def heart() -> Solid:
    """The heart on the left half of the diaphragm, its apex forwards and to the left."""
    return Union(
        [
            Ellipsoid((20, -88, 110), (74, 52, 50), (0, 16, -34)),
            Ellipsoid((-20, -70, 126), (36, 40, 50)),
        ],
        20,
    )


def muscles() -> Solid:
    """Erector spinae, psoas and the diaphragm's crura."""
    parts: list[Solid] = []
    z = np.array([-200, -143, -73, 0, 64, 146, 240.0])
    for side in (-1, 1):
        y = spine_y(z) + np.array([48, 46, 42, 38, 36, 34, 34])
        x = side * np.array([28, 34, 38, 36, 32, 27, 24.0])
        parts.append(
            Tube(np.column_stack([x, y, z]), [18, 23, 24, 22, 19, 16, 14], (1.3, 0.85, 1), 20)
        )
        quadratus = [(side * 52, 18, 10), (side * 64, 14, -50), (side * 78, 8, -120)]
        parts.append(Tube(quadratus, [6, 11, 11], (1.2, 0.8, 1), 15))
        z_psoas = np.array([10, -35, -80, -140, -200, -270.0])
        x_psoas = side * np.array([26, 33, 42, 52, 60, 80.0])
        y_psoas = np.array([4, 2, -6, -18, -40, -75.0])
        parts.append(
            Tube(
                np.column_stack([x_psoas, y_psoas, z_psoas]),
                [5, 12, 17, 20, 19, 15],
                (1, 1.15, 1),
                15,
            )
        )
        crus = [
            (side * 10, -24, -60),
            (side * 17, -20, -10),
            (side * 20, -18, 30),
            (side * 16 + 3, -30, 60),
            (side * 12 + 6, -44, 72),
        ]
        parts.append(Tube(crus, 4.5, (0.8, 1.7, 1), 12))
    return Union(parts)


class Table(Solid):
    """The couch top: a shallow trough of ``thickness_mm`` under the back, fixed to the scanner.

    Args:
        back_y: y of the patient's lowest point, scanner mm.
    """

    def __init__(self, back_y: float, thickness_mm: float) -> None:
        self.back_y, self.thickness_mm = back_y, np.float32(thickness_mm)

    def evaluate(self, points: Points) -> np.ndarray:
        x, y, _ = points.room
        radius = np.float32(420)
        from_axis = np.sqrt(x * x + np.square(y - np.float32(self.back_y) + radius))
        shell = np.abs(from_axis - radius - 12) - self.thickness_mm / 2
        return np.maximum(shell, np.abs(x) - np.float32(205))
