"""A small coronal picture of a scan with its labels, for the list of a folder's cases."""

from __future__ import annotations

import base64

import numpy as np

from ...labels import BACKGROUND, COLORS
from .png import indexed_png
from .reduced import Reduced

_SIDE_PX = 96
_WINDOW_HU = (-160.0, 240.0)
_GRAYS = 64
_OPACITY = 0.6


def thumbnail(reduced: Reduced) -> str:
    """A data URI: the coronal slice that shows most structures, head up, right side on the left."""
    labels_ZYX = reduced.labels_ZYX
    shown = np.zeros(labels_ZYX.shape[1])
    for label in COLORS:
        area = np.count_nonzero(labels_ZYX == label, axis=(0, 2))
        shown += area / max(1, area.max()) + (area > 0)
    y = int(shown.argmax()) if shown.any() else labels_ZYX.shape[1] // 2
    z_mm, _, x_mm = reduced.grid.extent_mm
    scale = _SIDE_PX / max(z_mm, x_mm)
    rows, columns = (max(1, round(mm * scale)) for mm in (z_mm, x_mm))
    z = np.arange(rows)[::-1] * labels_ZYX.shape[0] // rows
    x = np.arange(columns) * labels_ZYX.shape[2] // columns
    low, high = _WINDOW_HU
    gray = (reduced.image_ZYX[:, y][np.ix_(z, x)] - low) / (high - low) * (_GRAYS - 1)
    gray = gray.clip(0, _GRAYS - 1).astype(np.uint8)
    values = labels_ZYX[:, y][np.ix_(z, x)]
    # Grays first, then a mid-tone and a bright tone of each label.
    grays = np.arange(_GRAYS) * 255 / (_GRAYS - 1)
    palette = np.repeat(grays[:, None], 3, axis=1)
    for color in COLORS.values():
        for tone in (70.0, 150.0):
            mixed = (1 - _OPACITY) * tone + _OPACITY * np.array(color)
            palette = np.vstack((palette, mixed))
    order = np.zeros(256, np.uint8)
    order[list(COLORS)] = np.arange(len(COLORS))
    colored = _GRAYS + 2 * order[values] + (gray > _GRAYS // 2)
    indices = np.where(values == BACKGROUND, gray, colored).astype(np.uint8)
    return (
        "data:image/png;base64,"
        + base64.b64encode(indexed_png(indices, palette.astype(np.uint8))).decode()
    )
