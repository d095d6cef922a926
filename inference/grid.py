"""Where a volume's voxels lie in the patient, and the way to one canonical axis orientation.

Arrays are indexed (z, y, x). Physical coordinates are SimpleITK's: millimetres, LPS (x grows to the
patient's left, y to the back, z to the head). ARCHITECTURE.md has one page on it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from .types import Shape, Triple

Direction = tuple[float, float, float, float, float, float, float, float, float]

IDENTITY: Direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

ArrayT = TypeVar("ArrayT", bound=np.ndarray[Any, Any])


@dataclass(frozen=True)
class Grid:
    """The sampling grid of a volume.

    Attributes:
        shape: voxels along (z, y, x).
        spacing: millimetres between voxel centres along (z, y, x).
        origin: physical (x, y, z) of the centre of voxel (0, 0, 0), millimetres, LPS.
        direction: row-major 3x3 matrix as in SimpleITK; its columns are the physical unit vectors
            along which the array's x, y and z index grow.
    """

    shape: Shape
    spacing: Triple
    origin: Triple = (0.0, 0.0, 0.0)
    direction: Direction = IDENTITY

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def extent_mm(self) -> Triple:
        """Field of view along (z, y, x) in millimetres, voxel edge to voxel edge."""
        z, y, x = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return (z, y, x)

    def physical(self, index_ZYX: Triple) -> npt.NDArray[np.float64]:
        """Physical (x, y, z) in millimetres of a (fractional) voxel index (z, y, x)."""
        matrix = np.array(self.direction).reshape(3, 3)
        steps = np.array(index_ZYX[::-1]) * np.array(self.spacing[::-1])
        point: npt.NDArray[np.float64] = np.array(self.origin) + matrix @ steps
        return point

    def resampled_shape(self, spacing: Triple) -> Shape:
        """Shape of the grid of about ``spacing`` (z, y, x) that covers the same field of view.

        Edge-aligned: the field of view is kept exactly, so the spacing that results differs from
        the wish by less than half a voxel over the whole axis. At least one voxel per axis.
        """
        z, y, x = (
            max(1, round(n * old / new))
            for n, old, new in zip(self.shape, self.spacing, spacing, strict=True)
        )
        return (z, y, x)


@dataclass(frozen=True)
class Orientation:
    """The axis permutation and flips that bring an array to canonical LPS order, and back.

    Canonical: the x index grows to the patient's left, y to the back, z to the head (each to the
    nearest axis where the scan is oblique).

    Attributes:
        axes: for each canonical axis (z, y, x), the array axis that holds it.
        flips: for each canonical axis (z, y, x), whether it runs backwards in the array.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, direction: Direction) -> Orientation:
        """Orientation of an array whose index axes point along ``direction``'s columns.

        The permutation with the largest sum of absolute cosines is taken, so that three different
        axes come out however oblique the scan is.
        """
        cosines_XYZ = np.array(direction, dtype=float).reshape(3, 3)

        def closeness(columns: tuple[int, ...]) -> float:
            return float(sum(abs(cosines_XYZ[row, column]) for row, column in enumerate(columns)))

        best = max(itertools.permutations(range(3)), key=lambda c: round(closeness(c), 6))
        # Physical row r is canonical array axis 2 - r; matrix column c is array axis 2 - c.
        axes = (2 - best[2], 2 - best[1], 2 - best[0])
        flips = (
            bool(cosines_XYZ[2, best[2]] < 0),
            bool(cosines_XYZ[1, best[1]] < 0),
            bool(cosines_XYZ[0, best[0]] < 0),
        )
        return cls(axes, flips)

    @property
    def _flipped(self) -> tuple[slice, slice, slice]:
        z, y, x = (slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return (z, y, x)

    def apply(self, array: ArrayT) -> ArrayT:
        """The array in canonical order, as a view: nothing is copied."""
        return cast(ArrayT, array.transpose(self.axes)[self._flipped])

    def invert(self, canonical: ArrayT) -> ArrayT:
        """The exact inverse of :meth:`apply`, as a view."""
        back = (self.axes.index(0), self.axes.index(1), self.axes.index(2))
        return cast(ArrayT, canonical[self._flipped].transpose(back))

    def canonical(self, grid: Grid) -> Grid:
        """The grid of the canonical array: same voxels, same places in the patient."""
        corner = [0, 0, 0]
        for axis, flip in zip(self.axes, self.flips, strict=True):
            if flip:
                corner[axis] = grid.shape[axis] - 1
        old = np.array(grid.direction).reshape(3, 3)
        new = np.empty((3, 3))
        for canonical_axis, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            new[:, 2 - canonical_axis] = old[:, 2 - axis] * (-1 if flip else 1)
        origin = grid.physical((corner[0], corner[1], corner[2]))
        a, b, c = self.axes
        return Grid(
            shape=(grid.shape[a], grid.shape[b], grid.shape[c]),
            spacing=(grid.spacing[a], grid.spacing[b], grid.spacing[c]),
            origin=(float(origin[0]), float(origin[1]), float(origin[2])),
            direction=tuple(float(v) for v in new.ravel()),  # type: ignore[arg-type]
        )
