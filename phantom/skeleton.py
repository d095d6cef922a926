"""Spine, ribs, sternum and pelvis. Reference coordinates, see reference.py."""

from __future__ import annotations

import numpy as np

from phantom.reference import spine_y
from phantom.shapes import Ellipsoid, Tube
from phantom.solids import Grown, Solid, Union
from phantom.trunk import CAVITY

VERTEBRAE_Z = np.array(
    [-177, -143, -109, -73, -35, 0, 34, 64, 93, 120, 146, 171, 195, 219, 243, 266.0]
)
TWELFTH_THORACIC = 6  # index of T12 in VERTEBRAE_Z


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
            Tube(
                [(-38, y + 28, z + 2), (-18, y + 24, z), (18, y + 24, z), (38, y + 28, z + 2)], 4.5
            ),
        ]
        bones += [body, *arch]
        marrow += [Grown(body, -2.0), *(Grown(part, -2.0) for part in arch)]
        middle = 0.5 * (z + above)
        disc_y = float(spine_y(middle))
        discs.append(
            Ellipsoid((0, disc_y, middle), (width - 1, 0.74 * width - 1, half - 6), (tilt, 0, 0), 4)
        )
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
