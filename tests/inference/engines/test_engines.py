"""Engines: the same logits and labels on each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_safetensors

from inference.engines import openvino_network
from inference.engines.choice import load_network
from inference.engines.openvino_network import OpenVinoNetwork
from inference.engines.torch_network import TorchNetwork
from inference.model.description import Architecture, ModelDescription
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from phantom import Phantom, make_phantom
from tests.inference.by_engine import segment, volume_of
from tests.random_model import TINY, WEIGHTS, description_of, random_weights

ARCHITECTURES = {
    "isotropic": (TINY.architecture, (32, 32, 32)),
    "anisotropic": (
        Architecture(
            (8, 12, 16, 24),
            ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
            ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        ),
        (12, 32, 24),
    ),
    "three convolutions": (
        Architecture((6, 10), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3), (3, 3, 3)), convolutions=3),
        (16, 12, 20),
    ),
}


def reference(net: Architecture, weights: dict[str, np.ndarray], window: np.ndarray) -> np.ndarray:
    """The network in double precision."""
    from inference.engines.torch_unet import UNet

    network = UNet(net).double().eval()
    network.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    with torch.no_grad():
        logits: np.ndarray = network(torch.from_numpy(window)[None, None].double())[0].numpy()
    return logits


@pytest.mark.parametrize("stored", [np.float32, np.float16])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_equal_double_precision(name: str, stored: type):
    net, patch = ARCHITECTURES[name]
    weights = {n: w.astype(stored) for n, w in random_weights(net, seed=4).items()}
    description = description_of(net, patch)
    window = np.random.default_rng(5).normal(size=patch).astype(np.float32)
    expected = reference(net, weights, window)
    # Stated for logits of standard deviation 1.
    scale = expected.std()
    data = save_safetensors(weights)
    openvino = OpenVinoNetwork(description, data)
    np.testing.assert_allclose(openvino.forward([window])[0], expected, atol=2e-3 * scale)
    by_torch = TorchNetwork(description, data, "cpu")
    np.testing.assert_allclose(
        by_torch.forward([torch.from_numpy(window)])[0], expected, atol=1e-4 * scale
    )


@pytest.mark.parametrize("device", ["openvino", "torch-cpu"])
def test_windows_may_be_views_and_are_left_as_they_are(tiny_model: Path, device: str):
    description = ModelDescription.load(tiny_model)
    engine = load_network(description, (tiny_model / "model.safetensors").read_bytes(), device)
    image = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    kept = image.copy()
    view = image[3:35, 4:36, 5:37]
    inside = engine.arrays.array(image)[3:35, 4:36, 5:37]
    first = np.array(engine.arrays.numpy(engine.forward([inside])[0]))
    again = engine.arrays.numpy(
        engine.forward([engine.arrays.array(np.ascontiguousarray(view))])[0]
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, kept)
    assert first.shape == (14, 32, 32, 32)


def test_openvino_and_torch_agree_on_the_labels(by_openvino: Segmentation, by_torch: Segmentation):
    ours, theirs = by_openvino.labels, by_torch.labels
    assert len(np.unique(ours)) > 8  # the comparison is of something
    assert (ours == theirs).mean() > 0.999


def test_half_precision_changes_little_and_says_so(
    tiny_model: Path,
    phantom: Phantom,
    by_openvino: Segmentation,
    monkeypatch: pytest.MonkeyPatch,
):
    # OpenVINO puts out bfloat16 on every processor, and computes in it where it can.
    monkeypatch.setattr(openvino_network, "_kind", lambda *_: "bf16")
    segmenter = Segmenter.load(tiny_model, "cpu", precision="auto")
    assert segmenter.network.name.endswith("bf16")
    labels = segmenter.segment(volume_of(phantom)).labels
    # A random model decides by chance between classes that are all alike.
    assert (labels == by_openvino.labels).mean() > 0.95


@pytest.mark.slow
def test_openvino_and_torch_agree_with_a_trained_model():
    phantom = make_phantom((60, 128, 128), (5.0, 3.0, 3.0), seed=3)
    ours = segment(WEIGHTS / "tiny", "cpu", phantom).labels
    theirs = segment(WEIGHTS / "tiny", "torch-cpu", phantom).labels
    assert (ours > 0).any()
    assert (ours == theirs).mean() > 0.9999


def test_a_window_that_cannot_be_compiled_costs_its_own_scan_alone(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    description = ModelDescription.load(tiny_model)
    weights = (tiny_model / "model.safetensors").read_bytes()
    network = OpenVinoNetwork(description, weights)
    small, large = np.zeros((32, 32, 32), np.float32), np.zeros((32, 32, 64), np.float32)
    (before,) = network.forward([small])

    def lacks(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(network, "core", type("Core", (), {"compile_model": lacks})())
        with pytest.raises(MemoryError):
            network.forward([large])
    np.testing.assert_array_equal(network.forward([small])[0], before)
