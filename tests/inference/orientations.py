"""Directions to test with: the 48 along the axes, and any others."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from inference.grid import Direction


def direction_of(matrix: np.ndarray) -> Direction:
    """A 3x3 matrix as Grid has it."""
    return tuple(float(value) + 0.0 for value in np.asarray(matrix).ravel())  # type: ignore


def _axis_aligned() -> list[Direction]:
    directions = []
    for columns in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[columns, range(3)] = signs
            directions.append(direction_of(matrix))
    return directions


AXIS_ALIGNED = _axis_aligned()


def rotation(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    """Rotation matrix of a quaternion of any length."""
    a, b, c, d = np.array(quaternion) / np.linalg.norm(quaternion)
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )


@st.composite
def rotations(draw: st.DrawFn) -> np.ndarray:
    """Any rotation matrix."""
    part = st.floats(-1, 1, allow_nan=False)
    quaternion = draw(st.tuples(part, part, part, part).filter(lambda q: np.linalg.norm(q) > 0.1))
    return rotation(quaternion)


@st.composite
def oblique(draw: st.DrawFn) -> Direction:
    """Any direction, left-handed ones included."""
    flip = draw(st.sampled_from((1, -1)))
    return direction_of(draw(rotations()) * (1, 1, flip))
