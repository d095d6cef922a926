"""A small model with random weights, for tests that need a network but no anatomy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save as save_safetensors

from inference.model.description import Architecture, Intensity, ModelDescription

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"

TINY = ModelDescription(
    name="random",
    version="0",
    architecture=Architecture(
        features=(8, 16, 32),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        kernels=((3, 3, 3),) * 3,
    ),
    spacing=(8.0, 8.0, 8.0),
    patch=(32, 32, 32),
    intensity=Intensity(lower=-160.0, upper=240.0, mean=80.0, std=60.0),
    decode="linear",
    step=0.5,
    sha256="",
    card={"licence": "none: random numbers"},
)


def description_of(net: Architecture, patch: tuple[int, int, int]) -> ModelDescription:
    """Of a model of which only the network matters."""
    return replace(TINY, architecture=net, patch=patch)


def random_weights(net: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    """He-initialised weights for inference.engines.torch_unet.UNet, without torch.

    The head's biases are negative, the tumour's the most, so that background, organs and tumour all
    get a share of the voxels.
    """
    rng = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}

    def put(name: str, shape: tuple[int, ...], fan_in: int) -> None:
        values = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        weights[f"{name}.weight"] = values.astype(np.float32)

    def block(name: str, before: int, after: int, kernel: tuple[int, ...]) -> None:
        put(f"{name}.conv", (after, before, *kernel), before * int(np.prod(kernel)))
        weights[f"{name}.conv.bias"] = rng.normal(0, 0.1, after).astype(np.float32)
        weights[f"{name}.norm.weight"] = rng.uniform(0.8, 1.2, after).astype(np.float32)
        weights[f"{name}.norm.bias"] = rng.normal(0, 0.1, after).astype(np.float32)

    before = net.inputs
    for stage, (width, kernel) in enumerate(zip(net.features, net.kernels, strict=True)):
        for i in range(net.convolutions):
            block(f"encoder.{stage}.{i}", before, width, kernel)
            before = width
    for stage, width in enumerate(net.features[:-1]):
        deeper, stride = net.features[stage + 1], net.strides[stage + 1]
        put(f"up.{stage}", (deeper, width, *stride), deeper)
        weights[f"up.{stage}.bias"] = rng.normal(0, 0.1, width).astype(np.float32)
        for i in range(net.convolutions):
            block(f"decoder.{stage}.{i}", width if i else 2 * width, width, net.kernels[stage])
    put("heads.0", (net.outputs, net.features[0], 1, 1, 1), 2 * net.features[0])
    # Without a mean over the features, no label wins everywhere.
    weights["heads.0.weight"] -= weights["heads.0.weight"].mean(axis=1, keepdims=True)
    bias = np.full(net.outputs, -0.3, np.float32)
    bias[-1] = -0.7
    weights["heads.0.bias"] = bias
    return weights


def write_model(
    folder: Path, description: ModelDescription = TINY, weights: dict[str, np.ndarray] | None = None
) -> Path:
    """Write a model folder with random weights; returns ``folder``."""
    data = save_safetensors(weights or random_weights(description.architecture))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(data)
    described = replace(description, sha256=hashlib.sha256(data).hexdigest())
    (folder / "model.json").write_text(json.dumps(described.to_json()))
    return folder
