"""The 13 organs and what lies inside them. Reference coordinates, see reference.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phantom.reference import Jitter
from phantom.shapes import Ellipsoid, Tube
from phantom.solids import Bumpy, Grown, HalfSpace, Intersection, Outside, Solid, Union
from phantom.tracts import (
    aorta_tube,
    duodenum_tube,
    esophagus_tube,
    liver_vessel_tree,
    portal_vein_tree,
    stomach_tube,
    vena_cava_tube,
)


@dataclass(frozen=True)
class Kidney:
    """One kidney: the labelled parenchyma, its pyramids, and the urinary tract in its sinus."""

    parenchyma: Solid
    pyramids: Solid
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
    stomach: Solid
    duodenum: Tube
    portal_vein: Solid
    liver_vessels: Solid


def build_organs(rng: np.random.Generator, cavity: Solid, under_diaphragm: Solid) -> Organs:
    """All organs of one patient.

    Args:
        rng: source of the variation between patients.
        cavity: inside of the trunk wall.
        under_diaphragm: everything below the diaphragm's domes.
    """
    jitter = Jitter(rng)
    room = Intersection(Grown(cavity, -3.0), Grown(under_diaphragm, -1.0), 6.0)
    aorta, vena_cava = aorta_tube(jitter), vena_cava_tube(jitter)
    duodenum = duodenum_tube(jitter)
    # Stomach and kidneys give way to the thinner organs.
    pancreas = _pancreas(jitter) - Union([Grown(duodenum, 0.5), vena_cava, aorta])
    stomach = stomach_tube(jitter) - Grown(pancreas, 1.5)
    gallbladder = _gallbladder(jitter)
    right_adrenal, left_adrenal = _right_adrenal(jitter), _left_adrenal(jitter)
    thin = Grown(Union([pancreas, right_adrenal, left_adrenal]), 2.0)
    right_kidney, left_kidney = _kidney(jitter, -1, thin), _kidney(jitter, 1, thin)
    portal_vein, liver_vessels = portal_vein_tree(), liver_vessel_tree(jitter)
    kidneys = Union([right_kidney.envelope, left_kidney.envelope])
    spleen = Intersection(_spleen(jitter), room, 6.0) - Grown(
        Union([stomach, left_kidney.envelope, pancreas]), 3.0
    )
    # The gallbladder lies under the liver: none of it on the gallbladder's lower, medial side.
    fossa = Tube(gallbladder.path + np.array([9, -5, -11]), gallbladder.radii)
    neighbours = Union(
        [
            Grown(stomach, 3.0),
            Grown(Union([kidneys, duodenum]), 4.0),
            Grown(pancreas, 4.0),
            Grown(gallbladder, 0.8),
            fossa,
            Grown(Union([right_adrenal, left_adrenal]), 2.0),
            Grown(aorta, 6.0),
            vena_cava,
            Tube(vena_cava.path + np.array([4, 9, 0]), vena_cava.radii),  # fat behind it
            Ellipsoid((-22, -86, -8), (34, 34, 26)),  # fat of the porta and the lesser omentum
            Ellipsoid((-16, -118, 14), (2.5, 22, 16), (0, 0, 12)),  # fissure of the round ligament
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
        esophagus=esophagus_tube(jitter),
        stomach=stomach,
        duodenum=duodenum,
        portal_vein=portal_vein,
        liver_vessels=liver_vessels,
    )


def _liver_mass(jitter: Jitter) -> Solid:
    """Right and left lobe above the visceral surface; wall and diaphragm shape the rest."""
    s = jitter.factor(0.04)
    right = Ellipsoid((-80, -62, 18), (76 * s, 93 * s, 89 * s), (0, 0, -8))
    left = Ellipsoid((0, -108, 56), (82 * jitter.factor(0.1), 42, 34), (0, 10, 8))
    normal = np.array([0.55, 0.42, -0.72]) + 0.04 * jitter.shift(1)
    visceral = HalfSpace(np.array([-74, -61, -26]) + jitter.shift(4), normal)
    midline = Ellipsoid((22, 10, 20), (54, 62, 130))  # spine, crura, great vessels
    return Intersection(Intersection(right | left, visceral, 14.0), Outside(midline), 10.0)


def _kidney(jitter: Jitter, side: int, spared: Solid) -> Kidney:
    """A bean with its hilum towards the midline and front; ``side`` is -1 right, +1 left."""
    center = np.array([side * 68, -6, -30 if side < 0 else -21]) + jitter.shift(4)
    s = jitter.factor(0.035)
    lateral = np.array([side, 0.35, 0])

    def at(outwards: float, up: float) -> np.ndarray:
        # The upper pole leans to the midline and to the back.
        lean = np.array([-side * 0.22, 0.16, 1.0]) * up
        return center + s * (outwards * lateral + lean)

    bean = Tube(
        [at(-7, -31), at(3, -15), at(5, 0), at(3, 15), at(-7, 31)],
        s * np.array([21, 26, 27.5, 26, 21.5]),
    )
    pit = Ellipsoid(at(-21, 0), (18 * s, 11 * s, 18 * s), (0, 0, side * 20))
    pyramids = [
        Ellipsoid(at(10 * np.cos(a) - 1, up), (8, 6.5, 6.5), (0, 0, 0))
        for up, angles in (
            (-27, (0.0,)),
            (-14, (0.4, 2.2)),
            (2, (0.0,)),
            (16, (0.4, 2.2)),
            (28, (0.0,)),
        )
        for a in angles
    ]
    ureter_bend = center + np.array([-side * 30, -8, -28])
    pelvis = Tube(
        [at(-9, 4), at(-20, -2), at(-29, -8), ureter_bend, (side * 34, -25, -130)],
        [7, 6, 4, 2.5, 2.0],
    )
    return Kidney(
        parenchyma=bean - Union([pit, spared]),
        pyramids=Union(pyramids),
        pelvis=pelvis,
        envelope=bean,
    )


def _spleen(jitter: Jitter) -> Solid:
    """A crescent along the left posterolateral wall, hollowed towards the hilum."""
    center = np.array([101, -1, 32]) + jitter.shift(3)
    s = jitter.factor(0.06)
    outer = Ellipsoid(center, (39 * s, 69 * s, 66 * s), (-25, 0, -24))
    hollow = Ellipsoid(center + np.array([-42, -22, -4]), (34, 40, 46))
    return Intersection(outer, Outside(hollow), 8.0)


def _pancreas(jitter: Jitter) -> Solid:
    """Head with uncinate process in the duodenal loop, neck, body, tail at the splenic hilum."""
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
    radii = s * np.array([7, 12, 13.5, 10, 9.2, 9.6, 9.6, 7.5])
    return Bumpy(Tube(knots + move, radii, stretch=(1, 1, 1.3)), 1.3, 11.0)


def _gallbladder(jitter: Jitter) -> Tube:
    """A pear under the liver: neck near the porta, fundus forwards, down and to the right."""
    neck, s = np.array([-44, -78, -12.0]), jitter.factor(0.12)
    fundus = np.array([-74, -116, -44]) + jitter.shift(3)
    knots = np.array([neck + t * (fundus - neck) for t in (0, 0.35, 0.7, 1)])
    return Tube(knots, s * np.array([5, 10.5, 15.5, 15]))


def _right_adrenal(jitter: Jitter) -> Solid:
    """A thin lambda behind the vena cava, above the right kidney's upper pole."""
    top = np.array([-33, -9, 30]) + jitter.shift(1.5)
    body = Tube(
        top + np.array([(4, -9, 10), (0, 0, 0), (0, 4, -12)]), [2.6, 3.8, 3.0], stretch=(1, 1, 2)
    )
    lateral = Tube(
        top + np.array([(0, 0, 0), (-6, 9, -6), (-9, 17, -9)]), [3.4, 2.9, 2.2], stretch=(1, 1, 3)
    )
    medial = Tube(
        top + np.array([(0, 0, 0), (2, 9, -4), (3, 16, -7)]), [3.4, 2.8, 2.2], stretch=(1, 1, 3)
    )
    return Union([body, lateral, medial], 2.0)


def _left_adrenal(jitter: Jitter) -> Solid:
    """An inverted Y between the aorta, the left kidney and the pancreatic tail."""
    top = np.array([33, -31, 12]) + jitter.shift(1.5)
    body = Tube(
        top + np.array([(-2, -9, 4), (0, 0, 0), (0, 3, -8)]), [2.8, 4.0, 3.0], stretch=(1, 1, 2)
    )
    lateral = Tube(
        top + np.array([(0, 0, 0), (5, 8, 1), (9, 14, 2)]), [3.4, 3.0, 2.2], stretch=(1, 1, 3)
    )
    medial = Tube(
        top + np.array([(0, 0, 0), (-3, 9, 1), (-4, 18, 2)]), [3.4, 2.8, 2.2], stretch=(1, 1, 3)
    )
    return Union([body, lateral, medial], 2.0)
