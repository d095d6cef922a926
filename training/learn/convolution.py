"""Weight gradients of 3x3x3 convolutions as products of large matrices.

oneDNN's float32 kernels for them reach a quarter of the speed of a processor without AVX-512 where
there are few channels, which is where a U-Net has most of its voxels (docs/LOG.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Kernel 3, stride 1, padding 1 along each axis.
_THREE, _ONE = (3, 3, 3), (1, 1, 1)
# Below, the matrices are too thin to gain anything.
_FEWEST_CHANNELS = 8


def is_slow(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN's weight gradients are the slower ones: in float32 on AVX2 alone."""
    return (
        device.type == "cpu"
        and dtype == torch.float32
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


def replace_weight_gradients(network: nn.Module) -> None:
    """Let the network's 3x3x3 convolutions of stride 1 use :func:`weight_gradient`.

    What they compute forward stays the same; gradients differ by rounding.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and _is_replaceable(module):
            module.forward = _forward(module)  # type: ignore[method-assign]


def weight_gradient(image_NCZYX: Tensor, gradient_NOZYX: Tensor) -> Tensor:
    """Gradient of a loss by the weights of a convolution of kernel 3, stride 1 and padding 1.

    Args:
        image_NCZYX: what the convolution was given.
        gradient_NOZYX: of the loss, by what the convolution gave.

    Returns:
        (O, C, z, y, x), in the images' type.
    """
    _, channels, depth, height, width = image_NCZYX.shape
    outputs = gradient_NOZYX.shape[1]
    # One plane's voxels by (shift along x, channel), a line of zeros above and below: a shift along
    # y is a shift by whole rows of this matrix.
    plane = image_NCZYX.new_zeros(height + 2, width, 3, channels)
    # The gradients that this plane takes part in, by (shift along z, output).
    wanted = image_NCZYX.new_zeros(height, width, 3, outputs)
    total = image_NCZYX.new_zeros(3, 3 * channels, 3 * outputs)
    rows = [plane[y : y + height].view(-1, 3 * channels).T for y in range(3)]
    for image_ZYXC, gradient_ZYXO in zip(
        image_NCZYX.permute(0, 2, 3, 4, 1), gradient_NOZYX.permute(0, 2, 3, 4, 1), strict=True
    ):
        for z in range(depth):
            plane[1:-1, 1:, 0] = image_ZYXC[z, :, :-1]
            plane[1:-1, :, 1] = image_ZYXC[z]
            plane[1:-1, :-1, 2] = image_ZYXC[z, :, 1:]
            for shift in range(3):
                other = z + 1 - shift
                wanted[:, :, shift] = gradient_ZYXO[other] if 0 <= other < depth else 0
            for y in range(3):
                total[y].addmm_(rows[y], wanted.view(-1, 3 * outputs))
    return total.view(3, 3, channels, 3, outputs).permute(4, 2, 3, 0, 1).contiguous()


class _Convolution(torch.autograd.Function):
    """Convolution of kernel 3, stride 1 and padding 1 with :func:`weight_gradient`."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(image, weight)
        return functional.conv3d(image, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        image, weight = ctx.saved_tensors
        of_image: Tensor | None = None
        if ctx.needs_input_grad[0]:
            # Not the bias, too: with it oneDNN would compute the weights' gradient after all.
            wanted = [True, False, False]
            of_image = torch.ops.aten.convolution_backward(
                gradient, image, weight, None, _ONE, _ONE, _ONE, False, (0, 0, 0), 1, wanted
            )[0]
        return of_image, weight_gradient(image, gradient), gradient.sum(dim=(0, 2, 3, 4))


def _is_replaceable(module: nn.Conv3d) -> bool:
    form = (module.kernel_size, module.stride, module.padding, module.dilation)
    return (
        form == (_THREE, _ONE, _ONE, _ONE)
        and module.groups == 1
        and module.bias is not None
        and module.in_channels >= _FEWEST_CHANNELS
    )


def _forward(module: nn.Conv3d) -> Any:
    def run(image: Tensor) -> Tensor:
        out: Tensor = _Convolution.apply(image, module.weight, module.bias)  # type: ignore[no-untyped-call]
        return out

    return run
