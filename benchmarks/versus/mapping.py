"""A model of this project in dynamic-network-architectures' PlainConvUNet: arguments and names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from inference.labels import TUMOR
from inference.model.architecture import NEGATIVE_SLOPE, NORM_EPSILON
from inference.model.description import Architecture, ModelDescription, verified_weights

CLASS = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
# Arguments that name something to import.
IMPORTED = ("conv_op", "norm_op", "dropout_op", "nonlin")
# High enough for a tumour to win, low enough for nnU-Net's float16 sums of weighted logits.
TUMOR_GAIN = 64.0


def arguments(net: Architecture) -> dict[str, Any]:
    """Keyword arguments of PlainConvUNet as nnU-Net's plans.json writes them (JSON values)."""
    stages = len(net.features)
    return {
        "n_stages": stages,
        "features_per_stage": list(net.features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [list(kernel) for kernel in net.kernels],
        "strides": [list(stride) for stride in net.strides],
        "n_conv_per_stage": [net.convolutions] * stages,
        "n_conv_per_stage_decoder": [net.convolutions] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": NORM_EPSILON, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"negative_slope": NEGATIVE_SLOPE, "inplace": True},
    }


def state_dict(weights: dict[str, Tensor], net: Architecture) -> dict[str, Tensor]:
    """PlainConvUNet's state dict, float32, from weights under our U-Net's names.

    PlainConvUNet lists its encoder twice and each block's layers twice. Its heads for deep
    supervision, which are not evaluated at inference, are filled with zeros.
    """
    stages = len(net.features)
    state: dict[str, Tensor] = {}
    for name, values in weights.items():
        for alias in _aliases(_translated(name, stages)):
            state[alias] = values.float()
    for stage in range(1, stages - 1):
        head = f"decoder.seg_layers.{stages - 2 - stage}"
        state[f"{head}.weight"] = torch.zeros(net.outputs, net.features[stage], 1, 1, 1)
        state[f"{head}.bias"] = torch.zeros(net.outputs)
    return state


def read_model(model: Path) -> tuple[ModelDescription, dict[str, Tensor]]:
    """What a folder's model.json says, and its weights as :func:`softmax_state_dict` gives them.

    Raises:
        ModelError: the model is missing or damaged.
    """
    description = ModelDescription.load(model)
    weights = load_safetensors(verified_weights(model, description))
    return description, softmax_state_dict(weights, description.architecture)


def softmax_state_dict(weights: dict[str, Tensor], net: Architecture) -> dict[str, Tensor]:
    """:func:`state_dict` with one output more, whose argmax is this project's decision.

    Output 0, the background, is the constant zero: the likeliest organ wins where its logit is
    positive. The tumour's logits are multiplied by TUMOR_GAIN, so that where they are positive they
    beat every organ's (but those that are TUMOR_GAIN times as high), and else still lose to zero.
    Both survive linear interpolation.
    """
    gain = torch.ones(net.outputs)
    gain[TUMOR - 1] = TUMOR_GAIN
    state = state_dict(weights, net)
    for name, values in state.items():
        if name.startswith("decoder.seg_layers."):
            scaled = values * gain.reshape(-1, *[1] * (values.ndim - 1))
            state[name] = torch.cat((torch.zeros_like(values[:1]), scaled))
    return state


def _translated(name: str, stages: int) -> str:
    """The peer's name of one parameter. Its decoder counts stages from the bottom."""
    part, stage, rest = name.split(".", 2)
    from_bottom = stages - 2 - int(stage)
    if part == "encoder":
        return f"encoder.stages.{stage}.0.convs.{rest}"
    prefix = {"decoder": "stages", "up": "transpconvs", "heads": "seg_layers"}[part]
    middle = "convs." if part == "decoder" else ""
    return f"decoder.{prefix}.{from_bottom}.{middle}{rest}"


def _aliases(name: str) -> list[str]:
    layer = re.sub(r"\.(conv|norm)\.", lambda m: f".all_modules.{int(m[1] == 'norm')}.", name)
    names = list(dict.fromkeys((name, layer)))
    if name.startswith("encoder."):
        names += [f"decoder.{alias}" for alias in names]
    return names
