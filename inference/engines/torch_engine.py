"""The network by torch: on CUDA in half precision, or on the CPU as the reference route."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from inference.decode import Decoder
from inference.description import Decode, Intensity, ModelDescription
from inference.engines import Engine, Precision, choose_device, load_engine
from inference.engines.numpy_arrays import NumpyArrays
from inference.engines.torch_steps import resample_image, torch_decoder
from inference.grid import Shape
from inference.network import UNet
from inference.resample import Image
from inference.windows import Box

# Largest batch of windows (one of 128^3 nearly fills a large GPU already), and the share of free
# device memory that it may take.
_MAX_BATCH = 2
_MEMORY_SHARE = 0.5
# Bytes per voxel of a window that the network's first stage keeps alive, per feature.
_LIVE_MAPS = 6


class TorchEngine:
    """See :class:`inference.engines.Engine`.

    Args:
        description, weights: the model.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        resampler: ``torch`` or ``cupy``.
        precision: ``f32``, or ``auto`` for float16 on CUDA.
    """

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
        # On CUDA, cuDNN's 3D convolutions in half precision want channels last; on the CPU too,
        # oneDNN's kernels for them are quicker (docs/LOG.md).
        self._format = torch.channels_last_3d
        if self._cuda:
            torch.cuda.set_device(self.device)
            # The same scan gives the same labels, whichever algorithm would be quicker by a hair.
            torch.backends.cudnn.deterministic = True
        network = UNet(description.architecture)
        network.load_state_dict(load_safetensors(weights))
        self._network = network.eval().to(self.device, self._type)
        self._network.to(memory_format=self._format)  # type: ignore[call-overload]
        self.batch = self._fitting_batch(description) if self._cuda else 1
        name = torch.cuda.get_device_name(self.device) if self._cuda else "CPU"
        self.name = f"torch on {name}"

    def network_image(self, image_ZYX: Image, intensity: Intensity, shape: Shape) -> Tensor:
        if self._resampler == "cupy":
            from inference.engines.cupy_steps import resample_image as cupy_resample

            return cupy_resample(image_ZYX, intensity, shape, self.device)
        # torch takes no negative strides; flipped scans are copied here.
        voxels = torch.from_numpy(np.ascontiguousarray(image_ZYX)).to(self.device)
        return resample_image(voxels, intensity, shape)

    def prepare(self, window: Shape) -> None:
        """Nothing to do: torch takes any shape."""

    @torch.no_grad()
    def forward(self, windows: list[Tensor]) -> list[Tensor]:
        batch = torch.stack(windows)[:, None].to(self._type, memory_format=self._format)
        try:
            return list(self._network(batch).float().unbind())
        except RuntimeError as error:
            if len(windows) == 1 or not _out_of_memory(error):
                raise
        # Outside the handler, whose traceback would keep the failed batch's maps alive.
        del batch
        half = self.batch = len(windows) // 2
        return self.forward(windows[:half]) + self.forward(windows[half:])

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        return torch.zeros(shape, device=self.device)

    def array(self, values: npt.NDArray[np.float32]) -> Tensor:
        return torch.tensor(values, device=self.device)

    def numpy(self, array: Tensor) -> npt.NDArray[np.float32]:
        values: npt.NDArray[np.float32] = array.float().cpu().numpy()
        return values

    def take(self, array: Tensor, index: npt.NDArray[np.int64], axis: int) -> Tensor:
        return array.index_select(axis, torch.as_tensor(index, device=array.device))

    def decoder(self, mode: Decode, network: Shape, scan: Shape, region: Box) -> Decoder:
        return torch_decoder(mode, network, scan, region, self.device)

    @property
    def most_voxels(self) -> int:
        return 1 << 40

    def peak_memory(self) -> int | None:
        return torch.cuda.max_memory_reserved(self.device) if self._cuda else None

    def fallback(self, error: Exception) -> Engine | None:
        return HostEngine(self) if self._cuda and _out_of_memory(error) else None

    def cpu_engine(self) -> Engine:
        """The same model on the CPU."""
        return load_engine(
            self._description, self._weights, choose_device("cpu"), precision=self._precision
        )

    def _fitting_batch(self, description: ModelDescription) -> int:
        free, _ = torch.cuda.mem_get_info(self.device)
        voxels = int(np.prod(description.patch))
        window = voxels * description.architecture.features[0] * _LIVE_MAPS * 2
        return int(np.clip(free * _MEMORY_SHARE // window, 1, _MAX_BATCH))


class HostEngine(NumpyArrays):
    """The network on CUDA window by window, everything else in NumPy: for when memory is short."""

    def __init__(self, engine: TorchEngine) -> None:
        self._engine = engine
        self.name = f"{engine.name}, accumulating on the CPU"
        self.most_voxels = engine.most_voxels

    def forward(self, windows: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
        on_device = [self._engine.array(np.ascontiguousarray(window)) for window in windows]
        return [self._engine.numpy(logits) for logits in self._engine.forward(on_device)]

    def peak_memory(self) -> int | None:
        return self._engine.peak_memory()

    def fallback(self, error: Exception) -> Engine | None:
        return self._engine.cpu_engine() if _out_of_memory(error) else None


def _out_of_memory(error: Exception) -> bool:
    """Whether a device ran out of memory, in any of the words that CUDA and cuDNN have for it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    words = ("out of memory", "CUDNN_STATUS_ALLOC_FAILED", "unable to find an engine")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
