"""Whether a training scan is in Hounsfield units. One that is not would shift the fingerprint, and
with it every scan's normalisation."""

from __future__ import annotations

import numpy as np

from inference.types import Image, Labels

# Contrast in the aorta comes to 500 HU; organs with an offset of 1024 begin at about 1000.
_HIGHEST_MEDIAN_HU = 700.0
# Every abdominal CT shows fat or air: this share of its voxels, below this.
_FAT_HU, _FAT_SHARE = -30.0, 0.005


def scale_problem(voxels_ZYX: Image, labels_ZYX: Labels) -> str | None:
    """Why the values can be no HU, or None.

    Args:
        voxels_ZYX: of the scan.
        labels_ZYX: on the same grid; any label but 0 is foreground.
    """
    foreground = voxels_ZYX[labels_ZYX > 0]
    median = float(np.median(foreground)) if foreground.size else 0.0
    if median > _HIGHEST_MEDIAN_HU:
        return f"what is labelled has a median of {median:g}: HU are stored with an offset"
    if float((voxels_ZYX < _FAT_HU).mean()) < _FAT_SHARE:
        lowest, highest = float(voxels_ZYX.min()), float(voxels_ZYX.max())
        return (
            f"the values lie in {lowest:g} to {highest:g} and hardly one below {_FAT_HU:g}, where "
            "fat and air are: they are no HU, or stored with an offset"
        )
    return None
