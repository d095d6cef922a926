"""Solids in the patient, as distances: negative inside, zero on the surface, millimetres near it.

A solid is evaluated on :class:`Points`, a small block of sampling points. Distances are exact for
tubes, first-order for the rest; farther than ``MARGIN_MM`` outside they may be just ``FAR``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MARGIN_MM = 14.0
FAR = np.float32(1e3)
EVERYWHERE = np.array([[-np.inf] * 3, [np.inf] * 3])

Vector = Sequence[float] | np.ndarray


class Points:
    """A block of sampling points.

    Attributes:
        x, y, z: reference coordinates (LPS, mm), float32 arrays of one shape.
        room: the same points in scanner coordinates (LPS, mm), before the body's deformation.
        box: lowest and highest reference coordinate, shape (2, 3), order (x, y, z).
    """

    def __init__(self, reference: tuple[np.ndarray, ...], room: tuple[np.ndarray, ...]) -> None:
        self.x, self.y, self.z = reference
        self.room = room
        self.box = np.array([[c.min() for c in reference], [c.max() for c in reference]])
        self._known: dict[int, np.ndarray] = {}

    def distance(self, solid: Solid) -> np.ndarray:
        """Distance to ``solid`` in mm; the scalar FAR where the whole block is out of reach."""
        key = id(solid)
        if key not in self._known:
            reach = solid.bounds + np.array([[-MARGIN_MM], [MARGIN_MM]])
            apart = (self.box[0] > reach[1]).any() or (self.box[1] < reach[0]).any()
            self._known[key] = FAR if apart else solid.evaluate(self)
        return self._known[key]


class Solid:
    """A region of the body; ``bounds`` (2, 3) is a box around it in reference mm, (x, y, z)."""

    bounds: np.ndarray = EVERYWHERE

    def evaluate(self, points: Points) -> np.ndarray:
        """Signed distance in mm, shape of ``points.x``."""
        raise NotImplementedError

    def __and__(self, other: Solid) -> Solid:
        return Intersection(self, other)

    def __or__(self, other: Solid) -> Solid:
        return Union([self, other])

    def __sub__(self, other: Solid) -> Solid:
        return Intersection(self, Outside(other))


class Ellipsoid(Solid):
    """A superellipsoid: |x/a|^n + |y/b|^n + |z/c|^n <= 1 in its own turned frame.

    Args:
        center: (x, y, z) in mm.
        semi_axes: a, b, c in mm.
        turn_deg: rotations about x, then y, then z.
        exponent: n; 2 is an ellipsoid, larger is boxier.
    """

    def __init__(
        self, center: Vector, semi_axes: Vector, turn_deg: Vector = (0, 0, 0), exponent: float = 2
    ) -> None:
        self.center = np.asarray(center, float)
        self.semi_axes = np.asarray(semi_axes, float)
        self.exponent = exponent
        self.to_own = _rotation(turn_deg).T
        half = np.abs(self.to_own.T) @ self.semi_axes
        if exponent == 2:
            half = np.sqrt((self.to_own.T**2) @ self.semi_axes**2)
        self.bounds = np.stack([self.center - half, self.center + half])

    def evaluate(self, points: Points) -> np.ndarray:
        offsets = [
            c - np.float32(m) for c, m in zip((points.x, points.y, points.z), self.center, strict=True)
        ]
        level = steepness = np.float32(0)
        for row, semi_axis in zip(self.to_own, self.semi_axes, strict=True):
            own = np.float32(0)
            for weight, offset in zip(row, offsets, strict=True):
                if abs(weight) > 1e-9:
                    own = own + np.float32(weight / semi_axis) * offset
            level, steepness = _accumulate(level, steepness, own, semi_axis, self.exponent)
        return _first_order(level, steepness, self.exponent)


class Column(Solid):
    """A vertical body whose cross-section is a superellipse that changes with z.

    Args:
        profile: rows (z, half width, half depth, y of the centre) in mm, z increasing; x of the
            centre is 0. Beyond the first and last row the section stays the same.
        exponent: of the superellipse.
    """

    def __init__(self, profile: np.ndarray, exponent: float) -> None:
        self.z, self.width, self.depth, self.middle = np.asarray(profile, float).T
        self.exponent = exponent
        self.bounds = np.array(
            [
                [-self.width.max(), (self.middle - self.depth).min(), -np.inf],
                [self.width.max(), (self.middle + self.depth).max(), np.inf],
            ]
        )

    def evaluate(self, points: Points) -> np.ndarray:
        width, depth, middle = (
            np.interp(points.z, self.z, column).astype(np.float32)
            for column in (self.width, self.depth, self.middle)
        )
        level = steepness = np.float32(0)
        level, steepness = _accumulate(level, steepness, points.x / width, width, self.exponent)
        own_y = (points.y - middle) / depth
        level, steepness = _accumulate(level, steepness, own_y, depth, self.exponent)
        return _first_order(level, steepness, self.exponent)


class Tube(Solid):
    """A tube with rounded ends along a smooth curve.

    Args:
        knots: points (x, y, z) that a Catmull-Rom spline passes through, mm.
        radii: radius at every knot, mm, or one for all.
        stretch: the tube is round after dividing by this along (x, y, z); for flat or tall organs.
        step_mm: length of the straight pieces.
    """

    def __init__(
        self,
        knots: np.ndarray | Sequence[Vector],
        radii: float | Sequence[float] | np.ndarray,
        stretch: Vector = (1, 1, 1),
        step_mm: float = 6.0,
    ) -> None:
        knots = np.asarray(knots, float)
        radii = np.broadcast_to(np.asarray(radii, float), len(knots))
        curve = catmull_rom(np.column_stack([knots, radii]), step_mm)
        self.path, self.radii = curve[:, :3], np.maximum(curve[:, 3], 0.3)
        self.stretch = np.asarray(stretch, float)
        own = np.column_stack([self.path / self.stretch, self.radii])
        self.start, self.end = own[:-1].astype(np.float32), own[1:].astype(np.float32)
        reach = self.radii[:, None] * self.stretch
        low, high = self.path - reach, self.path + reach
        self.low, self.high = np.minimum(low[:-1], low[1:]), np.maximum(high[:-1], high[1:])
        self.bounds = np.stack([self.low.min(axis=0), self.high.max(axis=0)])

    def evaluate(self, points: Points) -> np.ndarray:
        near = (self.low - MARGIN_MM <= points.box[1]) & (self.high + MARGIN_MM >= points.box[0])
        pieces = np.flatnonzero(near.all(axis=1))
        if not len(pieces):
            return FAR
        sx, sy, sz = (np.float32(s) for s in self.stretch)
        x, y, z = points.x / sx, points.y / sy, points.z / sz
        nearest = np.full(points.x.shape, FAR)
        for piece in pieces:
            ax, ay, az, radius = self.start[piece]
            ux, uy, uz, growth = self.end[piece] - self.start[piece]
            length = max(ux * ux + uy * uy + uz * uz, np.float32(1e-6))
            dx, dy, dz = x - ax, y - ay, z - az
            along = dx * (ux / length)
            along += dy * (uy / length)
            along += dz * (uz / length)
            np.clip(along, 0, 1, out=along)
            dx -= along * ux
            dy -= along * uy
            dz -= along * uz
            dx *= dx
            dx += dy * dy
            dx += dz * dz
            np.sqrt(dx, out=dx)
            dx -= along * growth
            dx -= radius
            np.minimum(nearest, dx, out=nearest)
        return nearest


class HalfSpace(Solid):
    """Everything behind a plane: (p - point) . normal <= 0."""

    def __init__(self, point: Vector, normal: Vector) -> None:
        self.normal = np.asarray(normal, float) / np.linalg.norm(normal)
        self.level = float(np.dot(self.normal, point))

    def evaluate(self, points: Points) -> np.ndarray:
        a, b, c = (np.float32(n) for n in self.normal)
        return a * points.x + b * points.y + c * points.z - np.float32(self.level)


class Intersection(Solid):
    """What two solids share, with the edge between them rounded over about ``blend_mm``."""

    def __init__(self, first: Solid, second: Solid, blend_mm: float = 0.0) -> None:
        self.first, self.second, self.blend_mm = first, second, blend_mm
        self.bounds = np.stack(
            [
                np.maximum(first.bounds[0], second.bounds[0]),
                np.minimum(first.bounds[1], second.bounds[1]),
            ]
        )

    def evaluate(self, points: Points) -> np.ndarray:
        first, second = points.distance(self.first), points.distance(self.second)
        return -_smooth_minimum(-first, -second, self.blend_mm)


class Union(Solid):
    """What lies in any of the solids, with the grooves between them filled over ``blend_mm``."""

    def __init__(self, parts: Sequence[Solid], blend_mm: float = 0.0) -> None:
        self.parts, self.blend_mm = tuple(parts), blend_mm
        low = np.min([p.bounds[0] for p in self.parts], axis=0)
        high = np.max([p.bounds[1] for p in self.parts], axis=0)
        self.bounds = np.stack([low, high])

    def evaluate(self, points: Points) -> np.ndarray:
        nearest: np.ndarray = FAR
        for part in self.parts:
            nearest = _smooth_minimum(nearest, points.distance(part), self.blend_mm)
        return nearest


class Outside(Solid):
    """Everything but a solid."""

    def __init__(self, solid: Solid) -> None:
        self.solid = solid

    def evaluate(self, points: Points) -> np.ndarray:
        return -points.distance(self.solid)


class Grown(Solid):
    """A solid grown by ``by_mm`` (shrunk if negative); at most MARGIN_MM."""

    def __init__(self, solid: Solid, by_mm: float) -> None:
        self.solid, self.by_mm = solid, np.float32(by_mm)
        self.bounds = solid.bounds + np.array([[-by_mm], [by_mm]])

    def evaluate(self, points: Points) -> np.ndarray:
        return points.distance(self.solid) - self.by_mm


class Bumpy(Solid):
    """A solid with a knobbly surface: bumps ``height_mm`` high, repeating every ``period_mm``."""

    def __init__(self, solid: Solid, height_mm: float, period_mm: float) -> None:
        self.solid, self.height_mm = solid, np.float32(height_mm)
        self.wave_number = np.float32(2 * np.pi / period_mm)
        self.bounds = solid.bounds + np.array([[-height_mm], [height_mm]])

    def evaluate(self, points: Points) -> np.ndarray:
        k = self.wave_number
        bumps = np.sin(k * points.x + np.sin(k * points.z))
        bumps *= np.sin(k * points.y + np.float32(1.7) * np.sin(k * points.x * np.float32(0.8)))
        bumps *= np.sin(k * points.z * np.float32(1.1) + np.float32(0.6))
        return points.distance(self.solid) + self.height_mm * bumps


def catmull_rom(knots: np.ndarray, step_mm: float) -> np.ndarray:
    """Points every ``step_mm`` or so along the spline through ``knots`` (N, 3 or more columns).

    The first three columns are (x, y, z) in mm; further ones are interpolated along.
    """
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    curve = []
    for before, start, end, after in zip(
        padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True
    ):
        pieces = max(1, int(np.ceil(np.linalg.norm((end - start)[:3]) / step_mm)))
        t = np.arange(pieces)[:, None] / pieces
        curve.append(
            start
            + 0.5 * t * (end - before)
            + t**2 * (before - 2.5 * start + 2 * end - 0.5 * after)
            + t**3 * (1.5 * (start - end) + 0.5 * (after - before))
        )
    return np.vstack([*curve, knots[-1:]])


def _rotation(turn_deg: Vector) -> np.ndarray:
    """Matrix that turns about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(np.asarray(turn_deg, float))):
        c, s = np.cos(angle), np.sin(angle)
        i, j = ((1, 2), (2, 0), (0, 1))[axis]
        turn = np.eye(3)
        turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


