"""A coarse look at a scan and its labels: all that doubts are judged by."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..grid import Grid, Orientation
from ..labels import ORGANS
from ..machine.threads import in_threads
from ..steps.organs import Evidence
from ..types import Image, Labels
from .extents import Extent, extents
from .hounsfield import Hounsfield, hounsfield_by_label
from .laterality import liver_like_ml

# Labels are looked at on a grid of about this spacing.
_COARSE_MM = 3.0


@dataclass(frozen=True, slots=True)
class Look:
    """A coarse look at a scan and its labels, on which everything is judged.

    Attributes:
        found: extents by label.
        hu: by label.
        grid: of both, in canonical LPS order.
        evidence: of the run.
        liver_like_ml: tissue as bright as the liver, on the right and on the left.
        specks_ml: volumes of organs of which the coarse look meets no voxel.
    """

    found: Mapping[int, Extent]
    hu: Mapping[int, Hounsfield]
    grid: Grid
    evidence: Evidence = field(default_factory=Evidence)
    liver_like_ml: tuple[float, float] = (0.0, 0.0)
    specks_ml: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def at(cls, labels_ZYX: Labels, image_ZYX: Image, grid: Grid, evidence: Evidence) -> Look:
        """At every n-th voxel of a scan of any axis order."""
        orientation, whole_ZYX = Orientation.of(grid.direction), labels_ZYX
        grid = orientation.canonical(grid)
        steps = [max(1, round(_COARSE_MM / s)) for s in grid.spacing]
        # From the middle of the first few voxels on, so that the coarse ones have their middles.
        firsts = [min(step // 2, n - 1) for step, n in zip(steps, grid.shape, strict=True)]
        every = tuple(slice(first, None, step) for first, step in zip(firsts, steps, strict=True))
        labels_ZYX = orientation.apply(labels_ZYX)[every]
        image_ZYX = orientation.apply(image_ZYX)[every]
        z, y, x = labels_ZYX.shape
        dz, dy, dx = (s * step for s, step in zip(grid.spacing, steps, strict=True))
        coarse = Grid((z, y, x), (dz, dy, dx), direction=grid.direction)
        found, _ = extents(labels_ZYX)
        hu = hounsfield_by_label(labels_ZYX, image_ZYX)
        specks = {k: n * grid.voxel_ml for k, n in _voxels_of(whole_ZYX, set(ORGANS) - set(found))}
        liver_like = liver_like_ml(labels_ZYX, image_ZYX, coarse)
        return cls(found, hu, coarse, evidence, liver_like, specks)

    def ml(self, label: int) -> float:
        """Volume."""
        return self.found[label].voxels * self.grid.voxel_ml if label in self.found else 0.0


def _voxels_of(labels_ZYX: Labels, wanted: Collection[int]) -> Iterator[tuple[int, int]]:
    """Those of ``wanted`` labels that are there, each with the number of its voxels."""
    if not wanted:
        return
    asked = np.zeros(256, bool)
    asked[list(wanted)] = True
    planes = in_threads(lambda z: labels_ZYX[z][asked[labels_ZYX[z]]], range(len(labels_ZYX)))
    counts = np.bincount(np.concatenate(planes), minlength=256)
    for label in np.flatnonzero(counts):
        yield int(label), int(counts[label])
