"""A network's weights: the first ones, and those that inference gets."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from inference.network import NEGATIVE_SLOPE, UNet
from training.recipe import Network


def build_network(settings: Network) -> UNet:
    """The U-Net with deep supervision and He-normal convolutions (paper Table 4)."""
    network = UNet(settings.architecture(), deep_supervision=True)
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if settings.head_prior:
        for head in network.heads:
            assert isinstance(head, nn.Conv3d) and head.bias is not None
            nn.init.constant_(head.bias, math.log(settings.head_prior / (1 - settings.head_prior)))
            head.weight.data.mul_(0.1)
    return network


def averaged_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """A checkpoint's weights, averaged if an average was kept."""
    average = state["average"]
    weights: dict[str, Tensor] = average["weights"] if average else state["network"]
    return weights


def inference_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of :class:`UNet` without deep supervision from a checkpoint, averaged if kept."""
    return {
        name: weight
        for name, weight in averaged_weights(state).items()
        if not name.startswith("heads.") or name.startswith("heads.0.")
    }
