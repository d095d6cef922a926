"""Any grid's view of an anatomy: image and exact labels, painted block by block."""

from __future__ import annotations

import itertools

import numpy as np

from inference.grid import Grid
from phantom.anatomy import Anatomy
from phantom.appearance import TISSUES, GridWaves, Phase, noise_filter, noise_slice
from phantom.solids import Points

BLOCK_MM = 48.0
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
    labels = np.empty(grid.shape, np.uint8)
    painter = _Painter(anatomy, grid, phase)
    edges = [min(36, max(16, round(BLOCK_MM / s))) for s in grid.spacing]
    axes = [
        [(start, min(start + edge, length)) for start in range(0, length, edge)]
        for length, edge in zip(grid.shape, edges, strict=True)
    ]
    for (y_start, y_stop), (x_start, x_stop), (z_start, z_stop) in itertools.product(
        axes[1], axes[2], axes[0]
    ):
        where = np.s_[z_start:z_stop, y_start:y_stop, x_start:x_stop]
        image[where], labels[where] = painter.block(
            (z_start, y_start, x_start), (z_stop, y_stop, x_stop)
        )
    filter_YX = noise_filter(grid.shape[1:], grid.spacing[1:])
    for z, slice_YX in enumerate(image):
        rng = np.random.default_rng([anatomy.seed, NOISE_STREAM, z])
        noise = noise_slice(filter_YX, grid.shape[1:], rng)
        noise *= np.float32(noise_hu)
        noise += slice_YX
        np.rint(np.clip(noise, -1024, 3071, out=noise), out=noise)
        image[z] = noise
    return image, labels


class _Painter:
    """Paints blocks of one scan."""

    def __init__(self, anatomy: Anatomy, grid: Grid, phase: Phase) -> None:
        self.anatomy, self.grid = anatomy, grid
        self.texture: GridWaves = anatomy.texture.on(grid)
        self.deformation: GridWaves = anatomy.deformation.on(grid)
        self.hu = {name: tissue.hu(phase, anatomy.gain) for name, tissue in TISSUES.items()}

    def block(self, starts: Index, stops: Index) -> tuple[np.ndarray, np.ndarray]:
        """(HU without noise, labels uint8) of a block of voxels.

        Structures are taken from the last painted to the first, each seen through what the later
        ones leave of the voxel, until nothing is left.
        """
        points = self._points(starts, stops)
        texture = self.texture.block(starts, stops)[0]
        specks = np.clip(2.5 * (texture - 1.75), 0, 1)
        hu = np.zeros(texture.shape, np.float32)
        labels = np.zeros(texture.shape, np.uint8)
        unlabelled = np.ones(texture.shape, bool)
        left = np.ones(texture.shape, np.float32)
        for structure in reversed(self.anatomy.structures):
            distance = points.distance(structure.solid)
            share = _share(distance) if np.ndim(distance) else None
            if share is None:
                continue
            if structure.label is not None:
                inside = unlabelled & (distance[1:-1, 1:-1, 1:-1] <= 0)
                labels[inside] = structure.label
                unlabelled &= ~inside
            share *= left
            left -= share
            tissue = TISSUES[structure.tissue]
            own = self.hu[structure.tissue] + np.float32(tissue.texture) * texture
            if tissue.speck:
                own += np.float32(tissue.speck) * specks
            own *= share
            hu += own
            if left.max() < 1e-4:
                break
        hu += left * np.float32(self.hu["air"])
        return np.rint(hu), labels

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
