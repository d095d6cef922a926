"""Surface elements ("surfels") of a binary mask: where they lie and how large each one is.

A surfel sits on a corner between eight voxels that are neither all inside nor all outside the mask.
Its area is that of the marching-cubes surface between those eight voxels with the vertices at the
edge midpoints, the definition of google-deepmind/surface-distance (Nikolov et al. 2018,
arXiv:1809.04430). That package stores the triangles of all 256 neighbourhoods; here they follow
from 13 cases by symmetry, and the tests compare all 256 areas with the package's.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from inference.types import Triple

# One neighbourhood per case and the triangles and quadrilaterals of its surface, as the absolute
# components of their area vectors (z, y, x) in eighths of a voxel face. Bit 4z + 2y + x of the
# neighbourhood is the voxel at (z, y, x) of the 2x2x2 block.
_CASES: tuple[tuple[int, tuple[tuple[int, int, int], ...]], ...] = (
    (0b00000001, ((1, 1, 1),)),  # one corner
    (0b00000011, ((2, 2, 0), (2, 2, 0))),  # an edge
    (0b00000110, ((1, 1, 1), (1, 1, 1))),  # two corners across a face
    (0b00011000, ((1, 1, 1), (1, 1, 1))),  # two corners across the block
    (0b00000111, ((4, 0, 0), (2, 2, 2), (1, 1, 1))),  # three of a face
    (0b00010110, ((1, 1, 1), (1, 1, 1), (1, 1, 1))),  # three corners, none adjacent
    (0b00011001, ((0, 2, 2), (0, 2, 2), (1, 1, 1))),  # an edge and a far corner
    (0b00001111, ((4, 0, 0), (4, 0, 0))),  # a face
    (0b00010111, ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2))),  # a corner and its neighbours
    (0b00011011, ((3, 3, 3), (0, 2, 2), (2, 0, 2), (1, 1, 1))),  # a bent chain of four
    (0b00011110, ((4, 0, 0), (2, 2, 2), (1, 1, 1), (1, 1, 1))),  # three of a face and a far corner
    (0b00111100, ((2, 2, 0), (2, 2, 0), (2, 2, 0), (2, 2, 0))),  # two opposite edges
    (0b01101001, ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1))),  # four corners, none adjacent
)
_INSIDE = 255


def neighbourhoods(mask_ZYX: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Which of the eight voxels around each voxel corner lie in the mask, as a bit pattern.

    Args:
        mask_ZYX: boolean mask; outside the array counts as outside the mask.

    Returns:
        Array one longer along each axis. Element (z, y, x) is the corner between the voxels z - 1
        and z, y - 1 and y, x - 1 and x; its bit 4a + 2b + c is the voxel
        (z - 1 + a, y - 1 + b, x - 1 + c).
    """
    codes: NDArray[np.uint8] = np.pad(mask_ZYX.view(np.uint8), 1)
    codes = codes[:, :, :-1] | codes[:, :, 1:] << np.uint8(1)
    codes = codes[:, :-1] | codes[:, 1:] << np.uint8(2)
    return codes[:-1] | codes[1:] << np.uint8(4)


def on_surface(codes_ZYX: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where :func:`neighbourhoods` are neither all outside nor all inside: the surfels."""
    # Unsigned wrap-around sends 0 to 255, so that one comparison tests both ends.
    return codes_ZYX - np.uint8(1) < np.uint8(_INSIDE - 1)


@lru_cache(maxsize=64)
def surfel_areas(spacing_ZYX: Triple) -> NDArray[np.float64]:
    """Area in square millimetres of the surfel of each of the 256 neighbourhoods.

    Args:
        spacing_ZYX: voxel size along (z, y, x) in millimetres.

    Returns:
        Read-only array of 256 areas, indexed by :func:`neighbourhoods`; 0 for none and for all.
    """
    z, y, x = spacing_ZYX
    face_ZYX = np.array([y * x, z * x, z * y]) / 8.0
    areas = np.zeros(256)
    for code, vectors in _CASES:
        block = np.array([code >> bit & 1 for bit in range(8)]).reshape(2, 2, 2)
        for axes in itertools.permutations(range(3)):
            area = np.linalg.norm(np.array(vectors)[:, axes] * face_ZYX, axis=1).sum()
            for flips in itertools.product((1, -1), repeat=3):
                image = block.transpose(axes)[tuple(slice(None, None, step) for step in flips)]
                image_code = sum(int(bit) << place for place, bit in enumerate(image.ravel()))
                areas[[image_code, _INSIDE - image_code]] = area
    areas.flags.writeable = False
    return areas
