"""The U-Net as an OpenVINO graph, built from the safetensors weights without torch.

In int8 the maps between convolutions are unsigned bytes and the weights signed ones. Each channel
of a map is scaled to one range: LeakyReLU commutes with positive factors, so that the factor goes
into the affine part of the normalisation before it and, undone, into the weights that follow, and
only rounding is lost. The first convolution, which reads the image, the normalisations and the head
stay in float32.

Processors without VNNI add up products of bytes in pairs of neighbouring input channels, in 16 bits
that are cut off where they do not suffice (vpmaddubsw). ``int8_pairs`` is int8 for these: weights
are rounded such that no pair can reach that, and what gains least or loses most by bytes stays in
float32.

In floating point the transposed convolutions of the finest stages are merged with the convolutions
that read them: both are linear, and together they are one transposed convolution with a larger
kernel, for 0.6 of the products and without the map between them. This is exact but for the
transposed convolution's bias at the edges of a window (what lies beyond them is 0 without it), so
it is for models whose biases there are 0, as ``training export`` leaves them; anywhere else the
normalisation would take them away again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..model.architecture import (
    IMAGE,
    NEGATIVE_SLOPE,
    NORM_EPSILON,
    Architecture,
    Convolution,
    Head,
    Transposed,
)
from ..model.int8_ranges import Ranges
from ..types import Shape
from .offline_openvino import ops, ov
from .openvino_weights import (
    Floats,
    Node,
    along,
    constant,
    merged_kernels,
    per_channel,
    weights_node,
)

Kind = Literal["f32", "bf16", "int8", "int8_pairs"]
# The byte that stands for 0: in maps after LeakyReLU, whose negative values are small, and in maps
# of both signs. Whole bytes, so that the 0 of padding is exact.
_ZERO_ACTIVATED, _ZERO_SIGNED = 5, 128
# The axes of a map with its channels last.
_LAST = np.array([0, 2, 3, 4, 1])
# Stages whose transposed convolutions are merged; in coarser ones there is nothing to gain, and in
# bytes without VNNI not in the second either.
_MERGED_STAGES: dict[Kind, int] = {"f32": 2, "bf16": 2, "int8": 0, "int8_pairs": 1}


class FeatureMap(NamedTuple):
    """A feature map (1, channels, z, y, x) divided by ``factors`` per channel; None: as it is, in
    float32."""

    node: Node
    factors: Floats | None = None

    @property
    def channels(self) -> int:
        return int(self.node.get_shape()[1])


def merged_stages(
    net: Architecture, weights: Mapping[str, npt.NDArray[np.generic]], kind: Kind = "f32"
) -> range:
    """The stages whose transposed convolutions are merged; none where one of them has a bias."""
    stages = range(min(_MERGED_STAGES[kind], len(net.features) - 1))
    return range(0) if any(weights[f"up.{stage}.bias"].any() for stage in stages) else stages


def ranges_in_pairs(net: Architecture, ranges: Ranges) -> Ranges:
    """Ranges of the maps that are in bytes in ``int8_pairs``.

    Not of those that only a transposed convolution reads, which OpenVINO computes in float32 all
    the same, and not of the encoder's first, whose rounding did a third of all that rounding does
    to the logits (docs/LOG.md).
    """
    last = net.convolutions - 1
    floats = {f"encoder.{len(net.features) - 1}.{last}"}
    floats |= {f"decoder.{stage}.{last}" for stage in range(1, len(net.features) - 1)}
    floats |= {f"encoder.0.{i}" for i in range(last)}
    return {name: values for name, values in ranges.items() if name not in floats}


def build_graph(
    net: Architecture,
    weights: Mapping[str, npt.NDArray[np.generic]],
    window: Shape,
    *,
    kind: Kind = "f32",
    ranges: Ranges | None = None,
    merged: range = range(0),
) -> ov.Model:
    """The network for one window.

    Args:
        net: the architecture.
        weights: name to array, as in the state dict of :class:`inference.engines.torch_unet.UNet`.
        window: its shape (z, y, x).
        kind: what is computed in. The image is read as bfloat16 for ``bf16``, else as float32; the
            logits are put out as bfloat16 for ``bf16`` and ``int8``, else as float32, to which AVX2
            has nothing to convert: it took a sixth of a window.
        ranges: of the maps that are in bytes, for ``int8``, and ``int8_pairs``.
        merged: the :func:`merged_stages`, if so; not in int8.

    Returns:
        The graph; its output is (1, z, y, x, labels). The maps bear their names (see
        :mod:`inference.model.int8_ranges`) as names of tensors, but for those that are merged away.
    """
    form = ov.Type.bf16 if kind == "bf16" else ov.Type.f32
    image = ops.parameter([1, net.inputs, *window], form, name="image")
    builder = GraphBuilder(net, weights, ranges or {}, merged, pairs=kind == "int8_pairs")
    last = builder.last_map(ops.convert(image, "f32").output(0))
    logits = builder.head_as_product(last) if kind == "bf16" else builder.head(last)
    if kind in ("bf16", "int8"):
        logits = ops.convert(logits, "bf16")
    return ov.Model([logits], [image], "abdobox")


class GraphBuilder:
    """Adds the network's layers, one after another, to a graph; arguments as for
    :func:`build_graph`."""

    def __init__(
        self,
        net: Architecture,
        weights: Mapping[str, npt.NDArray[np.generic]],
        ranges: Ranges,
        merged: range = range(0),
        *,
        pairs: bool = False,
    ) -> None:
        self._net, self._weights, self._ranges, self._merged = net, weights, ranges, merged
        self._pairs = pairs
        # One node for all layers: compiling takes its time for every node.
        self._axes = ops.constant(np.array([2, 3, 4]))
        self._slope = ops.constant(np.array([NEGATIVE_SLOPE], np.float32))
        self._ends: dict[int, tuple[Node, Node]] = {}

    def last_map(self, image: Node) -> FeatureMap:
        """What the head reads."""
        maps = {IMAGE: FeatureMap(image)}
        for layer in self._net.layers():
            read = [maps[name] for name in layer.reads]
            match layer:
                case Head():
                    return read[0]
                case Transposed() if layer.stage in self._merged:
                    maps[layer.name] = read[0]  # as it is: what reads it does both
                case Transposed():
                    maps[layer.name] = self._up(read[0], layer)
                case Convolution() if len(read) == 2 and layer.stage in self._merged:
                    below, skip = read
                    y = self._up_and_convolve(below, skip, layer)
                    maps[layer.name] = self._block(layer.name, y)
                case Convolution():
                    y = self._convolve(read, layer)
                    maps[layer.name] = self._block(layer.name, y)
        raise AssertionError("a network without a head")

    def head(self, x: FeatureMap) -> Node:
        """Logits (1, z, y, x, labels) as oneDNN computes them, channels last and not converted:
        anything else would copy them."""
        weights = constant(self._floats("heads.0.weight"))
        one, zero = [1, 1, 1], [0, 0, 0]
        logits = ops.convolution(x.node, weights, one, zero, zero, one).output(0)
        logits = ops.add(logits, per_channel(self._floats("heads.0.bias"))).output(0)
        return ops.transpose(logits, _LAST).output(0)

    def head_as_product(self, x: FeatureMap) -> Node:
        """The same by a matrix product: quicker in bfloat16, whose logits it writes as such."""
        weights = self._floats("heads.0.weight").reshape(self._net.outputs, -1)
        last = ops.transpose(x.node, _LAST).output(0)
        logits = ops.matmul(last, constant(weights), False, True).output(0)
        return ops.add(logits, constant(self._floats("heads.0.bias"))).output(0)

    def _block(self, name: str, convolved: Node) -> FeatureMap:
        """Normalisation, which would take the convolution's bias away again, and activation."""
        x = ops.mvn(convolved, self._axes, True, NORM_EPSILON, "inside_sqrt").output(0)
        factors = self._factors(name)
        divisors = 1 if factors is None else factors
        x = ops.multiply(x, per_channel(self._floats(f"{name}.norm.weight") / divisors)).output(0)
        x = ops.add(x, per_channel(self._floats(f"{name}.norm.bias") / divisors)).output(0)
        x = ops.prelu(x, self._slope).output(0)
        x.get_tensor().set_names({name})
        return FeatureMap(x if factors is None else self._in_bytes(x, _ZERO_ACTIVATED), factors)

    def _convolve(self, xs: list[FeatureMap], layer: Convolution, first: int = 0) -> Node:
        """Of ``xs`` joined, without joining them: convolutions of each, added up. No bias.

        ``first``: the input of the weights that the first channel of ``xs`` is.
        """
        pad, weights = [k // 2 for k in layer.kernel], self._floats(f"{layer.weight}.weight")
        parts = []
        for x in xs:
            part = weights[:, first : (first := first + x.channels)]
            kernels = weights_node(part, x.factors, inputs=1, pairs=self._pairs)
            stride, one = list(layer.stride), [1, 1, 1]
            parts.append(ops.convolution(x.node, kernels, stride, pad, pad, one).output(0))
        return reduce(lambda y, part: ops.add(part, y).output(0), parts)

    def _up(self, x: FeatureMap, layer: Transposed) -> FeatureMap:
        """Transposed convolution from the stage below."""
        name = layer.name
        weights, bias = self._floats(f"{name}.weight"), self._floats(f"{name}.bias")
        factors = self._factors(name)
        if factors is not None:
            weights, bias = weights / along(factors, 1), bias / factors
        kernels = weights_node(weights, x.factors, inputs=0)
        y = ops.convolution_backprop_data(x.node, kernels, list(layer.stride))
        y = ops.add(y, per_channel(bias)).output(0)
        y.get_tensor().set_names({name})
        return FeatureMap(y if factors is None else self._in_bytes(y, _ZERO_SIGNED), factors)

    def _up_and_convolve(self, x: FeatureMap, skip: FeatureMap, layer: Convolution) -> Node:
        """Transposed convolution from the stage below, and what joins it and the skip."""
        up, joined = (
            self._floats(f"{name}.weight") for name in (f"up.{layer.stage}", layer.weight)
        )
        pad, one = [k // 2 for k in layer.kernel], [1, 1, 1]
        kernels = constant(merged_kernels(up, joined[:, : up.shape[1]]))
        stride = list(up.shape[2:])
        y = ops.convolution_backprop_data(x.node, kernels, stride, None, pad, pad, one).output(0)
        return ops.add(self._convolve([skip], layer, first=up.shape[1]), y).output(0)

    def _in_bytes(self, x: Node, zero: int) -> Node:
        """Values rounded to 256 levels, of which the one of that number is 0 and the last one 1."""
        if zero not in self._ends:
            low, high = (constant(np.full([1] * 5, n / (255 - zero))) for n in (-zero, 255 - zero))
            self._ends[zero] = low, high
        return ops.fake_quantize(x, *self._ends[zero], *self._ends[zero], 256).output(0)

    def _floats(self, name: str) -> Floats:
        return self._weights[name].astype(np.float32)

    def _factors(self, name: str) -> Floats | None:
        return np.array(self._ranges[name], np.float32) if name in self._ranges else None
