"""The U-Net in torch: the same numbers as dynamic-network-architectures' PlainConvUNet.

Paper section 2.2 and Tables 1 and 2; Isensee et al., nnU-Net, Nat. Methods 18 (2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.architecture import NEGATIVE_SLOPE, NORM_EPSILON, Architecture
from ..types import Shape


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation that on a CPU leaves feature maps in the order they have.

    torch's own copies what is channels last to another order and back, a quarter of a training
    step; of one image, batch normalisation is the same and does not.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return super().forward(x)
        images = [
            F.batch_norm(image, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for image in torch.split(x, 1)
        ]
        return torch.cat(images) if len(images) > 1 else images[0]


class ConvBlock(nn.Sequential):
    """Convolution, instance normalisation with affine parameters, leaky ReLU."""

    def __init__(self, before: int, after: int, kernel: Shape, stride: Shape = (1, 1, 1)) -> None:
        pad = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        super().__init__()
        self.conv = nn.Conv3d(before, after, kernel, stride, pad)
        self.norm = InstanceNorm(after, eps=NORM_EPSILON, affine=True)
        self.act = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)


def _stage(before: int, after: int, kernel: Shape, stride: Shape, count: int) -> nn.Sequential:
    first = ConvBlock(before, after, kernel, stride)
    return nn.Sequential(first, *(ConvBlock(after, after, kernel) for _ in range(count - 1)))


class UNet(nn.Module):
    """Plain convolutional U-Net with skip connections.

    Args:
        architecture: widths, strides and kernels.
        deep_supervision: also return logits of the coarser decoder stages (training only).

    Attributes:
        heads: one 1x1x1 convolution per decoder stage, from full resolution down; without deep
            supervision only the first.
    """

    def __init__(self, architecture: Architecture, deep_supervision: bool = False) -> None:
        super().__init__()
        net = architecture
        self.deep_supervision = deep_supervision
        before = (net.inputs, *net.features)
        self.encoder = nn.ModuleList(
            _stage(before[s], net.features[s], net.kernels[s], net.strides[s], net.convolutions)
            for s in range(len(net.features))
        )
        finer = range(len(net.features) - 1)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(
                net.features[s + 1], net.features[s], net.strides[s + 1], net.strides[s + 1]
            )
            for s in finer
        )
        self.decoder = nn.ModuleList(
            _stage(
                2 * net.features[s], net.features[s], net.kernels[s], (1, 1, 1), net.convolutions
            )
            for s in finer
        )
        self.heads = nn.ModuleList(
            nn.Conv3d(net.features[s], net.outputs, 1)
            for s in (finer if deep_supervision else range(1))
        )

    def forward(self, image_NCZYX: Tensor) -> Tensor | list[Tensor]:
        """Logits (N, labels, z, y, x); under deep supervision a list, full resolution first."""
        skips: list[Tensor] = []
        x = image_NCZYX
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        logits: list[Tensor] = []
        for s in reversed(range(len(self.up))):
            x = self.decoder[s](torch.cat((self.up[s](x), skips[s]), dim=1))
            if s < len(self.heads):
                logits.insert(0, self.heads[s](x))
        return logits if self.deep_supervision else logits[0]
