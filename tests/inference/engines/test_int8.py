"""int8: what is rounded, how far labels move, when it is chosen, and where it cannot be."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as ops
from safetensors.numpy import save as save_safetensors

from inference.engines import openvino_graph, openvino_network, openvino_weights, processor
from inference.engines.choice import load_network
from inference.engines.openvino_graph import Kind, ranges_in_pairs
from inference.engines.openvino_network import OpenVinoNetwork
from inference.engines.torch_unet import UNet
from inference.errors import DeviceError, ModelError
from inference.model.architecture import Architecture
from inference.model.description import ModelDescription
from inference.model.int8_ranges import Ranges, byte_maps
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_labels, write_image
from inference.segmenter import Segmenter
from inference.steps.bfloat16 import as_float32
from phantom import Phantom
from tests.inference.by_engine import volume_of
from tests.inference.engines.test_engines import ARCHITECTURES, reference
from tests.random_model import TINY, description_of, random_weights, write_model
from training.ship.calibrate import RecordingNetwork, calibrate, ranges_of

ROOT = Path(__file__).resolve().parents[3]


def computed(node: object, image: np.ndarray) -> np.ndarray:
    """What a graph of one node makes of an image."""
    parameter = ops.parameter(list(image.shape), np.float32)
    model = ov.Model([node(parameter.output(0))], [parameter])
    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = core.compile_model(model, "CPU").create_infer_request()
    request.infer([image])
    out: np.ndarray = request.get_output_tensor(0).data.copy()
    return out


@pytest.mark.parametrize(("zero", "low"), [(5, -0.02), (128, -128 / 127)])
def test_maps_are_rounded_to_bytes_of_which_one_is_zero(zero: int, low: float):
    values = np.linspace(-1.5, 1.5, 3001, dtype=np.float32).reshape(1, 1, 1, 1, -1)
    builder = openvino_graph.GraphBuilder(TINY.architecture, {}, {})
    found = computed(lambda x: builder._in_bytes(x, zero), values).ravel()
    steps = found * (255 - zero)
    np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
    assert abs(found[1500]) < 1e-6 and found.max() == pytest.approx(1)
    assert found.min() == pytest.approx(low, rel=1e-5)
    assert len(np.unique(steps.round())) <= 256
    inside = (values.ravel() > low) & (values.ravel() < 1)
    assert np.abs(found - values.ravel())[inside].max() <= 0.5001 / (255 - zero)


def test_weights_are_rounded_for_each_output_channel():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 2, 1, 1, 1)).astype(np.float32)
    weights[1] *= 1000
    weights[2] = 0
    factors = np.array([2.0, 0.5], np.float32)
    image = np.eye(2, dtype=np.float32).reshape(1, 2, 1, 1, 2)
    node = openvino_weights.weights_node(weights, factors, inputs=1)
    found = computed(
        lambda x: ops.convolution(x, node, [1] * 3, [0] * 3, [0] * 3, [1] * 3).output(0), image
    ).reshape(3, 2)
    scaled = (weights * factors.reshape(1, -1, 1, 1, 1)).reshape(3, 2)
    most = np.abs(scaled).max(axis=1, keepdims=True)
    assert np.abs(found - scaled).max(initial=0, where=most > 0) <= 0.51 / 127 * most.max()
    assert (np.abs(found - scaled) <= 0.51 / 127 * most).all()
    assert (found[2] == 0).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    inputs=st.integers(1, 9),
    tail=st.floats(0.2, 8),
)
def test_no_pair_of_weights_leaves_16_bits(seed: int, inputs: int, tail: float):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(3, inputs, 1, 2, 2))
    weights = (np.sign(normal) * np.abs(normal) ** tail).astype(np.float32)
    factors = rng.uniform(0.1, 10, inputs).astype(np.float32)
    node = openvino_weights.weights_node(weights, factors, inputs=1, pairs=True).get_node()
    in_bytes, unit = (
        node.input_value(0).get_node().input_value(0).get_node().data.astype(np.int64),
        node.input_value(1).get_node().data,
    )
    scaled = weights * factors.reshape(1, -1, 1, 1, 1)
    assert (np.abs(in_bytes * unit - scaled) <= 0.501 * unit).all()
    padded = np.pad(in_bytes, [(0, 0), (0, inputs % 2), (0, 0), (0, 0), (0, 0)])
    for a in (0, 255):  # every sum of two products lies between those of extreme bytes
        for b in (0, 255):
            sums = a * padded[:, ::2] + b * padded[:, 1::2]
            assert sums.min() >= -(2**15) and sums.max() < 2**15
    # The bound is used: less than half of the bits' reach would be a bit given away.
    highest = np.abs(in_bytes).max(axis=(1, 2, 3, 4))
    assert (highest >= 63).all()


def test_saturated_maps_and_the_largest_weights_are_summed_exactly():
    """Bytes of 255 all over, and weights that are all as large as any: as bad as it gets."""
    weights = np.ones((8, 16, 3, 3, 3), np.float32)
    weights[4:] *= -1
    node = openvino_weights.weights_node(weights, np.ones(16, np.float32), inputs=1, pairs=True)
    builder = openvino_graph.GraphBuilder(TINY.architecture, {}, {})

    def convolved(x: object) -> object:
        in_bytes = builder._in_bytes(x, 5)
        return ops.convolution(in_bytes, node, [1] * 3, [1] * 3, [1] * 3, [1] * 3).output(0)

    found = computed(convolved, np.ones((1, 16, 6, 6, 6), np.float32))[0]
    inside = found[:, 1:-1, 1:-1, 1:-1]
    rounded = 64 / 63.75
    np.testing.assert_allclose(inside[:4], 16 * 27 * rounded, rtol=1e-4)
    np.testing.assert_allclose(inside[4:], -16 * 27 * rounded, rtol=1e-4)


def emulated(
    net: Architecture,
    weights: dict[str, np.ndarray],
    window: np.ndarray,
    ranges: Ranges,
    *,
    pairs: bool,
) -> np.ndarray:
    """The network in double precision, its maps and weights rounded as the module says."""
    network = UNet(net).double().eval()
    network.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    factors = {name: torch.tensor(values).double() for name, values in ranges.items()}

    def rounded_map(name: str, zero: int) -> Callable[..., torch.Tensor]:
        factor, top = factors[name].view(1, -1, 1, 1, 1), 255 - zero

        def rounded(module: object, given: object, out: torch.Tensor) -> torch.Tensor:
            return (out / factor * top).round().clamp(-zero, top) / top * factor

        return rounded

    def rounded_weight(weight: torch.Tensor, factor: torch.Tensor, dims: list[int]) -> torch.Tensor:
        scaled = weight * factor
        unit = scaled.abs().amax(dims, keepdim=True) / 127
        if pairs:
            odd = scaled.shape[1] % 2
            padded = torch.cat([scaled, torch.zeros_like(scaled[:, :odd])], dim=1)
            for side in (padded.clamp(min=0), -padded.clamp(max=0)):
                sums = side[:, 0::2] + side[:, 1::2]
                unit = torch.maximum(unit, sums.amax(dims, keepdim=True) / 127.5)
        return (scaled / unit).round() * unit / factor

    widths = byte_maps(net)

    def round_conv(name: str, inputs: list[str]) -> None:
        weight, first = network.get_submodule(name).weight.data, 0
        for source in inputs:
            part = weight[:, first : (first := first + widths[source])]
            if source in factors:
                part[:] = rounded_weight(part, factors[source].view(1, -1, 1, 1, 1), [1, 2, 3, 4])

    last = net.convolutions - 1
    for stage in range(len(net.features)):
        for i in range(net.convolutions):
            before = f"encoder.{stage}.{i - 1}" if i else f"encoder.{stage - 1}.{last}"
            if before in widths:
                round_conv(f"encoder.{stage}.{i}.conv", [before])
    for stage in range(len(net.features) - 1):
        deepest = stage == len(net.features) - 2
        below = f"{'encoder' if deepest else 'decoder'}.{stage + 1}.{last}"
        if below in factors:
            # Factors of the channels that it makes are folded into a transposed convolution, too.
            up, out = network.get_submodule(f"up.{stage}"), factors[f"up.{stage}"]
            both = factors[below].view(-1, 1, 1, 1, 1) / out.view(1, -1, 1, 1, 1)
            up.weight.data = rounded_weight(up.weight.data, both, [0, 2, 3, 4])
        round_conv(f"decoder.{stage}.0.conv", [f"up.{stage}", f"encoder.{stage}.{last}"])
        for i in range(1, net.convolutions):
            round_conv(f"decoder.{stage}.{i}.conv", [f"decoder.{stage}.{i - 1}"])
    for name in factors:
        zero = 128 if name.startswith("up") else 5
        network.get_submodule(name).register_forward_hook(rounded_map(name, zero))
    with torch.no_grad():
        logits: np.ndarray = network(torch.from_numpy(window)[None, None].double())[0].numpy()
    return logits


SHALLOW = Architecture(
    (6, 10), ((1, 1, 1), (1, 2, 2)), ((1, 3, 3), (3, 3, 3)), convolutions=1
), (16, 24, 20)  # fmt: skip


@pytest.mark.parametrize("kind", ["int8", "int8_pairs"])
@pytest.mark.parametrize("name", ["shallow", *ARCHITECTURES])
def test_logits_are_those_of_rounded_maps_and_weights(
    name: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
):
    """In pairs by every processor; in full bytes by those that add up their products in 32 bits."""
    if kind == "int8" and processor.adds_bytes_in_pairs():
        pytest.skip("this processor cuts sums of two products off at 16 bits")
    monkeypatch.setattr(openvino_network, "_kind", lambda *_: kind)
    net, patch = {"shallow": SHALLOW, **ARCHITECTURES}[name]
    weights = random_weights(net, seed=4)
    description = description_of(net, patch)
    window = np.random.default_rng(5).normal(size=patch).astype(np.float32)
    exact = reference(net, weights, window)
    data = save_safetensors(weights)
    with monkeypatch.context() as measured:
        measured.setattr(openvino_network, "_kind", lambda *_: "f32")
        recorder = RecordingNetwork(description, data)
    recorder.forward([window])
    ranges = ranges_of(recorder.highs)
    engine = OpenVinoNetwork(dataclasses.replace(description, ranges=ranges), data)
    engine.core.set_property("CPU", {"PERF_COUNT": True})
    found = as_float32(engine.forward([window])[0])
    assert engine.name.endswith(kind)
    # Eight bits through some ten layers, few channels and random weights.
    lost = (found - exact).std() / exact.std()
    assert 0.005 < lost < 0.1
    # A value beside the middle of two bytes may fall to either side, and with every layer the
    # difference grows: 76 millionths after the second, three times as much after each other one.
    pairs = kind == "int8_pairs"
    rounded = ranges_in_pairs(net, ranges) if pairs else ranges
    expected = emulated(net, weights, window, rounded, pairs=pairs)
    assert (found - expected).std() / exact.std() < lost * (0.1 if name == "shallow" else 0.7)
    kinds = {p.exec_type for p in engine.request.profiling_info if p.node_type == "Convolution"}
    assert any(kind.endswith("I8") for kind in kinds), kinds


@pytest.fixture(scope="module")
def ranged(tiny_model: Path, phantom: Phantom) -> ModelDescription:
    """The tiny model's description with ranges measured on the phantom."""
    ranges = calibrate(tiny_model, [volume_of(phantom)])
    return dataclasses.replace(ModelDescription.load(tiny_model), ranges=ranges)


