"""Transposed convolutions merged with what reads them: the same numbers, in less memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
import torch
import torch.nn.functional as F
from openvino import opset13 as ops
from safetensors.numpy import save as save_safetensors

from inference.engines import openvino_graph, openvino_network
from inference.engines.openvino_network import Kind, OpenVinoNetwork, window_bytes
from inference.engines.openvino_weights import merged_kernels
from inference.engines.processor import adds_bytes_in_pairs
from inference.model.architecture import Architecture
from inference.model.int8_ranges import byte_maps
from inference.steps.bfloat16 import as_float32, bfloat16
from tests.inference.engines.test_engines import ARCHITECTURES, reference
from tests.inference.memory import resident_growth
from tests.random_model import description_of, random_weights
from training.ship.calibrate import RecordingNetwork, ranges_of

SMALL = Architecture((16, 32, 64, 128, 256), ((1, 1, 1), *((2, 2, 2),) * 4), ((3, 3, 3),) * 5)


def unbiased(net: Architecture) -> dict[str, np.ndarray]:
    """Random weights without biases of transposed convolutions."""
    weights = random_weights(net, seed=4)
    for name in weights:
        if name.startswith("up.") and name.endswith(".bias"):
            weights[name][:] = 0
    return weights


@pytest.mark.parametrize(
    ("stride", "kernel"),
    [
        ((2, 2, 2), (3, 3, 3)),
        ((1, 2, 2), (1, 3, 3)),
        ((2, 1, 3), (5, 1, 3)),
        ((1, 1, 1), (1, 1, 1)),
    ],
)
def test_one_transposed_convolution_for_two(stride: tuple[int, ...], kernel: tuple[int, ...]):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((1, 3, 4, 5, 6), generator=generator)
    up = torch.randn((3, 4, *stride), generator=generator)
    conv = torch.randn((2, 4, *kernel), generator=generator)
    pad = [k // 2 for k in kernel]
    expected = F.conv3d(F.conv_transpose3d(x, up, stride=stride), conv, padding=pad)
    merged = torch.from_numpy(merged_kernels(up.numpy(), conv.numpy()))
    found = F.conv_transpose3d(x, merged, stride=stride, padding=pad)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["f32", "bf16"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_equal_double_precision(name: str, kind: str, monkeypatch: pytest.MonkeyPatch):
    net, patch = ARCHITECTURES[name]
    weights = unbiased(net)
    window = np.random.default_rng(5).normal(size=patch).astype(np.float32)
    monkeypatch.setattr(openvino_network, "_kind", lambda *_: kind)
    engine = OpenVinoNetwork(description_of(net, patch), save_safetensors(weights))
    operations = [node.get_type_name() for node in engine.graph(patch).get_ordered_ops()]
    ups, merged = len(net.features) - 1, min(2, len(net.features) - 1)
    assert operations.count("ConvolutionBackpropData") == ups
    # Of one that is not merged the bias is added, and what it gives is convolved.
    convolutions = net.convolutions * (2 * ups + 1) + ups + (kind == "f32")
    assert operations.count("Convolution") == convolutions - merged
    found = as_float32(engine.forward([window])[0])
    expected = reference(net, weights, window)
    lost = np.abs(found - expected) / expected.std()
    assert lost.max() < 2e-3 if kind == "f32" else lost.mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["f32", "bf16", "int8", "int8_pairs"])
@pytest.mark.parametrize("window", [(32, 48, 32), (48, 64, 32), (16, 64, 48)])
def test_the_narrowest_windows(
    window: tuple[int, int, int], kind: str, monkeypatch: pytest.MonkeyPatch
):
    """One or two voxels deep down: by AMX a map one voxel wide (x) came out wrong."""
    weights = unbiased(SMALL)
    description = description_of(SMALL, window)
    data = save_safetensors(weights)
    image = np.random.default_rng(5).normal(size=window).astype(np.float32)
    if kind == "int8" and adds_bytes_in_pairs():
        pytest.skip("this processor cuts sums of two products off at 16 bits")
    if kind.startswith("int8"):
        recorder = RecordingNetwork(description, data)
        recorder.forward([image])
        description = replace(description, ranges=ranges_of(recorder.highs))
    monkeypatch.setattr(openvino_network, "_kind", lambda *_: kind)
    found = as_float32(OpenVinoNetwork(description, data).forward([image])[0])
    expected = reference(SMALL, weights, image)
    lost = np.abs(found - expected).mean() / expected.std()
    assert lost < {"f32": 1e-4, "bf16": 0.06, "int8": 0.15, "int8_pairs": 0.15}[kind]


@pytest.mark.parametrize("features", [8, 16, 24])
def test_the_heads_product_takes_nothing_of_other_voxels(features: int):
    """Products by AMX have let NaN into rows that hold none, where 32 does not divide the columns
    (uxlfoundation/oneDNN issue 5717)."""
    net = Architecture((features, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
    shape = [1, features, 4, 8, 16]
    image = ops.parameter(shape, ov.Type.bf16)
    builder = openvino_graph.GraphBuilder(net, random_weights(net), {})
    last = openvino_graph.FeatureMap(ops.convert(image, "f32").output(0))
    logits = ops.convert(builder.head_as_product(last), "f32")
    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    request = core.compile_model(ov.Model([logits], [image]), "CPU").create_infer_request()
    for z, y, x in ((0, 0, 0), (1, 7, 15), (2, 3, 1), (3, 7, 15)):
        values = np.ones(shape, np.float32)
        values[0, :, z, y, x] = np.nan
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)
        request.infer([ov.Tensor(bits, ov.Shape(shape), ov.Type.bf16)])
        unknown = np.isnan(request.get_output_tensor(0).data[0]).any(axis=-1)
        assert np.argwhere(unknown).tolist() == [[z, y, x]]


def test_biases_are_not_lost():
    net, patch = ARCHITECTURES["isotropic"]
    weights = unbiased(net)
    weights["up.1.bias"][0] = 3
    window = np.random.default_rng(5).normal(size=patch).astype(np.float32)
    engine = OpenVinoNetwork(description_of(net, patch), save_safetensors(weights))
    expected = reference(net, weights, window)
    np.testing.assert_allclose(engine.forward([window])[0], expected, atol=2e-3 * expected.std())
    weights["up.1.bias"][0] = 0
    assert np.abs(reference(net, weights, window) - expected).max() > 0.1 * expected.std()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "merged"),
    [
        ("f32", False),
        ("f32", True),
        ("bf16", False),
        ("bf16", True),
        ("int8", False),
        ("int8_pairs", False),
        ("int8_pairs", True),
    ],
)
def test_a_window_takes_the_memory_that_is_planned(
    kind: Kind, merged: bool, monkeypatch: pytest.MonkeyPatch
):
    if kind == "bf16" and "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes bfloat16 in float32")
    window = (96, 128, 128)
    ranges = {name: (2.0,) * channels for name, channels in byte_maps(SMALL).items()}
    description = replace(description_of(SMALL, window), ranges=ranges)
    monkeypatch.setattr(openvino_network, "_kind", lambda *_: kind)
    weights = unbiased(SMALL) if merged else random_weights(SMALL)
    engine = OpenVinoNetwork(description, save_safetensors(weights))
    engine.prepare(window)
    image = np.zeros(window, np.float32)
    image = bfloat16(image) if kind == "bf16" else image
    with resident_growth() as grown:
        engine.forward([image])
        taken = grown() + image.nbytes
    planned = window_bytes(SMALL, kind, merged) * image.size
    # Besides: what compiling leaves for the first window to do.
    assert 0.8 * planned < taken < 1.1 * planned + (30 << 20)
