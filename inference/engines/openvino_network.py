"""The network on the CPU by OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors

from ..errors import DeviceError, ModelError, argument
from ..machine.threads import quota_threads
from ..model.architecture import Architecture
from ..model.description import Intensity, ModelDescription
from ..steps.bfloat16 import bfloat16
from ..steps.windows import Room
from ..types import Box, Image, Shape
from .interface import Precision
from .numpy_arrays import NumpyArrays
from .offline_openvino import ov
from .openvino_graph import Kind, build_graph, merged_stages, ranges_in_pairs
from .processor import (
    adds_bytes_in_pairs,
    held_without_bfloat16,
    multiplies_bytes,
    too_old_for_bytes,
)

# Memory that the network and the accumulator may take where windows are cut to the patient.
WINDOW_BYTES = 1100 << 20
# Least x extent of a window in voxels of the network's deepest map: oneDNN's convolutions by AMX
# are wrong where that is 1 (docs/LOG.md). On every processor, so that all cut the same windows.
_LEAST_DEEPEST_X = 2


class _Bfloat16Arrays(NumpyArrays):
    """NumPy's, for a network that takes no more of the image than bfloat16 holds."""

    def network_image(
        self, image_ZYX: Image, intensity: Intensity, shape: Shape, region: Box | None = None
    ) -> npt.NDArray[np.generic]:
        """The bits of bfloat16, as uint16."""
        return bfloat16(super().network_image(image_ZYX, intensity, shape, region))


class OpenVinoNetwork:
    """Runs one window after another on all processors. See :class:`.interface.Network`.

    Args:
        description, weights: the model.
        precision: ``f32``; ``int8``; or ``auto`` for what the processor multiplies natively:
            bfloat16, else int8 by VNNI where the model has ranges for it, else float32. Without
            VNNI ``int8`` is what :mod:`.openvino_graph` calls in pairs.

    Attributes:
        arrays: NumPy's.
        core: OpenVINO's, for its settings.
        request: the network that was compiled last, for what it measures.
        merged: stages whose transposed convolutions are merged with what reads them.

    Raises:
        ModelError: int8 is asked for, and the model has no ranges for it.
        DeviceError: the same, and the processor is too old for it.
    """

    batch = 1

    def __init__(
        self, description: ModelDescription, weights: bytes, precision: Precision = "f32"
    ) -> None:
        self._architecture = description.architecture
        self._weights = load_safetensors(weights)
        self.core = ov.Core()
        abilities = self.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        native = "BF16" in abilities and not held_without_bfloat16()
        self._kind = _kind(description, precision, native)
        self._ranges = description.ranges if self._kind == "int8" else None
        if self._kind == "int8_pairs":
            self._ranges = ranges_in_pairs(self._architecture, description.ranges)
        self.merged = merged_stages(self._architecture, self._weights, self._kind)
        # What int8 leaves in floating point stays in float32.
        hint = "bf16" if self._kind == "bf16" and native else "f32"
        settings: dict[str, str | int] = {
            "INFERENCE_PRECISION_HINT": hint,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if (threads := quota_threads()) is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        self.core.set_property("CPU", settings)
        self.arrays = _Bfloat16Arrays() if self._kind == "bf16" else NumpyArrays()
        self._window: Shape | None = None
        self.request: Any = None
        self.name = f"OpenVINO on CPU, {self._kind}"

    def prepare(self, window: Shape) -> None:
        """Compile the network for a window shape; only the last one's feature maps are kept."""
        if self._window != window:
            graph = self.graph(window)
            # Neither is there where compiling fails: the next scan compiles anew.
            self.request, self._window = None, None
            self.request = self.core.compile_model(graph, "CPU").create_infer_request()
            self._window = window

    def graph(self, window: Shape) -> ov.Model:
        return build_graph(
            self._architecture,
            self._weights,
            window,
            kind=self._kind,
            ranges=self._ranges,
            merged=self.merged,
        )

    @property
    def room(self) -> Room:
        per_voxel = window_bytes(self._architecture, self._kind, bool(self.merged))
        least = (1, 1, _LEAST_DEEPEST_X * self._architecture.divisor[2])
        return Room(WINDOW_BYTES, per_voxel, least=least)

    def forward(self, windows: list[npt.NDArray[np.generic]]) -> list[npt.NDArray[np.generic]]:
        out = []
        for window_ZYX in windows:
            self.prepare(window_ZYX.shape)
            image = np.ascontiguousarray(window_ZYX)
            if self._kind == "bf16" and image.dtype == np.float32:
                image = bfloat16(image)
            shape = [1, *window_ZYX.shape, self._architecture.outputs]
            # NumPy asks for huge pages, which OpenVINO does not: far fewer page faults.
            logits = np.empty(shape, np.uint16 if self._kind in ("bf16", "int8") else np.float32)
            self.request.set_output_tensor(0, _tensor(logits))
            self.request.infer([_tensor(image[None, None])], share_inputs=True, share_outputs=True)
            out.append(np.moveaxis(logits[0], -1, 0))
        return out

    def peak_memory(self) -> int | None:
        return None

    def fallback(self, error: Exception) -> None:
        return None


def _tensor(values: npt.NDArray[np.generic]) -> ov.Tensor:
    """Values as a tensor that shares their memory; uint16 holds the bits of bfloat16."""
    kind = ov.Type.bf16 if values.dtype == np.uint16 else ov.Type.f32
    return ov.Tensor(values, ov.Shape(values.shape), kind)


def window_bytes(net: Architecture, kind: Kind, merged: bool) -> int:
    """Memory that OpenVINO takes for each voxel of a window, measured (docs/LOG.md).

    Of the first stage's features three maps, or two and a quarter where transposed convolutions are
    merged; the logits, in some kinds twice; and the image. In int8 two maps in float32 and two in
    bytes, in pairs one in bytes.
    """
    maps, logits, image = {
        ("f32", False): (12, 4, 4),
        ("f32", True): (9, 4, 4),
        ("bf16", False): (6, 2, 2),
        ("bf16", True): (5, 2, 2),
        ("int8", False): (10, 2, 4),
        ("int8_pairs", False): (9, 4, 4),
        ("int8_pairs", True): (9, 4, 4),
    }[kind, merged]
    return maps * net.features[0] + logits * net.outputs + image * net.inputs


def _kind(description: ModelDescription, precision: Precision, bfloat16: bool) -> Kind:
    """What to compute in; ``bfloat16``: the processor multiplies it natively."""
    if precision == "int8" and not description.ranges:
        raise ModelError(
            f"model {description.name}",
            "has no ranges of its feature maps, which int8 needs",
            "measure them with python -m training calibrate, or leave "
            f"{argument('precision', 'int8')} out",
        )
    if precision == "int8" and too_old_for_bytes():
        raise DeviceError(
            argument("precision", "int8"), "needs a processor with AVX2", "leave it out"
        )
    if precision == "int8":
        return "int8_pairs" if adds_bytes_in_pairs() else "int8"
    if precision == "f32":
        return "f32"
    if bfloat16:
        return "bf16"
    # In pairs only if asked for: labels agree with those of float32 by less than the 0.995 that
    # auto would need for it (docs/LOG.md).
    return "int8" if description.ranges and multiplies_bytes() else "f32"
