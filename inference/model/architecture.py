"""The network's architecture: a pure value, from which every engine builds the same U-Net."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..labels import NAMES
from ..types import Shape

# Of the normalisation, and of the LeakyReLU after it.
NORM_EPSILON = 1e-5
NEGATIVE_SLOPE = 0.01

# Far more than any network has: a description that asks for more is damaged.
_MOST_CONVOLUTIONS = 64
_ONE: Shape = (1, 1, 1)
# Name of the network's input among the feature maps that layers read.
IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, with instance normalisation and LeakyReLU after it.

    Attributes:
        name: of the layer, and of the feature map that it makes: ``encoder.S.I``, ``decoder.S.I``.
        stage: of that map.
        reads: the maps that it reads, joined along their channels: one, or two where a decoder's
            stage begins (what comes from below, then the skip connection).
        inputs, outputs: channels.
        kernel, stride: (z, y, x).
    """

    name: str
    stage: int
    reads: tuple[str, ...]
    inputs: int
    outputs: int
    kernel: Shape
    stride: Shape = _ONE

    @property
    def weight(self) -> str:
        """Name of the weights, without ``.weight``."""
        return f"{self.name}.conv"

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs, *self.kernel)

    @property
    def visited(self) -> int:
        """The stage at whose voxels each weight is multiplied once."""
        return self.stage


@dataclass(frozen=True, slots=True)
class Transposed:
    """A transposed convolution without overlaps: from a stage to the next finer one.

    Attributes: as :class:`Convolution`'s; ``name`` is ``up.S``, the kernel is the stride.
    """

    name: str
    stage: int
    reads: tuple[str, ...]
    inputs: int
    outputs: int
    stride: Shape

    @property
    def weight(self) -> str:
        return self.name

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.inputs, self.outputs, *self.stride)

    @property
    def visited(self) -> int:
        # Each input voxel meets every weight once.
        return self.stage + 1


@dataclass(frozen=True, slots=True)
class Head:
    """The 1 x 1 x 1 convolution at full resolution that gives the logits.

    Attributes: as :class:`Convolution`'s; ``name`` is ``heads.0``.
    """

    name: str
    reads: tuple[str, ...]
    inputs: int
    outputs: int
    stage: int = 0

    @property
    def weight(self) -> str:
        return self.name

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.outputs, self.inputs, *_ONE)

    @property
    def visited(self) -> int:
        return 0


Layer = Convolution | Transposed | Head


@dataclass(frozen=True)
class Architecture:
    """A plain convolutional U-Net (paper Table 1 and 2).

    Attributes:
        features: channels of each stage, from full resolution down.
        strides: stride (z, y, x) with which each stage begins; ones for the first.
        kernels: convolution kernel (z, y, x) of each stage.
        convolutions: convolutions per stage, in the encoder and in the decoder.
        inputs: input channels; 1 for a CT, more for the second network of a cascade.
        outputs: sigmoid channels; channel c is label c + 1.
    """

    features: tuple[int, ...]
    strides: tuple[Shape, ...]
    kernels: tuple[Shape, ...]
    convolutions: int = 2
    inputs: int = 1
    outputs: int = len(NAMES)

    def __post_init__(self) -> None:
        if not 2 <= len(self.features) == len(self.strides) == len(self.kernels):
            raise ValueError("features, strides and kernels need one entry for each of >= 2 stages")
        if self.strides[0] != _ONE:
            raise ValueError("the first stage must have stride 1")
        smallest_stride = min(n for stride in self.strides for n in stride)
        if min(*self.features, smallest_stride, self.convolutions, self.inputs) < 1:
            raise ValueError("features, convolutions, inputs and strides must be positive")
        if self.convolutions > _MOST_CONVOLUTIONS:
            raise ValueError(f"at most {_MOST_CONVOLUTIONS} convolutions a stage are computed")
        if any(n < 1 or n % 2 == 0 for kernel in self.kernels for n in kernel):
            raise ValueError("kernels must be odd")

    @property
    def divisor(self) -> Shape:
        """What a window's shape (z, y, x) must be divisible by."""
        z, y, x = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return (z, y, x)

    def stage_shapes(self, patch: Shape) -> list[Shape]:
        """Shape (z, y, x) of each stage's feature maps for a window of shape ``patch``."""
        shapes: list[Shape] = []
        z, y, x = patch
        for stride in self.strides:
            z, y, x = z // stride[0], y // stride[1], x // stride[2]
            shapes.append((z, y, x))
        return shapes

    def layers(self) -> tuple[Layer, ...]:
        """The layers in the order in which they are computed, with one head, as at inference.

        Whatever else is to be known of the network's layers is read from here.
        """
        found: list[Layer] = []

        def stage_of(part: str, stage: int, reads: tuple[str, ...], inputs: int) -> None:
            stride = self.strides[stage] if part == "encoder" else _ONE
            for i in range(self.convolutions):
                name, width = f"{part}.{stage}.{i}", self.features[stage]
                layer = Convolution(name, stage, reads, inputs, width, self.kernels[stage], stride)
                found.append(layer)
                reads, inputs, stride = (name,), width, _ONE

        before, width = IMAGE, self.inputs
        for stage in range(len(self.features)):
            stage_of("encoder", stage, (before,), width)
            before, width = found[-1].name, found[-1].outputs
        for stage in reversed(range(len(self.features) - 1)):
            here = self.features[stage]
            up = Transposed(f"up.{stage}", stage, (before,), width, here, self.strides[stage + 1])
            found.append(up)
            skip = f"encoder.{stage}.{self.convolutions - 1}"
            stage_of("decoder", stage, (up.name, skip), 2 * here)
            before, width = found[-1].name, here
        found.append(Head("heads.0", (before,), width, self.outputs))
        return tuple(found)

    def parameters(self) -> int:
        """Trainable parameters, with one head at full resolution as at inference."""
        return sum(map(math.prod, self.parameter_shapes().values()))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, as in :class:`inference.engines.torch_unet.UNet`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers():
            width = (layer.outputs,)
            shapes[f"{layer.weight}.weight"] = layer.weight_shape
            shapes[f"{layer.weight}.bias"] = width
            if isinstance(layer, Convolution):
                shapes[f"{layer.name}.norm.weight"] = shapes[f"{layer.name}.norm.bias"] = width
        return shapes

    def map_channels(self) -> dict[str, int]:
        """Name and channels of the feature maps, in the order in which they are computed."""
        return {layer.name: layer.outputs for layer in self.layers() if not isinstance(layer, Head)}

    def macs(self, patch: Shape) -> int:
        """Multiply-accumulates of all convolutions for one window of shape ``patch``."""
        voxels = [math.prod(shape) for shape in self.stage_shapes(patch)]
        return sum(math.prod(layer.weight_shape) * voxels[layer.visited] for layer in self.layers())
