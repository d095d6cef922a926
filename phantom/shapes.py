"""The primitive solids: superellipsoids, the trunk's column, tubes along splines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from phantom.solids import FAR, MARGIN_MM, Points, Solid, Vector


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
            c - np.float32(m)
            for c, m in zip((points.x, points.y, points.z), self.center, strict=True)
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
        self.start, self.end = self.path[:-1] / self.stretch, self.path[1:] / self.stretch
        reach = self.radii[:, None] * self.stretch
        low, high = self.path - reach, self.path + reach
        self.low, self.high = np.minimum(low[:-1], low[1:]), np.maximum(high[:-1], high[1:])
        self.bounds = np.stack([self.low.min(axis=0), self.high.max(axis=0)])

    def evaluate(self, points: Points) -> np.ndarray:
        near = (self.low - MARGIN_MM <= points.box[1]) & (self.high + MARGIN_MM >= points.box[0])
        pieces = np.flatnonzero(near.all(axis=1))
        if not len(pieces):
            return FAR
        # For p on a segment from a along u: t = (p - a).u / u.u, and the squared distance to it is
        # |p - a|^2 - u.u t (2t - t'), t' = t clipped to 0..1; both are linear in (p, |p|^2, 1).
        center = points.box.mean(axis=0) / self.stretch
        own = np.ones((4, points.x.size), np.float32)
        for row, c in enumerate((points.x, points.y, points.z)):
            own[row] = c.ravel() / np.float32(self.stretch[row]) - np.float32(center[row])
        square = np.einsum("cn,cn->n", own[:3], own[:3])
        start = self.start[pieces] - center
        along = self.end[pieces] - self.start[pieces]
        length = np.maximum((along**2).sum(axis=1), 1e-6)
        to_start = np.column_stack([-2 * start, (start**2).sum(axis=1)])
        to_share = np.column_stack([along, -(start * along).sum(axis=1)]) / length[:, None]
        radius, growth = self.radii[pieces], self.radii[pieces + 1] - self.radii[pieces]

        nearest = np.full(points.x.size, FAR)
        chunk = max(1, 2**16 // points.x.size)
        for first in range(0, len(pieces), chunk):
            some = slice(first, first + chunk)
            distance = to_start[some].astype(np.float32) @ own
            distance += square
            share = to_share[some].astype(np.float32) @ own
            clipped = np.minimum(np.maximum(share, 0), 1)
            share *= 2
            share -= clipped
            share *= clipped
            share *= _column(length[some])
            distance -= share
            np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
            clipped *= _column(growth[some])
            distance -= clipped
            distance -= _column(radius[some])
            np.minimum(nearest, distance.min(axis=0), out=nearest)
        return nearest.reshape(points.x.shape)


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


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None]


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
