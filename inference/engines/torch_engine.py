"""The network by torch: on CUDA in half precision, or on the CPU as the reference route."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from ..model.description import Decode, Intensity, ModelDescription
from ..steps.decode import Decoder
from ..steps.windows import NoRoomError, Room
from ..types import Box, Image, Shape
from .choice import choose_device, load_engine
from .device_memory import WINDOW_BYTES, window_bytes
from .interface import Engine, HalfPrecisionError, Precision
from .numpy_arrays import NumpyArrays
from .torch_forward import lean_forward
from .torch_settings import exact_cudnn, threads_within_quota
from .torch_steps import resample_image, torch_decoder
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


class TorchEngine:
    """See :class:`.interface.Engine`.

    Several scans on the device at once would each need memory there, so ``exclusive``.

    Args:
        description, weights: the model.
        device: ``cpu`` or ``cuda:N``.
        resampler: ``torch`` or ``cupy``.
        precision: ``f32``, or ``auto`` for float16 on CUDA.
    """

    exclusive = True

    def __init__(
        self,
        description: ModelDescription,
        weights: bytes,
        device: str,
        resampler: str = "torch",
        precision: Precision = "auto",
    ) -> None:
        self._description, self._weights = description, weights
        self.device = torch.device(device)
        self._cuda = self.device.type == "cuda"
        self._resampler, self._precision = resampler, precision
        self._type = torch.float16 if self._cuda and precision == "auto" else torch.float32
        # On CUDA, cuDNN's 3D convolutions in half precision want channels last; on the CPU,
        # oneDNN's kernels for them are quicker (docs/LOG.md). cuDNN's float32 is at home in the
        # other layout.
        strict = self._cuda and self._type == torch.float32
        self._format = torch.contiguous_format if strict else torch.channels_last_3d
        self.enter()
        network = UNet(description.architecture)
        network.load_state_dict(load_safetensors(weights))
        self._network = network.eval().to(self.device, self._type)
        self._network.to(memory_format=self._format)  # type: ignore[call-overload]
        self.batch = self._fitting_batch(description) if self._cuda else 1
        name = torch.cuda.get_device_name(self.device) if self._cuda else "CPU"
        kind = ", float32" if self._cuda and self._type == torch.float32 else ""
        self.name = f"torch on {name}{kind}"

    def enter(self) -> None:
        if self.device.type == "cuda":  # a setting of each thread
            torch.cuda.set_device(self.device)

    def leave(self) -> None:
        # Others measure, and may need, what torch keeps while labels are tidied and written.
        if self._cuda:
            torch.cuda.empty_cache()

    def network_image(
        self, image_ZYX: Image, intensity: Intensity, shape: Shape, region: Box | None = None
    ) -> Tensor:
        if self._resampler == "cupy":
            from .cupy_steps import resample_image as cupy_resample

            return cupy_resample(image_ZYX, intensity, shape, self.device, region=region)
        return resample_image(image_ZYX, intensity, shape, self.device, region)

    def prepare(self, window: Shape) -> None:
        """Nothing to do: torch takes any shape."""

    @torch.no_grad()
    def forward(self, windows: list[Tensor]) -> list[Tensor]:
        try:
            with exact_cudnn() if self._cuda else threads_within_quota():
                logits = self._logits(windows)
        except RuntimeError as error:
            if len(windows) == 1 or not _out_of_memory(error):
                raise
        else:
            # The sum is not finite where a value is not; in float32 it does not overflow.
            if self._type == torch.float16 and not logits.sum(dtype=torch.float32).isfinite():
                raise HalfPrecisionError(f"{self.name}: the logits are not finite")
            return list(logits.unbind())
        # Outside the handler, whose traceback would keep the failed batch's maps alive.
        half = self.batch = len(windows) // 2
        return self.forward(windows[:half]) + self.forward(windows[half:])

    def _logits(self, windows: list[Tensor]) -> Tensor:
        batch = torch.stack(windows)[:, None].to(self._type, memory_format=self._format)
        return self._network_logits(batch)

    def _network_logits(self, batch: Tensor) -> Tensor:
        return lean_forward(self._network, batch)

    def settle(self) -> None:
        if self._cuda:
            torch.cuda.synchronize(self.device)

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

    @property
    def room(self) -> Room:
        net = self._description.architecture
        total = WINDOW_BYTES
        if self._cuda:
            # At least what one small window takes: what is too much after all falls back.
            total = min(total, max(int(self._free() * _MEMORY_SHARE), WINDOW_BYTES // 4))
        return Room(total, window_bytes(net, self._type.itemsize), firm=self._cuda)

    def peak_memory(self) -> int | None:
        if not self._cuda:
            return None
        # All that is in use on the device, CUDA's own context included; torch keeps what it frees.
        try:
            free, total = torch.cuda.mem_get_info(self.device)
            return max(total - free, torch.cuda.max_memory_reserved(self.device))
        except RuntimeError:  # a device that has failed answers nothing any more
            return None

    def fallback(self, error: Exception) -> Engine | None:
        if isinstance(error, HalfPrecisionError):
            return TorchEngine(
                self._description, self._weights, str(self.device), self._resampler, "f32"
            )
        short = _out_of_memory(error) or isinstance(error, NoRoomError)
        return HostEngine(self) if self._cuda and short else None

    def cpu_engine(self) -> Engine:
        """The same model on the CPU."""
        return load_engine(
            self._description, self._weights, choose_device("cpu"), precision=self._precision
        )

    def _fitting_batch(self, description: ModelDescription) -> int:
        voxels = int(np.prod(description.patch))
        window = voxels * window_bytes(description.architecture, self._type.itemsize)
        return int(np.clip(self._free() * _MEMORY_SHARE // window, 1, _MAX_BATCH))

    def _free(self) -> int:
        """Bytes that the device has left, with those that torch keeps for itself but does not use.

        Otherwise a second scan would be cut into other windows than the first.
        """
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(free + kept)


class HostEngine(NumpyArrays):
    """The network on CUDA window by window, everything else in NumPy: for when memory is short."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine
        self.name = f"{engine.name}, accumulating on the CPU"

    def enter(self) -> None:
        self._engine.enter()

    def leave(self) -> None:
        self._engine.leave()

    @property
    def room(self) -> Room:
        """The device's for the network; main memory gives what the accumulator needs beyond it."""
        return self._engine.room._replace(firm=False)

    def forward(self, windows: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        on_device = [self._engine.array(np.ascontiguousarray(window)) for window in windows]
        return [self._engine.numpy(logits) for logits in self._engine.forward(on_device)]

    def peak_memory(self) -> int | None:
        return self._engine.peak_memory()

    def fallback(self, error: Exception) -> Engine | None:
        if isinstance(error, HalfPrecisionError):
            full = self._engine.fallback(error)
            assert isinstance(full, TorchEngine)
            return HostEngine(full)
        return self._engine.cpu_engine() if _out_of_memory(error) else None


def _out_of_memory(error: Exception) -> bool:
    """Whether a device ran out of memory, in any of the words that CUDA and cuDNN have for it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _NO_MEMORY)
