"""A network's weights: the first ones, and those that inference gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inference.engines.torch_unet import UNet
from inference.labels import TUMOR
from inference.model.architecture import NEGATIVE_SLOPE
from training.recipe import Network

HEAD_BIAS = "heads.0.bias"


def build_network(settings: Network) -> UNet:
    """The U-Net with deep supervision and He-normal convolutions (paper Table 4).

    Biases of transposed convolutions stay 0 (:func:`inference_weights`).
    """
    network = UNet(settings.architecture(), deep_supervision=True)
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
                module.bias.requires_grad_(isinstance(module, nn.Conv3d))
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
    """Weights of :class:`UNet` without deep supervision from a checkpoint, averaged if kept.

    Biases of transposed convolutions, which older checkpoints have, are set to 0. The normalisation
    that follows takes them away again but at the edges of a window, and without them inference
    computes less (:mod:`inference.engines.openvino_graph`).
    """
    return {
        name: torch.zeros_like(weight) if _is_bias_of_up(name) else weight
        for name, weight in averaged_weights(state).items()
        if not name.startswith("heads.") or name.startswith("heads.0.")
    }


def _is_bias_of_up(name: str) -> bool:
    return name.startswith("up.") and name.endswith(".bias")


def with_threshold(weights: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """Weights whose tumour begins at a probability of ``threshold``: inference always cuts at 0.5,
    so the head's bias is moved. The other way round for :func:`without_threshold`."""
    bias = weights[HEAD_BIAS].float().clone()
    bias[TUMOR - 1] -= math.log(threshold / (1 - threshold))
    return {**weights, HEAD_BIAS: bias}


def without_threshold(weights: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """As trained: what :func:`with_threshold` has moved is moved back."""
    return with_threshold(weights, 1 - threshold)
