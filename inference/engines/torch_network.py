"""The network by torch: on CUDA in half precision, or on the CPU as the reference route."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from ..model.description import ModelDescription
from ..steps.windows import NoRoomError, Room
from ..types import Shape
from .device_memory import WINDOW_BYTES, window_bytes
from .gpu import Gpu
from .interface import HalfPrecisionError, Network, Precision
from .numpy_arrays import NumpyArrays
from .torch_arrays import TorchArrays
from .torch_forward import lean_forward
from .torch_settings import exact_cudnn, threads_within_quota
from .torch_unet import UNet

# Largest batch of windows (one of 128^3 nearly fills a large GPU already), and the share of free
# device memory that it may take.
_MAX_BATCH = 2
_MEMORY_SHARE = 0.5

# What CUDA, cuDNN and cuBLAS say where memory is short. cuDNN 9 does not always name the cause: its
# handle is "not initialized", or something "internal" fails, when the device is nearly full.
_NO_MEMORY = (
    "out of memory",
    "ALLOC_FAILED",
    "ALLOCATION_FAILED",
    "unable to find an engine",
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_INTERNAL_ERROR",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)


class TorchNetwork:
    """See :class:`.interface.Network`.

    Args:
        description, weights: the model.
        device: ``cpu`` or ``cuda:N``.
        resampler: ``torch`` or ``cupy``.
        precision: ``f32``, or ``auto`` for float16 on CUDA.
        on_cpu: makes the network of a precision that takes over where a GPU has no memory even for
            one window.

    Attributes:
        device: where it runs.
        gpu: the same, if it is one; what it says of its memory decides about windows.
        arrays: of that device.
        precision: as given; also of what takes over on the CPU.
        on_cpu: as given.
        dtype: of its numbers.
        compute: logits (N, labels, z, y, x) of a batch (N, inputs, z, y, x) by the network.
    """

    def __init__(
        self,
        description: ModelDescription,
        weights: bytes,
        device: str,
        resampler: str = "torch",
        precision: Precision = "auto",
        on_cpu: Callable[[Precision], Network] | None = None,
    ) -> None:
        self._description, self._weights, self.on_cpu = description, weights, on_cpu
        self.device = torch.device(device)
        cuda = self.device.type == "cuda"
        self.gpu = Gpu(self.device) if cuda else None
        self._resampler, self.precision = resampler, precision
        self.dtype = torch.float16 if cuda and precision == "auto" else torch.float32
        # On CUDA, cuDNN's 3D convolutions in half precision want channels last; on the CPU,
        # oneDNN's kernels for them are quicker (docs/LOG.md). cuDNN's float32 is at home in the
        # other layout.
        strict = cuda and self.dtype == torch.float32
        self._format = torch.contiguous_format if strict else torch.channels_last_3d
        self.arrays = TorchArrays(self.device, self.gpu, resampler)
        self.arrays.enter()
        network = UNet(description.architecture)
        network.load_state_dict(load_safetensors(weights))
        network.eval().to(self.device, self.dtype)
        network.to(memory_format=self._format)  # type: ignore[call-overload]
        self.compute: Callable[[Tensor], Tensor] = lambda batch: lean_forward(network, batch)
        self.batch = self._fitting_batch(self.gpu) if self.gpu else 1
        kind = ", float32" if strict else ""
        self.name = f"torch on {self.gpu.name if self.gpu else 'CPU'}{kind}"

    def prepare(self, window: Shape) -> None:
        """Nothing to do: torch takes any shape."""

    @torch.no_grad()
    def forward(self, windows: list[Tensor]) -> list[Tensor]:
        try:
            with exact_cudnn() if self.gpu else threads_within_quota():
                logits = self.compute(self.stacked(windows))
        except RuntimeError as error:
            if len(windows) == 1 or not _out_of_memory(error):
                raise
        else:
            # The sum is not finite where a value is not; in float32 it does not overflow.
            if self.dtype == torch.float16 and not logits.sum(dtype=torch.float32).isfinite():
                raise HalfPrecisionError(f"{self.name}: the logits are not finite")
            return list(logits.unbind())
        # Outside the handler, whose traceback would keep the failed batch's maps alive.
        half = self.batch = len(windows) // 2
        return self.forward(windows[:half]) + self.forward(windows[half:])

    def stacked(self, windows: list[Tensor]) -> Tensor:
        """The windows as the network's input (N, inputs, z, y, x), in its precision and layout."""
        return torch.stack(windows)[:, None].to(self.dtype, memory_format=self._format)

    @property
    def room(self) -> Room:
        net = self._description.architecture
        total = WINDOW_BYTES
        if self.gpu:
            # At least what one small window takes: what is too much after all falls back.
            free = int(self.gpu.free_bytes() * _MEMORY_SHARE)
            total = min(total, max(free, WINDOW_BYTES // 4))
        return Room(total, window_bytes(net, self.dtype.itemsize), firm=self.gpu is not None)

    def peak_memory(self) -> int | None:
        return self.gpu.peak_bytes() if self.gpu else None

    def fallback(self, error: Exception) -> Network | None:
        if isinstance(error, HalfPrecisionError):
            return TorchNetwork(
                self._description,
                self._weights,
                str(self.device),
                self._resampler,
                "f32",
                self.on_cpu,
            )
        short = _out_of_memory(error) or isinstance(error, NoRoomError)
        return HostNetwork(self) if self.gpu and short else None

    def _fitting_batch(self, gpu: Gpu) -> int:
        voxels = int(np.prod(self._description.patch))
        window = voxels * window_bytes(self._description.architecture, self.dtype.itemsize)
        return int(np.clip(gpu.free_bytes() * _MEMORY_SHARE // window, 1, _MAX_BATCH))


class HostNetwork:
    """The network on CUDA window by window, everything else in NumPy: for when memory is short."""

    batch = 1

    def __init__(self, network: TorchNetwork) -> None:
        self._network = network
        self.arrays = _HostArrays(network.arrays)
        self.name = f"{network.name}, accumulating on the CPU"

    @property
    def room(self) -> Room:
        """The device's for the network; main memory gives what the accumulator needs beyond it."""
        return self._network.room._replace(firm=False)

    def prepare(self, window: Shape) -> None:
        """Nothing to do: torch takes any shape."""

    def forward(self, windows: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        device = self._network.arrays
        on_device = [device.array(np.ascontiguousarray(window)) for window in windows]
        return [device.numpy(logits) for logits in self._network.forward(on_device)]

    def peak_memory(self) -> int | None:
        return self._network.peak_memory()

    def fallback(self, error: Exception) -> Network | None:
        if isinstance(error, HalfPrecisionError):
            full = self._network.fallback(error)
            assert isinstance(full, TorchNetwork)
            return HostNetwork(full)
        on_cpu = self._network.on_cpu
        return on_cpu(self._network.precision) if on_cpu and _out_of_memory(error) else None


class _HostArrays(NumpyArrays):
    """NumPy's, for threads that use the device, too."""

    def __init__(self, device: TorchArrays) -> None:
        self._device = device

    def enter(self) -> None:
        self._device.enter()

    def leave(self) -> None:
        self._device.leave()


def _out_of_memory(error: Exception) -> bool:
    """Whether a device ran out of memory, in any of the words that CUDA and cuDNN have for it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _NO_MEMORY)
