"""``python -m training onnx``: a model as one ONNX file, for ONNX Runtime on a CPU, by CUDA, in a
browser.

Written from the architecture's list of layers and the safetensors weights, without torch. Only
operators are used that ONNX Runtime's CPU, CUDA and web builds (WASM and WebGPU) compute in three
dimensions: Conv, ReduceMean, LeakyRelu, Reshape, Transpose and arithmetic; and Cast, of weights
alone, which lie in the file in half, as they are shipped, and are cast when a session begins.
ConvTranspose is none of them: WebGPU's has two dimensions. A transposed convolution whose kernel is
its stride is a 1 x 1 x 1 convolution whose channels are then laid out in space (Shi et al., CVPR
2016, there as pixel shuffle; ONNX's DepthToSpace is two-dimensional).

InstanceNormalization is written out, with means that are taken axis by axis. ONNX Runtime's own
adds up a map in one go in float32, and where a scan is air for hundreds of thousands of voxels of
one value, the roundings add up as well: logits were off by 0.6, against 0.0003.

What joins a stage's two inputs is convolved in two halves that are added up, so that no map is
larger than a stage's own: of a window of 128 x 128 x 128 voxels all are at most 128 MiB, as much as
every WebGPU device binds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load as load_safetensors

from inference.errors import AbdoboxError, ModelError, OutputError, argument
from inference.labels import NAMES
from inference.model.architecture import (
    IMAGE,
    NEGATIVE_SLOPE,
    NORM_EPSILON,
    Architecture,
    Convolution,
    Head,
    Transposed,
)
from inference.model.description import ModelDescription, verified_weights
from inference.model.folder import WEIGHTS, model_folder
from inference.scan.atomic import write_atomically
from inference.types import Shape
from training.data.folders import make_folder

# Runtimes since 2022 read it, and it is the last in which ReduceMean's axes are an attribute.
OPSET, IR_VERSION = 17, 8
LOGITS = "logits"
Weights = Mapping[str, npt.NDArray[np.generic]]
Floats = npt.NDArray[np.float32]


def onnx_model(
    description: ModelDescription, weights: Weights, window: Shape | None = None
) -> onnx.ModelProto:
    """The network for windows of one shape, in float32; weights are stored as they are shipped.

    Args:
        description: of the model.
        weights: name to array, as in ``model.safetensors``.
        window: its shape (z, y, x); by default the model's patch.

    Returns:
        A checked graph from ``image`` (1, inputs, z, y, x), normalised, to ``logits`` (1, labels,
        z, y, x), channel c for label c + 1. ``metadata_props`` hold, as JSON, what else
        ``examples/onnx_segment.py`` needs: see :func:`metadata`.

    Raises:
        ValueError: the strides do not divide the window.
    """
    net = description.architecture
    window = window or description.patch
    if any(n < 1 or n % d for n, d in zip(window, net.divisor, strict=True)):
        raise ValueError(f"a window must be divisible by {net.divisor}, and {window} is not")
    writer = _Writer(net, weights, window)
    writer.write()
    ends = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, *window])
        for name, channels in ((IMAGE, net.inputs), (LOGITS, net.outputs))
    )
    image, logits = ends
    graph = helper.make_graph(
        writer.nodes, description.name, [image], [logits], initializer=writer.constants
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="abdobox",
    )
    helper.set_model_props(model, metadata(description))
    onnx.checker.check_model(model, full_check=True)
    return model


def metadata(description: ModelDescription) -> dict[str, str]:
    """What a reader needs besides the graph, each value as JSON.

    ``spacing_mm`` (z, y, x) of the network's grid; ``clip_hu`` (two limits), ``mean_hu`` and
    ``std_hu``: the input is (clipped HU - mean) / std; ``labels``: value to name; ``decode``;
    ``sha256`` of the model's safetensors; ``licence`` of the weights; ``name`` and ``version``.
    """
    hu = description.intensity
    values = {
        "name": description.name,
        "version": description.version,
        "spacing_mm": description.spacing,
        "clip_hu": (hu.lower, hu.upper),
        "mean_hu": hu.mean,
        "std_hu": hu.std,
        "labels": NAMES,
        "decode": description.decode,
        "sha256": description.sha256,
        "licence": description.card.get("licence", "not stated"),
    }
    return {key: json.dumps(value) for key, value in values.items()}


class _Writer:
    """Adds the network's layers to a list of nodes; arguments as for :func:`onnx_model`.

    Attributes:
        nodes, constants: of the graph.
    """

    def __init__(self, net: Architecture, weights: Weights, window: Shape) -> None:
        self._net, self._weights = net, weights
        self._shapes = net.stage_shapes(window)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._epsilon = self._constant("epsilon", np.array([NORM_EPSILON], np.float32))

    def write(self) -> None:
        for layer in self._net.layers():
            match layer:
                case Convolution():
                    self._convolution(layer)
                case Transposed():
                    self._transposed(layer)
                case Head():
                    weight = self._constant(f"{layer.weight}.weight")
                    bias = self._constant(f"{layer.weight}.bias")
                    self._node("Conv", [*layer.reads, weight, bias], LOGITS)

    def _convolution(self, layer: Convolution) -> None:
        """Convolution, normalisation, which would take its bias away again, and activation."""
        weights = self._floats(f"{layer.weight}.weight")
        pads = [k // 2 for k in layer.kernel] * 2
        parts, first = [], 0
        for number, read in enumerate(layer.reads):
            width = weights.shape[1] // len(layer.reads)
            part = weights[:, first : (first := first + width)]
            weight = self._constant(f"{layer.weight}.weight.{number}", part)
            parts.append(
                self._node(
                    "Conv",
                    [read, weight],
                    f"{layer.name}.conv.{number}",
                    strides=list(layer.stride),
                    pads=pads,
                )
            )
        if len(parts) == 2:
            parts = [self._node("Add", parts, f"{layer.name}.sum")]
        normed = self._normalised(parts[0], layer)
        self._node("LeakyRelu", [normed], layer.name, alpha=NEGATIVE_SLOPE)

    def _normalised(self, value: str, layer: Convolution) -> str:
        """Instance normalisation with affine parameters, means taken axis by axis."""
        name = f"{layer.name}.norm"
        scale, shift = (
            self._constant(f"{name}.{kind}", self._floats(f"{name}.{kind}").reshape(1, -1, 1, 1, 1))
            for kind in ("weight", "bias")
        )
        rest = self._node("Sub", [value, self._mean(value, f"{name}.mean")], f"{name}.rest")
        square = self._node("Mul", [rest, rest], f"{name}.square")
        variance = self._mean(square, f"{name}.variance")
        safe = self._node("Add", [variance, self._epsilon], f"{name}.safe")
        deviation = self._node("Sqrt", [safe], f"{name}.deviation")
        factor = self._node("Div", [scale, deviation], f"{name}.factor")
        scaled = self._node("Mul", [rest, factor], f"{name}.scaled")
        return self._node("Add", [scaled, shift], name)

    def _mean(self, value: str, name: str) -> str:
        """Over a map's voxels (1, channels, 1, 1, 1)."""
        for axis in (4, 3, 2):
            value = self._node("ReduceMean", [value], f"{name}.{axis}", axes=[axis], keepdims=1)
        return value

    def _transposed(self, layer: Transposed) -> None:
        """As 1 x 1 x 1 convolution to (channel, place in the stride), and depth to space."""
        weights = self._floats(f"{layer.weight}.weight")  # (inputs, outputs, *stride)
        columns = weights.reshape(layer.inputs, -1).T.reshape(-1, layer.inputs, 1, 1, 1)
        bias = np.repeat(self._floats(f"{layer.weight}.bias"), math.prod(layer.stride))
        flat = self._node(
            "Conv",
            [
                *layer.reads,
                self._constant(f"{layer.weight}.weight", np.ascontiguousarray(columns)),
                self._constant(f"{layer.weight}.bias", bias),
            ],
            f"{layer.name}.flat",
        )
        coarse, fine = self._shapes[layer.stage + 1], self._shapes[layer.stage]
        split = self._reshape(flat, (layer.outputs, *layer.stride, *coarse), f"{layer.name}.split")
        # (channel, stride z, y, x, z, y, x): every axis of the stride behind its own.
        woven = self._node("Transpose", [split], f"{layer.name}.woven", perm=[0, 4, 1, 5, 2, 6, 3])
        self._reshape(woven, (1, layer.outputs, *fine), layer.name)

    def _reshape(self, value: str, shape: Sequence[int], name: str) -> str:
        wanted = self._constant(f"{name}.shape", np.array(shape, np.int64))
        return self._node("Reshape", [value, wanted], name)

    def _node(self, operator: str, inputs: Sequence[str], output: str, **settings: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **settings))
        return output

    def _constant(self, name: str, values: npt.NDArray[np.generic] | None = None) -> str:
        array = self._floats(name) if values is None else values
        with np.errstate(over="ignore"):
            half = array.astype(np.float16) if array.dtype == np.float32 else array
        if half is array or (half != array).any():
            self.constants.append(numpy_helper.from_array(array, name))
            return name
        # The same values in half of the bytes; a runtime casts them once, when a session begins.
        self.constants.append(numpy_helper.from_array(half, f"{name}.half"))
        return self._node("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)

    def _floats(self, name: str) -> Floats:
        return self._weights[name].astype(np.float32)


def write_onnx(folder: Path, out: Path, window: Shape | None = None) -> onnx.ModelProto:
    """Write the model in ``folder`` as the ONNX file ``out``, whole or not at all.

    Raises:
        ModelError: the model cannot be read, or not be computed in such windows.
        OutputError: the file cannot be written.
    """
    description = ModelDescription.load(folder)
    weights = load_safetensors(verified_weights(folder, description))
    try:
        model = onnx_model(description, weights, window)
    except ValueError as error:
        shown = " ".join(map(str, window or description.patch))
        raise ModelError(argument("window", shown), str(error), "take another one") from error
    if out.is_dir():
        raise OutputError(out, "is a folder", "name a file")
    make_folder(out.resolve().parent)
    write_atomically(out, model.SerializeToString(deterministic=True))
    return model


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    arguments = _parser().parse_args(argv)
    z_y_x = arguments.window
    try:
        folder = model_folder(WEIGHTS, arguments.model)
        model = write_onnx(folder, arguments.out, z_y_x and (z_y_x[0], z_y_x[1], z_y_x[2]))
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {size:.1f} MB, opset {OPSET}, image {shape}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training onnx", description="Write a model as one ONNX file."
    )
    parser.add_argument("--model", required=True, help="name in weights/, or a folder")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="of the result")
    parser.add_argument(
        "--window",
        type=int,
        nargs=3,
        metavar=("Z", "Y", "X"),
        help="shape of the windows that it computes (default: the model's patch)",
    )
    return parser
