"""Whether labels can be an abdomen's at all."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from ..grid import Grid
from ..labels import NAMES

_AORTA = next(value for value, name in NAMES.items() if name == "aorta")
# On 26 abdominal and chest CTs of 40 to 480 mm a teacher's aorta is 1.2 to 5.9 % of all it labels;
# the first bundled model's is 0.2 % of what it draws into a head and 0.1 % into legs.
_LEAST_SHARE = 0.005
_LEAST_ML = 50.0


def doubts(labels_ZYX: npt.NDArray[np.uint8], grid: Grid) -> tuple[str, ...]:
    """A warning where much is labelled and next to nothing of it is aorta."""
    parts = [labels_ZYX[part] for part in product(*map(_alternate, labels_ZYX.shape))]
    ml = grid.voxel_ml * labels_ZYX.size / sum(part.size for part in parts)
    total = ml * sum(np.count_nonzero(part) for part in parts)
    aorta = ml * sum(np.count_nonzero(part == _AORTA) for part in parts)
    if total < _LEAST_ML or aorta >= _LEAST_SHARE * total:
        return ()
    return (
        f"{total:.0f} ml of organs are found and {aorta:.1f} ml of aorta: is there an abdomen?",
    )


def _alternate(size: int) -> tuple[slice, slice]:
    """Every other voxel of an axis from either end to the middle: of a scan that is turned round
    the same ones."""
    middle = size // 2
    return slice(0, size - middle, 2), slice(size - 1, middle - 1 if middle else None, -2)
