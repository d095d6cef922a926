"""A trained network's weights for a wider one (Net2Net: Chen et al., ICLR 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WidthError(ValueError):
    """The other network differs in more than a whole multiple of the widths."""


@torch.no_grad()
def widen(network: nn.Module, narrow: dict[str, Tensor], seed: int = 0) -> None:
    """Give ``network`` weights with which it computes what a narrower one computes.

    Every channel of the narrower network becomes neighbouring ones of equal value, and the weights
    that read it are shared out among them at random, so that gradients tell them apart. Where the
    widths are equal the weights are copied.

    Args:
        network: a :class:`inference.engines.torch_unet.UNet`, possibly with deep supervision.
        narrow: weights of a network with the same layers and widths that divide this one's. Where
            it has no heads of deep supervision, this network's own stay as they are.
        seed: of the shares.

    Raises:
        WidthError: another number of stages, other kernels or widths.
    """
    draw = torch.Generator().manual_seed(seed)
    reads = {
        f"{name}.weight": (1, 0) if isinstance(module, nn.ConvTranspose3d) else (0, 1)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
    }
    supervised = any(name.startswith("heads.") and not _is_first_head(name) for name in narrow)
    for name, wide in network.named_parameters():
        if name.startswith("heads.") and not _is_first_head(name) and not supervised:
            continue
        if name not in narrow:
            raise WidthError(f"there is no {name} in the other network")
        weight = narrow[name].float().cpu()
        if weight.ndim != wide.ndim or weight.shape[2:] != wide.shape[2:]:
            raise WidthError(f"{name} has another kernel in the other network")
        for axis in range(min(weight.ndim, 2)):
            weight = weight.repeat_interleave(_ratio(name, wide, weight, axis), dim=axis)
        if name in reads:
            source = reads[name][1]
            weight = _shared_out(weight, narrow[name].shape[source], source, draw)
        wide.copy_(weight)


def _is_first_head(name: str) -> bool:
    """Whether a parameter is of the head at full resolution, the only one that inference has."""
    return name.startswith("heads.0.")


def _ratio(name: str, wide: Tensor, narrow: Tensor, axis: int) -> int:
    ratio, rest = divmod(wide.shape[axis], narrow.shape[axis])
    if rest:
        raise WidthError(f"{name} is not a whole multiple as wide as in the other network")
    return ratio


def _shared_out(weight: Tensor, channels: int, axis: int, draw: torch.Generator) -> Tensor:
    """Scale each run of copies along ``axis`` by random shares that add up to 1."""
    copies = weight.shape[axis] // channels
    if copies == 1:
        return weight
    runs = weight.movedim(axis, -1)
    runs = runs.reshape(*runs.shape[:-1], channels, copies)
    shares = torch.rand(runs.shape, generator=draw).add_(0.5)
    shares /= shares.sum(-1, keepdim=True)
    return (runs * shares).flatten(-2).movedim(-1, axis)
