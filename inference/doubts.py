"""Whether labels can be an abdomen's at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inference.grid import Grid
from inference.labels import NAMES

_AORTA = next(value for value, name in NAMES.items() if name == "aorta")
# On 26 abdominal and chest CTs of 40 to 480 mm a teacher's aorta is 1.2 to 5.9 % of all it labels;
# the first bundled model's is 0.2 % of what it draws into a head and 0.1 % into legs.
_LEAST_SHARE = 0.005
_LEAST_ML = 50.0


def doubts(labels_ZYX: npt.NDArray[np.uint8], grid: Grid) -> tuple[str, ...]:
    """A warning where much is labelled and next to nothing of it is aorta."""
    coarse = labels_ZYX[::2, ::2, ::2]
    ml = 8 * grid.voxel_ml
    total = float(np.count_nonzero(coarse)) * ml
    aorta = float(np.count_nonzero(coarse == _AORTA)) * ml
    if total < _LEAST_ML or aorta >= _LEAST_SHARE * total:
        return ()
    return (
        f"{total:.0f} ml of organs are found and {aorta:.1f} ml of aorta: is there an abdomen?",
    )
