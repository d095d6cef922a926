"""A scan's arrays as torch tensors, on CUDA or on the CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..model.description import Intensity
from ..steps.decode import Decoder
from ..types import Box, Decode, Image, Shape
from .gpu import Gpu
from .torch_steps import resample_image, torch_decoder


class TorchArrays:
    """See :class:`.interface.Arrays`. Several scans on a GPU at once would each need memory there,
    so ``exclusive``.

    Args:
        device: where the tensors are.
        gpu: the same, if it is one.
        resampler: ``torch`` or ``cupy``.
    """

    exclusive = True

    def __init__(self, device: torch.device, gpu: Gpu | None, resampler: str = "torch") -> None:
        self.device, self._gpu, self._resampler = device, gpu, resampler

    def enter(self) -> None:
        if self._gpu:
            self._gpu.make_current()

    def leave(self) -> None:
        # Others measure, and may need, what torch keeps while labels are tidied and written.
        if self._gpu:
            self._gpu.give_back()

    def settle(self) -> None:
        if self._gpu:
            self._gpu.synchronize()

    def network_image(
        self, image_ZYX: Image, intensity: Intensity, shape: Shape, region: Box | None = None
    ) -> Tensor:
        if self._resampler == "cupy":
            from .cupy_steps import resample_image as cupy_resample

            return cupy_resample(image_ZYX, intensity, shape, self.device, region=region)
        return resample_image(image_ZYX, intensity, shape, self.device, region)

    def zeros(self, shape: Shape) -> Tensor:
        return torch.zeros(shape, device=self.device)

    def sums(self, channels: int, shape: Shape) -> Tensor:
        return torch.zeros((channels, *shape), device=self.device)

    def array(self, values: npt.NDArray[np.float32]) -> Tensor:
        return torch.tensor(values, device=self.device)

    def numpy(self, array: Tensor) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = array.float().cpu().numpy()
        return values

    def take(self, array: Tensor, index: npt.NDArray[np.int64], axis: int) -> Tensor:
        return array.index_select(axis, torch.tensor(index, device=array.device))

    def decoder(self, mode: Decode, network: Shape, scan: Shape, region: Box) -> Decoder:
        if mode == "linear" and self._resampler == "cupy":
            from .cupy_steps import CupyLinearDecoder

            return CupyLinearDecoder(network, scan, region, self.device)
        return torch_decoder(mode, network, scan, region, self.device)
