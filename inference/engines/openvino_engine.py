"""The network on the CPU by OpenVINO, built from the safetensors weights without torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_safetensors

from inference.architecture import Architecture
from inference.description import ModelDescription
from inference.engines import Precision
from inference.engines.numpy_arrays import NumpyArrays
from inference.grid import Shape
from inference.windows import Room

# OpenVINO does without its model converter, which is of no use here and twice the rest's import.
_CONVERTER = "openvino.tools.ovc"
_loaded = _CONVERTER in sys.modules
sys.modules.setdefault(_CONVERTER, None)  # type: ignore[arg-type]
try:
    import openvino as ov
    from openvino import opset13 as ops
finally:
    if not _loaded:
        del sys.modules[_CONVERTER]

Node = Any  # openvino.Output, which has no type information
NORM_EPSILON = 1e-5
NEGATIVE_SLOPE = 0.01
# Memory that the network and the accumulator may take where windows are cut to the patient.
WINDOW_BYTES = 1100 << 20


class OpenVinoEngine(NumpyArrays):
    """Runs one window after another on all processors. See :class:`inference.engines.Engine`.

    Args:
        description, weights: the model.
        precision: ``f32``, or ``auto`` for bfloat16 where the processor multiplies it natively.
    """

    def __init__(
        self, description: ModelDescription, weights: bytes, precision: Precision = "f32"
    ) -> None:
        self._architecture = description.architecture
        self._weights = load_safetensors(weights)
        self._core = ov.Core()
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        kind = "bf16" if precision == "auto" and "BF16" in abilities else "f32"
        self._half = kind == "bf16"
        self._core.set_property(
            "CPU", {"INFERENCE_PRECISION_HINT": kind, "PERFORMANCE_HINT": "LATENCY"}
        )
        if cache := cache_folder():
            self._core.set_property({"CACHE_DIR": str(cache)})
        self._window: Shape | None = None
        self._request: Any = None
        self.name = f"OpenVINO on CPU, {kind}"

    def prepare(self, window: Shape) -> None:
        """Compile the network for a window shape; only the last one's feature maps are kept."""
        if self._window != window:
            graph = build_graph(self._architecture, self._weights, window, self._half)
            self._request = None
            self._request = self._core.compile_model(graph, "CPU").create_infer_request()
            self._window = window

    @property
    def room(self) -> Room:
        return Room(WINDOW_BYTES, window_bytes(self._architecture, self._half))

    def forward(self, windows: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.generic]]:
        out = []
        for window_ZYX in windows:
            self.prepare(window_ZYX.shape)
            image = np.ascontiguousarray(window_ZYX)[None, None]
            shape = [1, *window_ZYX.shape, self._architecture.outputs]
            # NumPy asks for huge pages, which OpenVINO does not: far fewer page faults.
            logits = np.empty(shape, np.uint16 if self._half else np.float32)
            kind = ov.Type.bf16 if self._half else ov.Type.f32
            self._request.set_output_tensor(ov.Tensor(logits, ov.Shape(shape), kind))
            self._request.infer([image], share_inputs=True, share_outputs=True)
            out.append(np.moveaxis(logits[0], -1, 0))
        return out

    def peak_memory(self) -> int | None:
        return None

    def fallback(self, error: Exception) -> None:
        return None


def window_bytes(net: Architecture, half: bool) -> int:
    """Memory that OpenVINO takes for each voxel of a window, measured (docs/LOG.md).

    Three maps of the first stage's features, the logits twice, and the image.
    """
    return (2 if half else 4) * (3 * net.features[0] + 2 * net.outputs) + 4 * net.inputs


def cache_folder() -> Path | None:
    """Where compiled models are kept: $ABDOBOX_CACHE, if it is set and can be read.

    A folder that cannot be written to serves what is in it. What lies there is compiled code and is
    run unchecked: keep it to yourself.
    """
    folder = os.environ.get("ABDOBOX_CACHE")
    if not folder:
        return None
    path = Path(folder)
    return path if path.is_dir() and os.access(path, os.R_OK) else None


def build_graph(
    net: Architecture, weights: dict[str, npt.NDArray[np.generic]], patch: Shape, half: bool
) -> ov.Model:
    """The U-Net as an OpenVINO graph, with torch's parameter names.

    Args:
        net: the architecture.
        weights: name to array, as in the state dict of :class:`inference.network.UNet`.
        patch: window shape (z, y, x).
        half: put out bfloat16.

    Returns:
        The graph; its output is (1, z, y, x, labels).
    """
    image = ops.parameter([1, net.inputs, *patch], np.float32, name="image")

    def constant(name: str, part: slice = slice(None)) -> Node:
        values = weights[name].astype(np.float32)
        if values.ndim == 1:
            values = values.reshape(1, -1, 1, 1, 1)
        return ops.constant(np.ascontiguousarray(values[:, part])).output(0)

    def convolve(xs: list[Node], name: str, kernel: Shape, stride: Shape) -> Node:
        """Of ``xs`` joined, without joining them: convolutions of each, added up."""
        pad = [k // 2 for k in kernel]
        y, first = constant(f"{name}.bias"), 0
        for x in xs:
            part = slice(first, first := first + x.get_shape()[1])
            weight = constant(f"{name}.weight", part)
            convolved = ops.convolution(x, weight, list(stride), pad, pad, [1, 1, 1])
            y = ops.add(convolved, y).output(0)
        return y

    def block(xs: list[Node], name: str, kernel: Shape, stride: Shape) -> Node:
        x = convolve(xs, f"{name}.conv", kernel, stride)
        x = ops.mvn(x, np.array([2, 3, 4]), True, NORM_EPSILON, "inside_sqrt").output(0)
        x = ops.multiply(x, constant(f"{name}.norm.weight")).output(0)
        x = ops.add(x, constant(f"{name}.norm.bias")).output(0)
        return ops.prelu(x, ops.constant(np.array([NEGATIVE_SLOPE], np.float32))).output(0)

    one = (1, 1, 1)
    skips: list[Node] = []
    x: Node = image.output(0)
    for stage, (kernel, stride) in enumerate(zip(net.kernels, net.strides, strict=True)):
        for i in range(net.convolutions):
            x = block([x], f"encoder.{stage}.{i}", kernel, stride if i == 0 else one)
        skips.append(x)
    for stage in reversed(range(len(net.features) - 1)):
        up = ops.convolution_backprop_data(
            x, constant(f"up.{stage}.weight"), list(net.strides[stage + 1])
        )
        up = ops.add(up, constant(f"up.{stage}.bias")).output(0)
        xs = [up, skips.pop(stage)]
        for i in range(net.convolutions):
            xs = [block(xs, f"decoder.{stage}.{i}", net.kernels[stage], one)]
        x = xs[0]
    # As oneDNN computes them, channels last and not converted: anything else would copy the logits.
    logits = ops.transpose(convolve([x], "heads.0", one, one), np.array([0, 2, 3, 4, 1]))
    if half:
        logits = ops.convert(logits, "bf16")
    return ov.Model([logits], [image], "abdobox")
