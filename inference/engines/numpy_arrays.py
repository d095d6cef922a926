"""A scan's arrays in main memory, as NumPy's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..model.description import Intensity
from ..steps.bfloat16 import as_float32
from ..steps.decode import Decoder, numpy_decoder
from ..steps.resample import resample_image
from ..types import Box, Decode, Image, Shape


class NumpyArrays:
    """See :class:`.interface.Arrays` for what each method is for."""

    exclusive = False

    def enter(self) -> None:
        """Nothing to do: any thread may use any array."""

    def leave(self) -> None:
        """Nothing to do: memory goes back as arrays end."""

    def network_image(
        self, image_ZYX: Image, intensity: Intensity, shape: Shape, region: Box | None = None
    ) -> npt.NDArray[np.generic]:
        return resample_image(image_ZYX, intensity, shape, region)

    def settle(self) -> None:
        """Nothing to do: every call has done its work when it returns."""

    def zeros(self, shape: Shape) -> npt.NDArray[np.float32]:
        return np.zeros(shape, np.float32)

    def sums(self, channels: int, shape: Shape) -> npt.NDArray[np.float32]:
        return np.moveaxis(np.zeros((*shape, channels), np.float32), -1, 0)

    def array(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return values

    def numpy(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = as_float32(array)
        return values

    def take(
        self, array: npt.NDArray[np.generic], index: npt.NDArray[np.int64], axis: int
    ) -> npt.NDArray[np.generic]:
        return array.take(index, axis)

    def decoder(self, mode: Decode, network: Shape, scan: Shape, region: Box) -> Decoder:
        return numpy_decoder(mode, network, scan, region)
