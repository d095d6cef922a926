"""What surrounds the organs: trunk wall, skeleton, lungs and heart, muscles, bowel, table.

Reference coordinates as in :mod:`examples.phantom.organs`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from examples.phantom.organs import Jitter, spine_y
from examples.phantom.solids import (
    Column,
    Ellipsoid,
    Grown,
    Intersection,
    Points,
    Solid,
    Tube,
    Union,
)

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
# Under the subcutaneous fat: the trunk's muscles.
MUSCLE = CAVITY + np.array(
    [
        (0, 46, 44, 10),
        (0, 40, 36, 11),
        (0, 16, 24, 13),
        (0, 13, 22, 12),
        (0, 14, 20, 10),
        (0, 16, 19, 9),
        (0, 20, 18, 9),
        (0, 34, 24, 8),
        (0, 60, 34, 4),
    ],
    float,
)
VERTEBRAE_Z = np.array([-177, -143, -109, -73, -35, 0, 34, 64, 93, 120, 146, 171, 195, 219, 243, 266.0])
TWELFTH_THORACIC = 6  # index of T12 in VERTEBRAE_Z


@dataclass(frozen=True)
class Trunk:
    """The nested walls of the trunk."""

    skin: Solid
    fat: Solid
    muscle: Solid
    cavity: Solid
    under_diaphragm: Solid
    lungs: Solid


@dataclass(frozen=True)
class Bowel:
    """Small or large bowel: outer surface, lumen, and the gas in it."""

    wall: Solid
    lumen: Solid
    gas: Solid


def build_trunk(jitter: Jitter, fatness: float) -> Trunk:
    """Walls, domes and lungs; ``fatness`` 0..1 sets the subcutaneous fat (5 to 30 mm)."""
    cavity, muscle = Column(CAVITY, 2.5), Column(MUSCLE, 2.5)
    layer = 5 + 25 * fatness
    skin_profile = MUSCLE + np.array([0, layer + 2, 0.9 * layer + 2, -0.15 * layer])
    skin = Column(skin_profile, 2.4)
    height = jitter.factor(0.06)
    domes = Union(
        [
            Ellipsoid((-71, -58, -12), (84, 98, 108 * height), (0, 0, 0), 2.2),
            Ellipsoid((71, -56, -14), (83, 98, 100 * height), (0, 0, 0), 2.2),
            Ellipsoid((0, -78, -14), (90, 92, 92 * height), (0, 0, 0), 2.2),
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


# Lowest reach of the pleural recesses.
LUNG_BASE = Ellipsoid((0, -30, 170), (170, 170, 176))


def heart() -> Solid:
    """The heart on the left half of the diaphragm, its apex forwards and to the left."""
    return Union([Ellipsoid((16, -84, 128), (66, 46, 46), (0, 22, -32)), Ellipsoid((-22, -72, 138), (32, 36, 42))], 16)


def vertebrae() -> tuple[Solid, Solid, Solid, Solid]:
    """(bone, marrow of the bodies, discs, spinal canal)."""
    bones: list[Solid] = []
    marrow: list[Solid] = []
    discs: list[Solid] = []
    for z, above in zip(VERTEBRAE_Z, [*VERTEBRAE_Z[1:], 290.0], strict=True):
        y, width = float(spine_y(z)), 23 - 0.026 * max(z + 40, 0)
        tilt = np.degrees(np.arctan(np.diff(spine_y(np.array([z - 15, z + 15])))[0] / 30))
        half = 0.5 * (above - z)
        body = Ellipsoid((0, y, z), (width, 0.74 * width, half - 2.5), (tilt, 0, 0), 4)
        arch = [
            Ellipsoid((0, y + 0.74 * width + 14, z - 2), (17, 14, 9), (tilt, 0, 0), 3),
            Ellipsoid((0, y + 0.74 * width + 34, z - 9), (3.5, 17, 8), (tilt - 20, 0, 0), 3),
            Tube([(-38, y + 28, z + 2), (-18, y + 24, z), (18, y + 24, z), (38, y + 28, z + 2)], 4.5),
        ]
        bones += [body, *arch]
        marrow += [Grown(body, -2.0), *(Grown(part, -2.0) for part in arch)]
        middle = 0.5 * (z + above)
        disc_y = float(spine_y(middle))
        discs.append(Ellipsoid((0, disc_y, middle), (width - 1, 0.74 * width - 1, half - 6), (tilt, 0, 0), 4))
    height = np.arange(-230, 321, 20.0)
    back = spine_y(height) + 0.74 * (23 - 0.026 * np.maximum(height + 40, 0)) + 7.5
    canal = Tube(np.column_stack([0 * height, back, height]), 7.5, stretch=(1.25, 1, 1), step_mm=20)
    return Union(bones), Union(marrow), Union(discs), canal


def ribs() -> tuple[Solid, Solid]:
    """(ribs, costal cartilages) of T12 up to T4, rings that fall forwards along the trunk wall."""
    bone: list[Solid] = []
    cartilage: list[Solid] = []
    for count, z in enumerate(VERTEBRAE_Z[TWELFTH_THORACIC:]):
        end = (100, 140)[count] if count < 2 else 150  # degrees from the back; T12 and T11 float
        drop = 62 + 6 * count if count < 5 else 92
        for side in (-1, 1):
            bone.append(Tube(_rib_path(z, side, 12, end, drop), 4.6, (0.8, 0.8, 1.25), 12))
            if count >= 2:
                tip = _rib_path(z, side, end, 176, drop)
                tip[:, 2] += np.linspace(0, 14, len(tip))
                cartilage.append(Tube(tip, 4.8, (0.8, 0.8, 1.25), 12))
    return Union(bone), Union(cartilage)


def _rib_path(z: float, side: int, start_deg: float, end_deg: float, drop: float) -> np.ndarray:
    """Points between the two angles from the back, 5 mm outside the cavity."""
    angle = np.radians(np.linspace(start_deg, end_deg, 9))
    height = z + 8 - drop * (1 - np.cos(angle)) / 2
    half_width, half_depth, middle = (np.interp(height, CAVITY[:, 0], c) for c in CAVITY[:, 1:].T)
    power = 2 / 2.5
    x = side * (half_width + 6) * np.abs(np.sin(angle)) ** power
    y = middle + (half_depth + 5) * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
    return np.column_stack([x, y, height])


def sternum() -> Solid:
    """Body of the sternum."""
    return Ellipsoid((0, -162, 165), (19, 6, 70), (10, 0, 0), 3)


def pelvis() -> tuple[Solid, Solid]:
    """(bone, marrow) of the sacrum, the iliac wings and the femoral heads."""
    sacrum = Ellipsoid((0, 18, -215), (48, 18, 62), (-22, 0, 0), 2.5)
    parts: list[Solid] = [sacrum]
    for side in (-1, 1):
        outer = Ellipsoid((side * 84, -10, -190), (52, 84, 70), (0, side * 12, side * 28), 2.2)
        inner = Ellipsoid((side * 72, -22, -176), (52, 86, 78), (0, side * 12, side * 28), 2.2)
        parts += [outer - inner, Ellipsoid((side * 96, -18, -275), (25, 25, 25))]
    return Union(parts), Union([Grown(part, -2.5) for part in parts])


def muscles() -> Solid:
    """Erector spinae, psoas and the diaphragm's crura."""
    parts: list[Solid] = []
    z = np.array([-200, -143, -73, 0, 64, 146, 240.0])
    for side in (-1, 1):
        y = spine_y(z) + np.array([48, 46, 42, 38, 36, 34, 34])
        x = side * np.array([28, 34, 38, 36, 32, 27, 24.0])
        parts.append(Tube(np.column_stack([x, y, z]), [16, 21, 22, 20, 17, 13, 12], (1.25, 0.85, 1), 20))
        z_psoas = np.array([10, -35, -80, -140, -200, -270.0])
        x_psoas = side * np.array([26, 33, 42, 52, 60, 80.0])
        y_psoas = np.array([4, 2, -6, -18, -40, -75.0])
        parts.append(Tube(np.column_stack([x_psoas, y_psoas, z_psoas]), [5, 12, 17, 20, 19, 15], (1, 1.15, 1), 15))
        parts.append(
            Tube([(side * 8, -24, -40), (side * 14, -22, 0), (side * 16, -22, 34), (side * 12 + 6, -44, 66)], 4.5, (0.8, 1.3, 1), 12)
        )
    return Union(parts)


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
    return _bowel(jitter, knots, radii * jitter.factor(0.08), 24.0, 3.2, 2.0, 0.5)


