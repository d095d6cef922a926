"""The U-Net of inference.engines.torch_unet computed with as little memory as its layers allow."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.architecture import NEGATIVE_SLOPE, NORM_EPSILON
from .torch_unet import ConvBlock, UNet

_VOXELS = (2, 3, 4)


def lean_forward(network: UNet, image_NCZYX: Tensor) -> Tensor:
    """Logits (N, labels, z, y, x), as ``network(image)`` gives them without deep supervision.

    Normalisation and activation work in place, a skip connection is dropped once it is used, and
    instead of joining it to what comes from below, each is convolved with its part of the weights.
    """
    skips: list[Tensor] = []
    x = image_NCZYX
    for stage in network.encoder:
        for block in cast(nn.Sequential, stage):
            x = _activated(block, _convolved(block, x))
        skips.append(x)
    skips.pop()
    for up, stage in zip(reversed(network.up), reversed(network.decoder), strict=True):
        first, *others = cast("list[ConvBlock]", list(cast(nn.Sequential, stage)))
        x = up(x)
        width = x.shape[1]
        x = _convolved(first, x, slice(0, width))
        x += _convolved(first, skips.pop(), slice(width, None), bias=False)
        x = _activated(first, x)
        for block in others:
            x = _activated(block, _convolved(block, x))
    logits: Tensor = network.heads[0](x)
    return logits


def _convolved(
    block: nn.Module, x: Tensor, inputs: slice = slice(None), bias: bool = True
) -> Tensor:
    conv = cast(ConvBlock, block).conv
    return F.conv3d(
        x, conv.weight[:, inputs], conv.bias if bias else None, conv.stride,
        cast("tuple[int, int, int]", conv.padding),
    )  # fmt: skip


def _activated(block: nn.Module, x: Tensor) -> Tensor:
    """Instance normalisation and leaky ReLU in place; statistics are summed up in float32."""
    norm = cast(ConvBlock, block).norm
    count = x[0, 0].numel()
    mean = x.mean(_VOXELS, keepdim=True, dtype=torch.float32)
    squares = torch.linalg.vector_norm(x, 2, _VOXELS, keepdim=True, dtype=torch.float32)
    variance = (squares.square() / count - mean.square()).clamp_(min=0)
    weight, bias = (p.float().view(1, -1, 1, 1, 1) for p in (norm.weight, norm.bias))
    scale = weight * torch.rsqrt(variance + NORM_EPSILON)
    shift = bias - mean * scale
    torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype), out=x)
    return F.leaky_relu_(x, NEGATIVE_SLOPE)
