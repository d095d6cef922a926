"""The U-Net as an OpenVINO graph, built from the safetensors weights without torch.

In int8 the maps between convolutions are unsigned bytes and the weights signed ones. Each channel
of a map is scaled to one range: LeakyReLU commutes with positive factors, so that the factor goes
into the affine part of the normalisation before it and, undone, into the weights that follow, and
only rounding is lost. The first convolution, which reads the image, the normalisations and the head
stay in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inference.architecture import Architecture
from inference.engines.lean_openvino import ops, ov
from inference.grid import Shape
from inference.ranges import Ranges

Node = Any  # openvino.Output, which has no type information
Floats = npt.NDArray[np.float32]
NORM_EPSILON = 1e-5
NEGATIVE_SLOPE = 0.01
# The byte that stands for 0: in maps after LeakyReLU, whose negative values are small, and in maps
# of both signs. Whole bytes, so that the 0 of padding is exact.
_ZERO_ACTIVATED, _ZERO_SIGNED = 5, 128


class _Map(NamedTuple):
    """A feature map (1, channels, z, y, x) divided by ``factors`` per channel; None: as it is, in
    float32."""

    node: Node
    factors: Floats | None = None

    @property
    def channels(self) -> int:
        return int(self.node.get_shape()[1])


def build_graph(
    net: Architecture,
    weights: Mapping[str, npt.NDArray[np.generic]],
    window: Shape,
    *,
    half: bool = False,
    ranges: Ranges | None = None,
) -> ov.Model:
    """The network for one window.

    Args:
        net: the architecture.
        weights: name to array, as in the state dict of :class:`inference.network.UNet`.
        window: its shape (z, y, x).
        half: put out bfloat16.
        ranges: of the maps: compute in int8.

    Returns:
        The graph; its output is (1, z, y, x, labels). The maps bear their names (see
        :mod:`inference.ranges`) as names of tensors.
    """
    image = ops.parameter([1, net.inputs, *window], np.float32, name="image")
    logits = _Builder(net, weights, ranges or {}).logits(image.output(0))
    # As oneDNN computes them, channels last and not converted: anything else would copy the logits.
    logits = ops.transpose(logits, np.array([0, 2, 3, 4, 1]))
    if half:
        logits = ops.convert(logits, "bf16")
    return ov.Model([logits], [image], "abdobox")


class _Builder:
    """Adds the network's layers, one after another, to a graph; arguments as for
    :func:`build_graph`."""

    def __init__(
        self, net: Architecture, weights: Mapping[str, npt.NDArray[np.generic]], ranges: Ranges
    ) -> None:
        self._net, self._weights, self._ranges = net, weights, ranges
        # One node for all layers: compiling takes its time for every node.
        self._axes = ops.constant(np.array([2, 3, 4]))
        self._slope = ops.constant(np.array([NEGATIVE_SLOPE], np.float32))
        self._ends: dict[int, tuple[Node, Node]] = {}

    def logits(self, image: Node) -> Node:
        net, one = self._net, (1, 1, 1)
        skips: list[_Map] = []
        x = _Map(image)
        for stage, (kernel, stride) in enumerate(zip(net.kernels, net.strides, strict=True)):
            for i in range(net.convolutions):
                name = f"encoder.{stage}.{i}"
                x = self._block([x], name, kernel, stride if i == 0 else one)
            skips.append(x)
        for stage in reversed(range(len(net.features) - 1)):
            xs = [self._up(x, stage), skips.pop(stage)]
            for i in range(net.convolutions):
                xs = [self._block(xs, f"decoder.{stage}.{i}", net.kernels[stage], one)]
            x = xs[0]
        logits = self._convolve([x], "heads.0", one, one)
        return ops.add(logits, _channels(self._floats("heads.0.bias"))).output(0)

    def _block(self, xs: list[_Map], name: str, kernel: Shape, stride: Shape) -> _Map:
        """Convolution, whose bias the normalisation would take away again, and activation."""
        x = self._convolve(xs, f"{name}.conv", kernel, stride)
        x = ops.mvn(x, self._axes, True, NORM_EPSILON, "inside_sqrt").output(0)
        factors = self._factors(name)
        divisors = 1 if factors is None else factors
        x = ops.multiply(x, _channels(self._floats(f"{name}.norm.weight") / divisors)).output(0)
        x = ops.add(x, _channels(self._floats(f"{name}.norm.bias") / divisors)).output(0)
        x = ops.prelu(x, self._slope).output(0)
        x.get_tensor().set_names({name})
        return _Map(x if factors is None else self._in_bytes(x, _ZERO_ACTIVATED), factors)

    def _convolve(self, xs: list[_Map], name: str, kernel: Shape, stride: Shape) -> Node:
        """Of ``xs`` joined, without joining them: convolutions of each, added up. No bias."""
        pad, weights = [k // 2 for k in kernel], self._floats(f"{name}.weight")
        parts, first = [], 0
        for x in xs:
            part = weights[:, first : (first := first + x.channels)]
            kernels = _weights(part, x.factors, inputs=1)
            convolved = ops.convolution(x.node, kernels, list(stride), pad, pad, [1, 1, 1])
            parts.append(convolved.output(0))
        return reduce(lambda y, part: ops.add(part, y).output(0), parts)

    def _up(self, x: _Map, stage: int) -> _Map:
        """Transposed convolution from the stage below."""
        name, stride = f"up.{stage}", list(self._net.strides[stage + 1])
        weights, bias = self._floats(f"{name}.weight"), self._floats(f"{name}.bias")
        factors = self._factors(name)
        if factors is not None:
            weights, bias = weights / _along(factors, 1), bias / factors
        kernels = _weights(weights, x.factors, inputs=0)
        y = ops.convolution_backprop_data(x.node, kernels, stride)
        y = ops.add(y, _channels(bias)).output(0)
        y.get_tensor().set_names({name})
        return _Map(y if factors is None else self._in_bytes(y, _ZERO_SIGNED), factors)

    def _in_bytes(self, x: Node, zero: int) -> Node:
        """Values rounded to 256 levels, of which the one of that number is 0 and the last one 1."""
        if zero not in self._ends:
            low, high = (_constant(np.full([1] * 5, n / (255 - zero))) for n in (-zero, 255 - zero))
            self._ends[zero] = low, high
        return ops.fake_quantize(x, *self._ends[zero], *self._ends[zero], 256).output(0)

    def _floats(self, name: str) -> Floats:
        return self._weights[name].astype(np.float32)

    def _factors(self, name: str) -> Floats | None:
        return np.array(self._ranges[name], np.float32) if name in self._ranges else None


def _weights(values: Floats, factors: Floats | None, inputs: int) -> Node:
    """Weights for a map, in signed bytes where it is in bytes; ``inputs`` is its channels' axis."""
    if factors is None:
        return _constant(values)
    values = values * _along(factors, inputs)
    others = tuple(axis for axis in range(values.ndim) if axis != 1 - inputs)
    most = np.abs(values).max(axis=others, keepdims=True)
    # Where an output channel has no weights, any unit does.
    unit = np.where(most > 0, most, np.float32(1)) / np.float32(127)
    # Rounded here and not by the compiler, which takes three times as long for it.
    in_bytes = ops.constant(np.rint(values / unit).astype(np.int8))
    return ops.multiply(ops.convert(in_bytes, "f32"), _constant(unit)).output(0)


def _along(values: Floats, axis: int) -> Floats:
    """One value per channel, to be multiplied along an axis of weights."""
    shape = [1] * 5
    shape[axis] = -1
    return values.reshape(shape)


def _channels(values: Floats) -> Node:
    """One value per channel of a map."""
    return _constant(_along(values, 1))


def _constant(values: npt.NDArray[np.generic]) -> Node:
    return ops.constant(np.ascontiguousarray(values, np.float32)).output(0)
