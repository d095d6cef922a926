"""Hollow organs and vessels: tubes along splines. Reference coordinates, see reference.py."""

from __future__ import annotations

import numpy as np

from phantom.reference import Jitter, spine_y
from phantom.shapes import Tube
from phantom.solids import Solid, Union


def stomach_tube(jitter: Jitter) -> Tube:
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


def duodenum_tube(jitter: Jitter) -> Tube:
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


def esophagus_tube(jitter: Jitter) -> Tube:
    """From the chest, left and forwards through the hiatus, to the gastric cardia."""
    z = np.array([320, 240, 180, 130, 95, 70, 58, 52])
    x = np.array([4, 2, 0, 2, 8, 16, 24, 34]) + jitter.shift(1)[0]
    y = spine_y(z) - np.array([26, 30, 32, 38, 40, 42, 48, 52])
    return Tube(
        np.column_stack([x, y, z]), jitter.factor(0.1) * np.array([7, 7, 7, 7.5, 8, 8, 8, 7.0])
    )


def aorta_tube(jitter: Jitter) -> Tube:
    """Descending aorta left of the midline in front of the spine, to the bifurcation at L4."""
    z = np.array([320, 240, 190, 140, 90, 40, 0, -40, -80, -112])
    x = np.array([24, 24, 22, 20, 15, 9, 7, 6, 5, 3]) + jitter.shift(1.5)[0]
    radii = np.array([12.5, 12.5, 12.5, 12, 11.5, 11, 10.5, 9.5, 9, 8.5]) * jitter.factor(0.08)
    y = spine_y(z) - 16 - radii - 2
    return Tube(np.column_stack([x, y, z]), radii, step_mm=10)


def vena_cava_tube(jitter: Jitter) -> Tube:
    """From the iliac confluence, right of the aorta, behind the liver, to the right atrium."""
    z = np.array([-122, -80, -40, 0, 35, 65, 90, 108])
    x = np.array([-14, -20, -22, -23, -26, -28, -26, -24]) + jitter.shift(1.5)[0]
    y = spine_y(z) - np.array([25, 28, 29, 31, 36, 46, 56, 68])
    radii = np.array([9, 9.5, 10, 11, 11.5, 12, 12, 12]) * jitter.factor(0.08)
    return Tube(np.column_stack([x, y, z]), radii, stretch=(1.15, 0.9, 1), step_mm=10)


def portal_vein_tree() -> Solid:
    """Splenic vein behind the pancreas, superior mesenteric vein, and the trunk to the porta."""
    confluence = (-8, -66, -12)
    splenic = Tube(
        [confluence, (12, -68, -2), (34, -54, 6), (60, -35, 12), (82, -20, 18)],
        [5, 4.5, 4.5, 4, 3.5],
    )
    mesenteric = Tube([confluence, (-4, -76, -40), (2, -88, -80), (10, -95, -120)], [6, 5.5, 5, 4])
    trunk = Tube([confluence, (-22, -72, 0), (-40, -78, 10)], [6.5, 6.5, 6.5])
    return Union([splenic, mesenteric, trunk])


def liver_vessel_tree(jitter: Jitter) -> Solid:
    """Portal branches from the porta and hepatic veins to the cava, each with side branches.

    They run on outside the liver; only the part inside is meant.
    """
    porta, cava = (-40, -78, 10), (-28, -46, 74)
    trunks = [
        ([porta, (-62, -66, 14), (-86, -50, 24), (-112, -30, 40)], [6.5, 5.5, 4, 2]),
        ([(-62, -66, 14), (-80, -90, 16), (-104, -112, 24)], [5, 3.5, 1.8]),
        ([(-86, -50, 24), (-104, -40, -4), (-118, -34, -28)], [3.6, 2.8, 1.6]),
        ([(-80, -90, 16), (-92, -100, -14)], [3, 1.8]),
        ([porta, (-24, -98, 34), (-8, -112, 44), (26, -114, 50)], [5.5, 5, 3.8, 1.6]),
        ([cava, (-58, -44, 66), (-92, -34, 48), (-120, -34, 22)], [5.5, 4.5, 3.4, 1.6]),
        ([cava, (-44, -66, 70), (-66, -92, 58), (-88, -122, 36)], [5.5, 4.8, 3.5, 1.6]),
        ([cava, (-24, -72, 70), (-8, -98, 64), (24, -114, 58)], [5, 4.2, 3, 1.5]),
        ([(-58, -44, 66), (-84, -58, 70), (-108, -66, 66)], [3.4, 2.6, 1.5]),
    ]
    branches = []
    for knots, radii in trunks:
        trunk = Tube(knots, radii)
        branches.append(trunk)
        for start, radius in zip(trunk.path[3::3], trunk.radii[3::3], strict=True):
            along = np.asarray(knots[-1], float) - knots[0]
            aside = jitter.rng.normal(size=3)
            aside = aside / np.linalg.norm(aside) + 0.6 * along / np.linalg.norm(along)
            tip = start + 26 * aside
            bend = 0.5 * (start + tip) + jitter.shift(4)
            branches.append(
                Tube([start, bend, tip], np.array([0.7, 0.5, 0.25]) * min(radius, 4.0), step_mm=9)
            )
    return Union(branches)