def test_labels_move_little(tiny_model: Path, ranged: ModelDescription, phantom: Phantom):
    segmenter = Segmenter.load(tiny_model, "cpu", precision="f32")
    expected = segmenter.segment(volume_of(phantom)).labels
    segmenter.network = OpenVinoNetwork(
        ranged, (tiny_model / "model.safetensors").read_bytes(), "int8"
    )
    labels = segmenter.segment(volume_of(phantom)).labels
    # A random model decides by chance between classes that are all alike.
    assert len(np.unique(labels)) > 8
    assert 0.85 < (labels == expected).mean() < 1


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE"])
def test_processors_without_vnni_compute_it_too(
    instructions: str, ranged: ModelDescription, tiny_model: Path, phantom: Phantom, tmp_path: Path
):
    """oneDNN held to older instructions, which add bytes up in pairs."""
    if "sse2" not in processor._flags():
        pytest.skip("these are instructions of x86")
    model = write_model(tmp_path / "ranged", ranged)
    scan, found = tmp_path / "scan.nii.gz", []
    write_image(scan, phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
    for held in ({}, {"ONEDNN_MAX_CPU_ISA": instructions}):
        out = tmp_path / f"{len(found)}.nii.gz"
        report = tmp_path / f"{len(found)}.json"
        words = ["-i", str(scan), "-o", str(out), "--model", str(model), "--precision", "int8"]
        words += ["--report", str(report)]
        command = [sys.executable, "-m", "inference", "--device", "cpu", "--quiet", *words]
        subprocess.run(command, check=True, env={**os.environ, **held}, cwd=ROOT)
        found.append(read_labels(out)[0])
    assert json.loads(report.read_text())["engine"].endswith("int8_pairs")
    assert len(np.unique(found[1])) > 8
    assert (found[0] == found[1]).mean() > 0.85


@pytest.mark.parametrize(
    ("precision", "bfloat16", "adds", "measured", "kind"),
    [
        ("auto", True, "in 32 bits", True, "bf16"),
        ("auto", False, "in 32 bits", True, "int8"),
        ("auto", False, "in 32 bits", False, "f32"),
        ("auto", False, "in pairs", True, "f32"),
        ("auto", False, "in pairs", False, "f32"),
        ("auto", False, "unknown", True, "f32"),
        ("int8", True, "in 32 bits", True, "int8"),
        ("int8", True, "in pairs", True, "int8_pairs"),
        ("int8", False, "unknown", True, "int8"),
        ("f32", True, "in 32 bits", True, "f32"),
        ("f32", False, "in pairs", True, "f32"),
    ],
)
def test_choice_of_precision(
    precision: str,
    bfloat16: bool,
    adds: str,
    measured: bool,
    kind: str,
    ranged: ModelDescription,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(openvino_network, "multiplies_bytes", lambda: adds == "in 32 bits")
    monkeypatch.setattr(openvino_network, "adds_bytes_in_pairs", lambda: adds == "in pairs")
    description = ranged if measured else dataclasses.replace(ranged, ranges={})
    assert openvino_network._kind(description, precision, bfloat16) == kind  # type: ignore[arg-type]


VNNI = "processor: 0\nflags\t\t: sse2 avx2 avx512_vnni\nflags\t\t: fpu\n"


@pytest.mark.parametrize(
    ("text", "held", "multiplies", "pairs", "old"),
    [
        (VNNI, None, True, False, False),
        (VNNI, "AVX512_CORE_VNNI", True, False, False),
        (VNNI, "AVX2", False, True, False),
        (VNNI, "avx512_core", False, True, False),
        ("flags\t\t: sse2 avx2 avx_vnni\n", None, True, False, False),
        ("flags\t\t: sse2 avx2 avx512f avx512_vnnix\n", None, False, True, False),
        ("flags\t\t: sse2 avx\n", None, False, False, True),
        ("Features\t: fp asimd i8mm\n", None, False, False, False),
        ("", None, False, False, False),
    ],
)
def test_what_linux_says_of_the_processor(
    text: str,
    held: str | None,
    multiplies: bool,
    pairs: bool,
    old: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if held is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", held)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    assert processor.held_without_bfloat16() is (
        held in ("AVX2", "avx512_core", "AVX512_CORE_VNNI")
    )
    assert not processor.multiplies_bytes()  # there is no such file
    assert not processor.adds_bytes_in_pairs()
    assert not processor.too_old_for_bytes()
    (tmp_path / "cpuinfo").write_text(text)
    assert processor.multiplies_bytes() is multiplies
    assert processor.adds_bytes_in_pairs() is pairs
    assert processor.too_old_for_bytes() is old


def test_a_processor_that_is_too_old_is_named(
    ranged: ModelDescription, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(openvino_network, "too_old_for_bytes", lambda: True)
    with pytest.raises(DeviceError, match="AVX2"):
        openvino_network._kind(ranged, "int8", bfloat16=False)
    assert openvino_network._kind(ranged, "f32", bfloat16=False) == "f32"


def test_a_model_without_ranges_and_a_device_without_int8_are_named(tiny_model: Path):
    with pytest.raises(ModelError, match=r"has no ranges .* training calibrate"):
        Segmenter.load(tiny_model, "cpu", precision="int8")
    with pytest.raises(
        DeviceError, match='precision="int8": is not for torch-cpu; use device="cpu"'
    ):
        load_network(TINY, b"", "torch-cpu", precision="int8")


def test_maps_of_an_architecture():
    channels = byte_maps(TINY.architecture)
    assert channels["encoder.2.1"] == channels["encoder.2.0"] == 32
    assert channels["up.1"] == channels["decoder.1.0"] == channels["decoder.1.1"] == 16
    assert "decoder.0.0" in channels and "decoder.0.1" not in channels
    assert len(channels) == 6 + 2 + 3
