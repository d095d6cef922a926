"""The 13 organs, their inner structures and the tumour, in reference coordinates.

Reference coordinates are millimetres in LPS (x to the patient's left, y to the back, z to the head)
with the origin in the centre of the first lumbar vertebral body. Places and sizes follow the CT
label maps of the TotalSegmentator dataset (Wasserthal et al. 2023, doi:10.5281/zenodo.6802613).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from examples.phantom.solids import (
    Bumpy,
    Ellipsoid,
    Grown,
    HalfSpace,
    Intersection,
    Outside,
    Points,
    Solid,
    Tube,
    Union,
)

# Height of the aortic and caval axis: y in front of the lumbar curve, by z.
SPINE_Z = np.array([-300, -190, -143, -109, -73, -35, 0, 34, 64, 93, 120, 146, 171, 210, 320.0])
SPINE_Y = np.array([40, 2, -17, -17, -12, -6, 0, 4, 8, 13, 16, 16, 13, 7, -30.0])


def spine_y(z: float | np.ndarray) -> float | np.ndarray:
    """y of the centre of the vertebral bodies at height z, mm (lumbar lordosis, thoracic kyphosis)."""
    return np.interp(z, SPINE_Z, SPINE_Y)


@dataclass(frozen=True)
class Kidney:
    """One kidney: the labelled parenchyma, its pyramids, and what fills the sinus."""

    parenchyma: Solid
    pyramids: Solid
    sinus: Solid
    pelvis: Solid
    envelope: Solid


@dataclass(frozen=True)
class Organs:
    """Solids of the organs; where two would touch, a thin layer of fat is already cut out."""

    liver: Solid
    right_kidney: Kidney
    left_kidney: Kidney
    spleen: Solid
    pancreas: Solid
    aorta: Tube
    vena_cava: Tube
    right_adrenal: Solid
    left_adrenal: Solid
    gallbladder: Solid
    esophagus: Tube
    stomach: Tube
    duodenum: Tube
    portal_vein: Solid
    liver_vessels: Solid


class Jitter:
    """Random anatomy: small shifts in mm and scale factors, from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def shift(self, sd_mm: float) -> np.ndarray:
        """A displacement (x, y, z), at most two standard deviations per axis."""
        return np.clip(self.rng.normal(0, sd_mm, 3), -2 * sd_mm, 2 * sd_mm)

    def factor(self, sd: float) -> float:
        """A scale factor around 1, at most two standard deviations away."""
        return float(np.clip(self.rng.normal(1, sd), 1 - 2 * sd, 1 + 2 * sd))

    def turn(self, sd_deg: float) -> float:
        """An angle in degrees."""
        return float(np.clip(self.rng.normal(0, sd_deg), -2 * sd_deg, 2 * sd_deg))


def build_organs(rng: np.random.Generator, cavity: Solid, under_diaphragm: Solid) -> Organs:
    """All organs of one patient.

    Args:
        rng: source of the variation between patients.
        cavity: inside of the trunk wall.
        under_diaphragm: everything below the diaphragm's domes.
    """
    jitter = Jitter(rng)
    room = Intersection(Grown(cavity, -3.0), Grown(under_diaphragm, -1.0), 6.0)
    aorta, vena_cava = _aorta(jitter), _vena_cava(jitter)
    right_kidney, left_kidney = _kidney(jitter, -1), _kidney(jitter, 1)
    stomach, duodenum = _stomach(jitter), _duodenum(jitter)
    gallbladder = _gallbladder(jitter)
    right_adrenal, left_adrenal = _right_adrenal(jitter), _left_adrenal(jitter)
    portal_vein, liver_vessels = _portal_vein(), _liver_vessels()
    kidneys = Union([right_kidney.envelope, left_kidney.envelope])
    pancreas = _pancreas(jitter) - Union([Grown(stomach, 2.0), Grown(duodenum, 0.5), vena_cava, aorta])
    spleen = Intersection(_spleen(jitter), room, 6.0) - Grown(
        Union([stomach, left_kidney.envelope, pancreas]), 3.0
    )
    neighbours = Union(
        [
            Grown(stomach, 3.0),
            Grown(Union([kidneys, duodenum]), 4.0),
            Grown(pancreas, 4.0),
            Grown(gallbladder, 0.8),
            Grown(Union([right_adrenal, left_adrenal]), 2.0),
            Grown(aorta, 9.0),
            vena_cava,
            Ellipsoid((-40, -76, 2), (20, 13, 10), (0, 25, 20)),  # the porta's fat
            Ellipsoid((-16, -118, 14), (3.0, 26, 24), (0, 0, 12)),  # fissure of the ligamentum teres
        ],
        4.0,
    )
    liver = Intersection(_liver_mass(jitter), room, 8.0) - neighbours
    return Organs(
        liver=liver,
        right_kidney=right_kidney,
        left_kidney=left_kidney,
        spleen=spleen,
        pancreas=pancreas,
        aorta=aorta,
        vena_cava=vena_cava,
        right_adrenal=right_adrenal,
        left_adrenal=left_adrenal,
        gallbladder=gallbladder,
        esophagus=_esophagus(jitter),
        stomach=stomach,
        duodenum=duodenum,
        portal_vein=portal_vein,
        liver_vessels=liver_vessels,
    )