def small_bowel(jitter: Jitter) -> Bowel:
    """One long tube folded to and fro below the mesocolon, from the duodenojejunal flexure."""
    knots = [np.array([30.0, -76, -44]), np.array([44.0, -104, -34])]
    direction = 1
    for row, z in enumerate(np.arange(-58, -215, -25.0)):
        for y in ((-122, -92) if row % 2 == 0 else (-92, -124)):
            reach = 74 - 0.12 * abs(z + 110)
            for x in direction * np.linspace(reach, -reach, 6):
                knots.append(np.array([x, y, z]) + jitter.shift(6))
            direction = -direction
    radii = 11 + 2 * np.sin(np.arange(len(knots)) * 1.9)
    return _bowel(jitter, np.array(knots), radii, 60.0, 0.8, 2.5, 0.16)


def _bowel(
    jitter: Jitter,
    knots: np.ndarray,
    radii: np.ndarray,
    fold_mm: float,
    fold_depth_mm: float,
    wall_mm: float,
    gas_share: float,
) -> Bowel:
    """A bowel along ``knots`` with folds; runs of it hold gas, which floats to the front."""
    from examples.phantom.solids import catmull_rom

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
        if len(run) > 1 and jitter.rng.random() < gas_share:
            floated = run[:, :3] - np.array([0, 0.35, 0]) * run[:, 3:]
            runs.append(Tube(floated, 0.75 * run[:, 3], step_mm=12))
        start += length
    gas = Union(runs) & lumen if runs else lumen & Ellipsoid(knots[0], (0.1, 0.1, 0.1))
    return Bowel(wall=outer, lumen=lumen, gas=gas)


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
