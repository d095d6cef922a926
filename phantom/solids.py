"""Solids in the patient, as distances: negative inside, zero on the surface, millimetres near it.

A solid is evaluated on :class:`Points`, a small block of sampling points. Distances are exact for
tubes, first-order for the rest; farther than ``MARGIN_MM`` outside they may be just ``FAR``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

MARGIN_MM = 12.0
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
        self._low, self._high = self.box.tolist()
        self._known: dict[tuple[int, float], np.ndarray] = {}

    def distance(self, solid: Solid, reach_mm: float = MARGIN_MM) -> np.ndarray:
        """Distance to ``solid`` in mm; the scalar FAR if no point is within ``reach_mm`` of it."""
        key = (id(solid), reach_mm)
        if key not in self._known:
            low, high = solid.bounds.tolist()
            apart = any(
                self._low[axis] > high[axis] + reach_mm or self._high[axis] < low[axis] - reach_mm
                for axis in range(3)
            )
            self._known[key] = FAR if apart else solid.evaluate(self)
        return self._known[key]


class Solid(ABC):
    """A region of the body; ``bounds`` (2, 3) is a box around it in reference mm, (x, y, z)."""

    bounds: np.ndarray = EVERYWHERE

    @abstractmethod
    def evaluate(self, points: Points) -> np.ndarray:
        """Signed distance in mm, shape of ``points.x``."""

    def __and__(self, other: Solid) -> Solid:
        return Intersection(self, other)

    def __or__(self, other: Solid) -> Solid:
        return Union([self, other])

    def __sub__(self, other: Solid) -> Solid:
        return Intersection(self, Outside(other))


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
            distance = points.distance(part, MARGIN_MM + self.blend_mm)
            nearest = _smooth_minimum(nearest, distance, self.blend_mm)
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


def _smooth_minimum(first: np.ndarray, second: np.ndarray, blend_mm: float) -> np.ndarray:
    """Minimum, lowered by up to a quarter of ``blend_mm`` where the two are close."""
    low = np.minimum(first, second)
    if blend_mm:
        k = np.float32(blend_mm)
        low = low - np.square(np.maximum(k - np.abs(first - second), 0)) / (4 * k)
    return low