def _liver_mass(jitter: Jitter) -> Solid:
    """Right and left lobe above the visceral surface; the trunk wall and diaphragm shape the rest."""
    s = jitter.factor(0.04)
    right = Ellipsoid((-78, -62, 18), (84 * s, 98 * s, 92 * s), (0, 0, -8), 2.3)
    left = Ellipsoid((0, -112, 46), (78 * jitter.factor(0.1), 42, 40), (0, 12, 8))
    normal = np.array([0.55, 0.42, -0.72]) + 0.04 * jitter.shift(1)
    visceral = HalfSpace(np.array([-66, -55, -36]) + jitter.shift(4), normal)
    back = HalfSpace((-30, -34, 30), (0.75, 0.66, 0.1))
    return Intersection(Intersection(right | left, visceral, 14.0), back, 10.0)


def _kidney(jitter: Jitter, side: int) -> Kidney:
    """A bean with its hilum towards the midline and front; ``side`` is -1 right, +1 left."""
    center = np.array([side * 68, -6, -30 if side < 0 else -21]) + jitter.shift(4)
    s = jitter.factor(0.05)
    lateral = np.array([side, 0.35, 0])

    def at(outwards: float, up: float) -> np.ndarray:
        # The upper pole leans to the midline and to the back.
        lean = np.array([-side * 0.22, 0.16, 1.0]) * up
        return center + s * (outwards * lateral + lean)

    bean = Tube([at(-7, -31), at(3, -15), at(5, 0), at(3, 15), at(-7, 31)], s * np.array([19, 24, 26, 24, 19.5]))
    pit = Ellipsoid(at(-19, 0), (17 * s, 11 * s, 19 * s), (0, 0, side * 20))
    pyramids = [
        Ellipsoid(at(10 * np.cos(a) - 1, up), (8, 6.5, 6.5), (0, 0, 0))
        for up, angles in ((-27, (0.0,)), (-14, (0.4, 2.2)), (2, (0.0,)), (16, (0.4, 2.2)), (28, (0.0,)))
        for a in angles
    ]
    ureter_bend = center + np.array([-side * 30, -8, -28])
    pelvis = Tube(
        [at(-9, 4), at(-20, -2), at(-29, -8), ureter_bend, (side * 34, -25, -130)], [7, 6, 4, 2.5, 2.0]
    )
    return Kidney(
        parenchyma=bean - pit,
        pyramids=Union(pyramids),
        sinus=pit,
        pelvis=pelvis,
        envelope=bean,
    )


def _spleen(jitter: Jitter) -> Solid:
    """A crescent along the left posterolateral wall, hollowed towards the hilum."""
    center = np.array([103, -2, 34]) + jitter.shift(4)
    s = jitter.factor(0.06)
    outer = Ellipsoid(center, (27 * s, 58 * s, 52 * s), (-25, 0, -24))
    hollow = Ellipsoid(center + (-40, -20, -4), (34, 40, 46))
    return Intersection(outer, Outside(hollow), 8.0)


def _pancreas(jitter: Jitter) -> Solid:
    """Head in the duodenal loop with the uncinate process, neck, body, tail to the splenic hilum."""
    s, move = jitter.factor(0.06), jitter.shift(2)
    knots = np.array(
        [
            (-16, -52, -55),
            (-30, -60, -46),
            (-33, -66, -28),
            (-16, -77, -15),
            (8, -78, -6),
            (32, -64, 2),
            (58, -44, 8),
            (80, -28, 14),
        ]
    )
    radii = s * np.array([6.0, 11, 12.5, 9, 8.2, 8.5, 8.5, 6.5])
    return Bumpy(Tube(knots + move, radii, stretch=(1, 1, 1.3)), 1.3, 11.0)


