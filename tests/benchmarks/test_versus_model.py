"""The peers get the same network: weights, decision and plans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from benchmarks.versus import mapping
from benchmarks.versus.nnunet_model import CONFIGURATION, write_model
from inference.engines.torch_unet import UNet
from inference.labels import NAMES
from inference.model.description import Architecture
from inference.steps.decode import winners
from tests.random_model import TINY, random_weights

NET = Architecture(
    features=(4, 8, 8, 16),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
)


def peer_network(net: Architecture, classes: int) -> PlainConvUNet:
    options = mapping.arguments(net)
    for name in mapping.IMPORTED:
        if options[name] is not None:
            options[name] = getattr(torch.nn, options[name].split(".")[-1])
    return PlainConvUNet(net.inputs, num_classes=classes, deep_supervision=False, **options).eval()


def ours_and_weights(net: Architecture) -> tuple[UNet, dict[str, torch.Tensor]]:
    weights = {name: torch.from_numpy(w) for name, w in random_weights(net, seed=3).items()}
    ours = UNet(net).eval()
    ours.load_state_dict(weights)
    return ours, weights


@pytest.mark.parametrize("net", [TINY.architecture, NET], ids=["tiny", "anisotropic"])
def test_plain_conv_unet_gives_the_same_logits(net):
    ours, weights = ours_and_weights(net)
    theirs = peer_network(net, net.outputs)
    theirs.load_state_dict(mapping.state_dict(weights, net))  # strict: no name missing or extra
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(theirs(image), ours(image), rtol=0, atol=1e-5)


def test_argmax_of_the_softmax_form_is_our_decision():
    ours, weights = ours_and_weights(NET)
    theirs = peer_network(NET, NET.outputs + 1)
    theirs.load_state_dict(mapping.softmax_state_dict(weights, NET))
    image = torch.randn(1, 1, 16, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = theirs(image)[0].argmax(0).numpy()
        logits_CZYX = ours(image)[0].numpy()
    expected = winners(logits_CZYX)
    assert len(np.unique(expected)) > 5
    # Only a tumour logit below an organ's by the factor of the gain may be decided otherwise.
    assert (labels != expected).mean() < 0.01
    margin = np.abs(logits_CZYX[-1]) > logits_CZYX[:-1].max(0) / mapping.TUMOR_GAIN + 1e-4
    np.testing.assert_array_equal(labels[margin], expected[margin])


def test_half_precision_weights_become_float32():
    _, weights = ours_and_weights(NET)
    state = mapping.state_dict({name: w.half() for name, w in weights.items()}, NET)
    assert {w.dtype for w in state.values()} == {torch.float32}


def test_model_folder_says_what_the_model_says(tiny_model: Path, tmp_path: Path):
    write_model(tiny_model, tmp_path)
    plans = json.loads((tmp_path / "plans.json").read_text())
    configuration = plans["configurations"][CONFIGURATION]
    assert configuration["patch_size"] == list(TINY.patch)
    assert configuration["spacing"] == list(TINY.spacing)
    hu = plans["foreground_intensity_properties_per_channel"]["0"]
    assert (hu["percentile_00_5"], hu["percentile_99_5"]) == (-160.0, 240.0)
    assert (hu["mean"], hu["std"]) == (80.0, 60.0)
    labels = json.loads((tmp_path / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0} | {name: label for label, name in NAMES.items()}
    checkpoint = torch.load(tmp_path / "fold_0" / "checkpoint_final.pth", weights_only=False)
    peer_network(TINY.architecture, 15).load_state_dict(checkpoint["network_weights"])
