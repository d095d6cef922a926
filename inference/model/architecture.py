"""The network's architecture: a pure value, from which every engine builds the same U-Net."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..labels import NAMES
from ..types import Shape

# Far more than any network has: a description that asks for more is damaged.
_MOST_CONVOLUTIONS = 64


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
        if self.strides[0] != (1, 1, 1):
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

    def parameters(self) -> int:
        """Trainable parameters, with one head at full resolution as at inference."""
        convolutions, others = self._convolution_weights()
        return sum(weights for weights, _ in convolutions) + others

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, as :class:`engines.torch_unet.UNet` has them."""
        shapes: dict[str, tuple[int, ...]] = {}

        def convolve(name: str, inputs: int, width: int, kernel: Shape) -> None:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width, inputs, *kernel), (width,)

        def blocks(name: str, inputs: int, stage: int) -> None:
            width = self.features[stage]
            for i in range(self.convolutions):
                convolve(
                    f"{name}.{i}.conv", inputs if i == 0 else width, width, self.kernels[stage]
                )
                shapes[f"{name}.{i}.norm.weight"] = shapes[f"{name}.{i}.norm.bias"] = (width,)

        before = self.inputs
        for stage, width in enumerate(self.features):
            blocks(f"encoder.{stage}", before, stage)
            before = width
        for stage, width in enumerate(self.features[:-1]):
            deeper = self.features[stage + 1]
            shapes[f"up.{stage}.weight"] = (deeper, width, *self.strides[stage + 1])
            shapes[f"up.{stage}.bias"] = (width,)
            blocks(f"decoder.{stage}", 2 * width, stage)
        convolve("heads.0", self.features[0], self.outputs, (1, 1, 1))
        return shapes

    def macs(self, patch: Shape) -> int:
        """Multiply-accumulates of all convolutions for one window of shape ``patch``."""
        voxels = [math.prod(shape) for shape in self.stage_shapes(patch)]
        return sum(weights * voxels[stage] for weights, stage in self._convolution_weights()[0])

    def _convolution_weights(self) -> tuple[list[tuple[int, int]], int]:
        """(weights, stage whose voxels each weight visits) per convolution; biases and norms."""
        weights: list[tuple[int, int]] = []
        others = 0
        before = self.inputs
        last = len(self.features) - 1
        for stage, (width, kernel) in enumerate(zip(self.features, self.kernels, strict=True)):
            taps = math.prod(kernel)
            for _ in range(self.convolutions):
                weights.append((before * width * taps, stage))
                others += 3 * width
                before = width
            if stage < last:
                deeper = self.features[stage + 1]
                # Each input voxel of a transposed convolution meets every tap once.
                up = math.prod(self.strides[stage + 1])
                weights.append((deeper * width * up, stage + 1))
                weights.append((2 * width * width * taps, stage))
                weights.extend([(width * width * taps, stage)] * (self.convolutions - 1))
                others += width + 3 * width * self.convolutions
        weights.append((self.features[0] * self.outputs, 0))
        return weights, others + self.outputs