def _stomach(jitter: Jitter) -> Tube:
    """J-shape: fundus under the left dome, body, antrum crossing the midline, pylorus."""
    s, move = jitter.factor(0.1), jitter.shift(3)
    knots = np.array(
        [
            (56, -38, 62),
            (60, -50, 44),
            (58, -84, 22),
            (46, -108, -4),
            (22, -118, -24),
            (-6, -110, -22),
            (-30, -94, -10),
        ]
    )
    radii = np.array([20, 29, 27, 23, 19, 14, 7.0])
    radii[:-1] *= s
    weight = np.array([1, 1, 1, 1, 1, 0.5, 0])[:, None]
    return Tube(knots + weight * move, radii)


def _duodenum(jitter: Jitter) -> Tube:
    """C-loop: bulb, descending part, horizontal part in front of the cava and aorta, ascending."""
    s = jitter.factor(0.08)
    move = np.array([0, 0, 1.0]) * jitter.shift(4)
    knots = np.array(
        [
            (-37, -90, -7),
            (-46, -82, -5),
            (-54, -68, -16),
            (-56, -60, -42),
            (-50, -57, -68),
            (-28, -58, -82),
            (0, -63, -81),
            (24, -63, -68),
            (30, -66, -46),
        ]
    )
    weight = np.array([0, 0, 0, 0.5, 1, 1, 1, 1, 1])[:, None]
    return Tube(knots + weight * move, s * np.array([9, 13, 12.5, 11.5, 12, 11.5, 10.5, 11, 10.0]))


def _gallbladder(jitter: Jitter) -> Solid:
    """A pear under the liver: neck near the porta, fundus forwards, down and to the right."""
    neck, s = np.array([-44, -78, -12.0]), jitter.factor(0.12)
    fundus = np.array([-74, -116, -44]) + jitter.shift(3)
    knots = np.array([neck + t * (fundus - neck) for t in (0, 0.35, 0.7, 1)])
    return Tube(knots, s * np.array([4.0, 9, 14, 13.5]))


def _aorta(jitter: Jitter) -> Tube:
    """Descending aorta left of the midline in front of the spine, to the bifurcation at L4."""
    z = np.array([320, 240, 190, 140, 90, 40, 0, -40, -80, -112])
    x = np.array([24, 24, 22, 20, 15, 9, 7, 6, 5, 3]) + jitter.shift(1.5)[0]
    radii = np.array([12.5, 12.5, 12.5, 12, 11.5, 11, 10.5, 9.5, 9, 8.5]) * jitter.factor(0.08)
    y = spine_y(z) - 16 - radii - 2
    return Tube(np.column_stack([x, y, z]), radii, step_mm=10)


def _vena_cava(jitter: Jitter) -> Tube:
    """From the iliac confluence at L5, right of the aorta, behind the liver, to the right atrium."""
    z = np.array([-122, -80, -40, 0, 35, 65, 90, 108])
    x = np.array([-14, -20, -22, -23, -26, -28, -26, -24]) + jitter.shift(1.5)[0]
    y = spine_y(z) - np.array([25, 28, 29, 31, 36, 46, 56, 68])
    radii = np.array([9, 9.5, 10, 11, 11.5, 12, 12, 12]) * jitter.factor(0.08)
    return Tube(np.column_stack([x, y, z]), radii, stretch=(1.15, 0.9, 1), step_mm=10)


def _right_adrenal(jitter: Jitter) -> Solid:
    """A thin lambda behind the vena cava, above the right kidney's upper pole."""
    top = np.array([-33, -12, 26]) + jitter.shift(1.5)
    body = Tube([top + (4, -8, 10), top, top + (-1, 4, -14)], [2.2, 3.0, 2.6], stretch=(1, 1, 1.6))
    lateral = Tube([top, top + (-7, 9, -8), top + (-11, 17, -12)], [2.8, 2.3, 1.6], stretch=(1, 1, 2))
    medial = Tube([top, top + (2, 9, -6), top + (4, 17, -10)], [2.8, 2.2, 1.6], stretch=(1, 1, 2))
    return Union([body, lateral, medial], 2.0)


