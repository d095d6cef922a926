"""The types of arrays, places and choices that all rooms share. Arrays are indexed (z, y, x)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Shape = tuple[int, int, int]  # voxels along (z, y, x)
Triple = tuple[float, float, float]
Box = tuple[slice, slice, slice]  # a part (z, y, x) of an image

Array = Any  # numpy.ndarray or torch.Tensor: the engine decides
Image = npt.NDArray[np.int16] | npt.NDArray[np.float32]  # HU
Labels = npt.NDArray[np.uint8]  # values of labels.NAMES, 0 is background
Logits = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

Decode = Literal["nearest", "linear"]  # to the scan's grid: of the labels, or of the logits
DECODES: tuple[str, ...] = get_args(Decode)