def _accumulate(
    level: np.ndarray, steepness: np.ndarray, own: np.ndarray, semi_axis: float, exponent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Add one axis to sum |u|^n and to sum (|u|^(n-1) / a)^2."""
    if exponent == 2:
        square = own * own
        return level + square, steepness + square * np.float32(1 / semi_axis**2)
    own = np.abs(own)
    power = own ** np.float32(exponent - 1)
    return level + power * own, steepness + np.square(power / np.float32(semi_axis))


def _first_order(level: np.ndarray, steepness: np.ndarray, exponent: float) -> np.ndarray:
    """Distance (rho - 1) / |grad rho| of the degree-one function rho = (sum |u|^n)^(1/n)."""
    tiny = np.float32(1e-12)  # the centre, where both sums vanish
    level = level + np.float32(1e-8)
    if exponent == 2:
        rho = np.sqrt(level)
        return (rho - 1) * rho / np.sqrt(steepness + tiny)
    rho = level ** np.float32(1 / exponent)
    return (rho - 1) * rho ** np.float32(exponent - 1) / np.sqrt(steepness + tiny)


def _smooth_minimum(first: np.ndarray, second: np.ndarray, blend_mm: float) -> np.ndarray:
    """Minimum, lowered by up to a quarter of ``blend_mm`` where the two are close."""
    low = np.minimum(first, second)
    if blend_mm:
        k = np.float32(blend_mm)
        low = low - np.square(np.maximum(k - np.abs(first - second), 0)) / (4 * k)
    return low