def _left_adrenal(jitter: Jitter) -> Solid:
    """An inverted Y between the aorta, the left kidney and the pancreatic tail."""
    top = np.array([34, -30, 12]) + jitter.shift(1.5)
    body = Tube([top + (-3, -9, 4), top, top + (0, 2, -10)], [2.2, 3.2, 2.6], stretch=(1, 1, 1.7))
    lateral = Tube([top, top + (6, 8, 2), top + (11, 13, 4)], [2.8, 2.4, 1.7], stretch=(1, 1, 2))
    medial = Tube([top, top + (-3, 9, 2), top + (-4, 18, 4)], [2.8, 2.2, 1.6], stretch=(1, 1, 2))
    return Union([body, lateral, medial], 2.0)


def _esophagus(jitter: Jitter) -> Tube:
    """From the chest, left and forwards through the hiatus, to the gastric cardia."""
    z = np.array([320, 240, 180, 130, 95, 70, 58, 52])
    x = np.array([4, 2, 0, 2, 8, 16, 24, 34]) + jitter.shift(1)[0]
    y = spine_y(z) - np.array([26, 30, 32, 38, 40, 42, 48, 52])
    return Tube(np.column_stack([x, y, z]), jitter.factor(0.1) * np.array([7, 7, 7, 7.5, 8, 8, 8, 7.0]))


def _portal_vein() -> Solid:
    """Splenic vein behind the pancreas, superior mesenteric vein, and the trunk to the porta."""
    confluence = (-8, -66, -12)
    splenic = Tube([confluence, (12, -68, -2), (34, -54, 6), (60, -35, 12), (82, -20, 18)], [5, 4.5, 4.5, 4, 3.5])
    mesenteric = Tube([confluence, (-4, -76, -40), (2, -88, -80), (10, -95, -120)], [6, 5.5, 5, 4])
    trunk = Tube([confluence, (-22, -72, 0), (-40, -78, 10)], [6.5, 6.5, 6.5])
    return Union([splenic, mesenteric, trunk])


def _liver_vessels() -> Solid:
    """Portal branches from the porta and hepatic veins to the cava; only their part in the liver."""
    porta, cava = (-40, -78, 10), (-28, -46, 74)
    branches = [
        Tube([porta, (-62, -66, 14), (-86, -50, 24), (-112, -30, 40)], [6.5, 5.5, 4, 2]),
        Tube([(-62, -66, 14), (-80, -90, 16), (-104, -112, 24)], [5, 3.5, 1.8]),
        Tube([(-86, -50, 24), (-104, -40, -4), (-118, -34, -28)], [3.6, 2.8, 1.6]),
        Tube([(-80, -90, 16), (-92, -100, -14)], [3, 1.8]),
        Tube([porta, (-24, -98, 28), (-8, -112, 38), (26, -114, 46)], [5.5, 5, 3.8, 1.6]),
        Tube([cava, (-58, -44, 66), (-92, -34, 48), (-120, -34, 22)], [5.5, 4.5, 3.4, 1.6]),
        Tube([cava, (-44, -66, 70), (-66, -92, 58), (-88, -122, 36)], [5.5, 4.8, 3.5, 1.6]),
        Tube([cava, (-24, -72, 70), (-8, -98, 64), (24, -114, 58)], [5, 4.2, 3, 1.5]),
        Tube([(-58, -44, 66), (-84, -58, 70), (-108, -66, 66)], [3.4, 2.6, 1.5]),
    ]
    return Union(branches)


def place_tumor(rng: np.random.Generator, hosts: list[Solid]) -> tuple[Solid, Solid]:
    """A knobbly tumour in one of ``hosts``, and its necrotic core.

    The centre is a random point in the deeper part of the host; the radius suits the depth there.
    """
    host = hosts[rng.integers(len(hosts))]
    spots = rng.uniform(*host.bounds, (4000, 3)).astype(np.float32)
    columns = tuple(spots.T)
    depth = Points(columns, columns).distance(host)
    chosen = rng.choice(np.flatnonzero(depth < 0.4 * depth.min()))
    radius = float(np.clip(-1.1 * depth[chosen], 7, rng.uniform(12, 30)))
    axes = radius * rng.uniform(0.85, 1.15, 3)
    mass = Bumpy(Ellipsoid(spots[chosen], axes, rng.uniform(-40, 40, 3)), 0.1 * radius, 1.1 * radius)
    return mass & Grown(host, -1.0), Grown(mass, -0.45 * radius)
