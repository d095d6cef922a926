"""Any grid's view of an anatomy: image and exact labels, painted block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from examples.phantom.anatomy import Anatomy
from examples.phantom.appearance import TISSUES, GridWaves, Phase, noise_slice
from examples.phantom.solids import Points
from inference.grid import Grid

BLOCK_MM = 56.0
PSF_MM = 0.7  # blur of a sharp edge by the scanner, besides that by the voxel's size
NOISE_STREAM = 99
Index = tuple[int, int, int]


def sample(
    anatomy: Anatomy, grid: Grid, *, phase: Phase = "portal", noise_hu: float = 12.0
) -> tuple[np.ndarray, np.ndarray]:
    """Scan an anatomy on a grid.

    Labels are those of the voxel centres. HU are mixed at borders by the share of the voxel that
    each tissue takes up; noise belongs to the scan, not to the patient.

    Args:
        anatomy: the patient.
        grid: any shape, spacing, place and direction.
        phase: contrast phase.
        noise_hu: standard deviation of the noise, HU.

    Returns:
        (image int16 HU, labels uint8), both (z, y, x).
    """
    image = np.empty(grid.shape, np.int16)
    labels = np.zeros(grid.shape, np.uint8)
    painter = _Painter(anatomy, grid, phase)
    edges = [min(64, max(10, round(BLOCK_MM / s))) for s in grid.spacing]
    for z_start, z_stop in _ranges(grid.shape[0], edges[0]):
        slab = np.empty((z_stop - z_start, *grid.shape[1:]), np.float32)
        for y_start, y_stop in _ranges(grid.shape[1], edges[1]):
            for x_start, x_stop in _ranges(grid.shape[2], edges[2]):
                where = (slice(y_start, y_stop), slice(x_start, x_stop))
                hu, values = painter.block((z_start, y_start, x_start), (z_stop, y_stop, x_stop))
                slab[:, *where] = hu
                labels[z_start:z_stop, *where] = values
        for offset, z in enumerate(range(z_start, z_stop)):
            rng = np.random.default_rng([anatomy.seed, NOISE_STREAM, z])
            noise = noise_slice(grid.shape[1:], grid.spacing[1:], rng)
            noisy = slab[offset] + np.float32(noise_hu) * noise
            image[z] = np.rint(np.clip(noisy, -1024, 3071))
    return image, labels


def _ranges(length: int, edge: int) -> Iterator[tuple[int, int]]:
    for start in range(0, length, edge):
        yield start, min(start + edge, length)


class _Painter:
    """Paints blocks of one scan."""

    def __init__(self, anatomy: Anatomy, grid: Grid, phase: Phase) -> None:
        self.anatomy, self.grid = anatomy, grid
        self.texture: GridWaves = anatomy.texture.on(grid)
        self.deformation: GridWaves = anatomy.deformation.on(grid)
        self.hu = {name: tissue.hu(phase, anatomy.gain) for name, tissue in TISSUES.items()}

    def block(self, starts: Index, stops: Index) -> tuple[np.ndarray, np.ndarray]:
        """(HU float32, labels uint8) of a block of voxels."""
        points = self._points(starts, stops)
        texture = self.texture.block(starts, stops)[0]
        specks = np.clip(2.5 * (texture - 1.75), 0, 1)
        hu = np.full(texture.shape, self.hu["air"], np.float32)
        labels = np.zeros(texture.shape, np.uint8)
        for structure in self.anatomy.structures:
            distance = points.distance(structure.solid)
            if np.ndim(distance) == 0:
                continue
            share = _share(distance)
            if share is None:
                continue
            tissue = TISSUES[structure.tissue]
            own = self.hu[structure.tissue] + np.float32(tissue.texture) * texture
            if tissue.speck:
                own += np.float32(tissue.speck) * specks
            own -= hu
            own *= share
            hu += own
            if structure.label is not None:
                labels[distance[1:-1, 1:-1, 1:-1] <= 0] = structure.label
        return hu, labels

    def _points(self, starts: Index, stops: Index) -> Points:
        """The block's voxel centres and one more voxel all round."""
        low, high = tuple(s - 1 for s in starts), tuple(s + 1 for s in stops)
        indices = [np.arange(a, b, dtype=np.float64) for a, b in zip(low, high, strict=True)]
        matrix = np.array(self.grid.direction).reshape(3, 3)
        along = []
        for axis, (index, step) in enumerate(zip(indices, self.grid.spacing, strict=True)):
            shape = [3, 1, 1, 1]
            shape[axis + 1] = len(index)
            along.append((matrix[:, 2 - axis, None] * index * step).reshape(shape))
        origin = np.array(self.grid.origin).reshape(3, 1, 1, 1)
        room = (origin + along[0] + along[1] + along[2]).astype(np.float32)
        scale = self.anatomy.scale.astype(np.float32).reshape(3, 1, 1, 1)
        reference = room / scale
        reference += self.deformation.block(low, high)
        return Points(tuple(reference), tuple(room))


def _share(distance: np.ndarray) -> np.ndarray | None:
    """Share (0..1) of each inner voxel that lies inside; None where none does.

    A plane at distance d from a voxel's centre cuts it if |d| is less than half the sum of the
    changes of d along the three axes, whatever the scale of d.
    """
    inner = distance[1:-1, 1:-1, 1:-1]
    width = np.abs(distance[2:, 1:-1, 1:-1] - distance[:-2, 1:-1, 1:-1])
    width += np.abs(distance[1:-1, 2:, 1:-1] - distance[1:-1, :-2, 1:-1])
    width += np.abs(distance[1:-1, 1:-1, 2:] - distance[1:-1, 1:-1, :-2])
    width *= np.float32(0.5)
    width += np.float32(PSF_MM)
    share = np.clip(np.float32(0.5) - inner / width, 0, 1)
    return share if share.any() else None
