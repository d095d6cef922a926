"""Engines: the same logits on each, the choice between them, and the way down without memory."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_safetensors

from examples.phantom import Phantom, make_phantom
from inference import engines
from inference.description import Architecture, Intensity, ModelDescription
from inference.engines import choose_device, load_engine
from inference.engines.device_memory import memory_plan
from inference.engines.openvino_engine import OpenVinoEngine, cache_folder
from inference.engines.torch_engine import HostEngine, TorchEngine
from inference.engines.torch_steps import uploaded
from inference.errors import DeviceError
from inference.grid import Grid
from inference.segmenter import Segmentation, Segmenter
from inference.volume import Volume
from tests.random_model import TINY, WEIGHTS, random_weights

SMALL = Architecture((16, 32, 64, 128, 256), ((1, 1, 1), *((2, 2, 2),) * 4), ((3, 3, 3),) * 5)

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")

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
    from inference.network import UNet

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
    description = ModelDescription(
        "x", "0", net, (1.0, 1.0, 1.0), patch, Intensity(-1, 1, 0, 1), "linear", 0.5, ""
    )
    window = np.random.default_rng(5).normal(size=patch).astype(np.float32)
    expected = reference(net, weights, window)
    # Stated for logits of standard deviation 1.
    scale = expected.std()
    data = save_safetensors(weights)
    openvino = OpenVinoEngine(description, data)
    np.testing.assert_allclose(openvino.forward([window])[0], expected, atol=2e-3 * scale)
    by_torch = TorchEngine(description, data, "cpu")
    np.testing.assert_allclose(
        by_torch.forward([torch.from_numpy(window)])[0], expected, atol=1e-4 * scale
    )


@pytest.mark.parametrize("device", ["openvino", "torch-cpu"])
def test_windows_may_be_views_and_are_left_as_they_are(tiny_model: Path, device: str):
    description = ModelDescription.load(tiny_model)
    engine = load_engine(description, (tiny_model / "model.safetensors").read_bytes(), device)
    image = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    kept = image.copy()
    view = image[3:35, 4:36, 5:37]
    inside = engine.array(image)[3:35, 4:36, 5:37]
    first = np.array(engine.numpy(engine.forward([inside])[0]))
    again = engine.numpy(engine.forward([engine.array(np.ascontiguousarray(view))])[0])
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, kept)
    assert first.shape == (14, 32, 32, 32)


def volume_of(phantom: Phantom) -> Volume:
    return Volume.of_array(phantom.image_ZYX, phantom.grid)


def segment(folder: Path, device: str, phantom: Phantom, decode: str = "linear") -> Segmentation:
    segmenter = Segmenter.load(folder, device, precision="f32")
    return segmenter.segment(volume_of(phantom), decode=decode)


@pytest.fixture(scope="module")
def by_torch(tiny_model: Path, phantom: Phantom) -> Segmentation:
    """The phantom's segmentation by torch, with nothing in the way."""
    return segment(tiny_model, "torch-cpu", phantom)


@pytest.fixture(scope="module")
def by_openvino(tiny_model: Path, phantom: Phantom) -> Segmentation:
    """The phantom's segmentation by OpenVINO."""
    return segment(tiny_model, "cpu", phantom)


def test_openvino_and_torch_agree_on_the_labels(by_openvino: Segmentation, by_torch: Segmentation):
    ours, theirs = by_openvino.labels, by_torch.labels
    assert len(np.unique(ours)) > 8  # the comparison is of something
    assert (ours == theirs).mean() > 0.999


def test_half_precision_changes_little_and_says_so(
    tiny_model: Path, phantom: Phantom, by_openvino: Segmentation
):
    segmenter = Segmenter.load(tiny_model, "cpu", precision="auto")
    if "bf16" not in segmenter.engine.name:
        pytest.skip("this processor computes in full precision only")
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


@without_cuda
def test_choice_without_cuda():
    assert choose_device("auto") == "openvino"
    assert choose_device("cpu") == "openvino"
    assert choose_device("torch-cpu") == "torch-cpu"


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_where_there_is_none(device: str):
    with pytest.raises(DeviceError, match=f"--device {device}: .*; use --device cpu"):
        choose_device(device)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "", "CPU", "cuda:-1", "mps"])
def test_unknown_devices(device: str):
    with pytest.raises(DeviceError, match="unknown"):
        choose_device(device)


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let only these of the optional packages seem installed."""
    find = importlib.util.find_spec

    def find_spec(name: str) -> object:
        if name in ("torch", "openvino", "cupy"):
            return object() if name in names else None
        return find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


@without_cuda
def test_choice_by_what_is_installed(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch, "torch")
    assert choose_device("auto") == choose_device("cpu") == "torch-cpu"
    installed(monkeypatch, "openvino")
    assert choose_device("auto") == choose_device("cpu") == "openvino"
    with pytest.raises(DeviceError):
        choose_device("torch-cpu")
    with pytest.raises(DeviceError, match="no such CUDA device"):
        choose_device("cuda")
    installed(monkeypatch)
    with pytest.raises(DeviceError, match="pip install"):
        choose_device("auto")


def test_auto_takes_cuda_where_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines, "_driver_present", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == "cuda"
    assert choose_device("cuda:1") == "cuda:1"
    assert choose_device("cpu") == "openvino"
    with pytest.raises(DeviceError, match="cuda:2"):
        choose_device("cuda:2")


def test_a_driver_without_a_usable_device_falls_to_the_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engines, "_driver_present", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "openvino"


def test_cupy_needs_cuda_and_cupy(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DeviceError, match="CUDA device only"):
        Segmenter.load(tiny_model, "cpu", resampler="cupy")
    installed(monkeypatch, "torch")
    description = ModelDescription.load(tiny_model)
    with pytest.raises(DeviceError, match="CuPy is not installed"):
        load_engine(description, b"", "cuda", "cupy")


def test_compiled_models_are_kept_where_the_environment_says(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("ABDOBOX_CACHE", raising=False)
    assert cache_folder() is None
    monkeypatch.setenv("ABDOBOX_CACHE", str(tmp_path / "missing"))
    assert cache_folder() is None
    monkeypatch.setenv("ABDOBOX_CACHE", str(tmp_path))
    phantom = make_phantom((8, 8, 8), (30.0, 30.0, 40.0), seed=0)
    with_cache = segment(tiny_model, "cpu", phantom).labels
    assert any(tmp_path.iterdir())
    monkeypatch.delenv("ABDOBOX_CACHE")
    np.testing.assert_array_equal(with_cache, segment(tiny_model, "cpu", phantom).labels)


# Out of memory


class Failing:
    """A network that runs out of memory on more windows than ``most``."""

    def __init__(self, logits: Callable[[torch.Tensor], torch.Tensor], most: int) -> None:
        self.logits, self.most = logits, most

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.logits(batch)


def pretend_cuda(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an engine on the CPU take itself for one on CUDA."""
    engine._cuda = True
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 123)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**30 + 99))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)


@pytest.mark.parametrize(("most", "batch"), [(3, 2), (1, 1)])
def test_smaller_batches_when_memory_is_short(
    tiny_model: Path, phantom: Phantom, by_torch: Segmentation, most: int, batch: int
):
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    engine = segmenter.engine
    engine.batch = 8
    engine._network_logits = Failing(engine._network_logits, most)
    result = segmenter.segment(volume_of(phantom))
    assert (result.labels == by_torch.labels).mean() > 0.9999  # rounding may follow the batch
    assert engine.batch == batch
    (said,) = set(result.warnings) - set(by_torch.warnings)
    assert f"ran out of memory: batches of {batch}" in said


@pytest.mark.parametrize("batch", [3, 4])
def test_no_window_is_lost_when_the_batch_shrinks_on_the_way(tiny_model: Path, batch: int):
    phantom = make_phantom((10, 60, 60), (8.0, 8.0, 8.0), seed=1)
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    whole = segmenter.segment(volume_of(phantom), step=0.5)
    assert whole.windows > 2 * batch
    engine = segmenter.engine
    engine.batch = batch
    engine._network_logits = Failing(engine._network_logits, most=1)
    pieces = segmenter.segment(volume_of(phantom), step=0.5)
    assert engine.batch == 1
    assert (pieces.labels == whole.labels).mean() > 0.9999


def test_accumulation_moves_to_the_host_when_the_device_is_full(
    tiny_model: Path,
    phantom: Phantom,
    by_torch: Segmentation,
    monkeypatch: pytest.MonkeyPatch,
):
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    engine = segmenter.engine
    pretend_cuda(engine, monkeypatch)

    def no_room(shape: tuple[int, ...]) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine, "zeros", no_room)
    result = segmenter.segment(volume_of(phantom))
    assert HostEngine(engine).peak_memory() == 123
    assert (result.labels == by_torch.labels).mean() > 0.9999
    assert any("out of memory" in w and "accumulating on the CPU" in w for w in result.warnings)


def test_the_cpu_takes_over_when_not_one_window_fits(
    tiny_model: Path,
    phantom: Phantom,
    by_openvino: Segmentation,
    monkeypatch: pytest.MonkeyPatch,
):
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    engine = segmenter.engine
    pretend_cuda(engine, monkeypatch)
    engine._network_logits = Failing(engine._network_logits, most=0)
    result = segmenter.segment(volume_of(phantom))
    np.testing.assert_array_equal(result.labels, by_openvino.labels)
    steps = [w for w in result.warnings if "out of memory" in w]
    assert len(steps) == 2
    assert "OpenVINO on CPU" in steps[1]
    # Only that scan pays: the next one starts on the device again.
    assert segmenter.engine is engine


@pytest.mark.parametrize("accumulating", ["device", "host"])
def test_full_precision_takes_over_where_half_has_not_the_range(
    tiny_model: Path,
    phantom: Phantom,
    by_torch: Segmentation,
    monkeypatch: pytest.MonkeyPatch,
    accumulating: str,
):
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    engine = segmenter.engine
    assert isinstance(engine, TorchEngine)
    # Of the values that float16 has, some overflow on the way.
    monkeypatch.setattr(engine, "_type", torch.float16)
    logits = engine._network_logits

    def overflowing(batch: torch.Tensor) -> torch.Tensor:
        found = logits(batch.float()).half()
        found[0, 3, 2, 1, 0] = torch.inf
        return found

    monkeypatch.setattr(engine, "_network_logits", overflowing)
    if accumulating == "host":
        segmenter.engine = HostEngine(engine)
    result = segmenter.segment(volume_of(phantom))
    assert (result.labels == by_torch.labels).mean() > 0.9999
    (said,) = set(result.warnings) - set(by_torch.warnings)
    assert "ran out of range" in said


def test_the_plan_of_device_memory_is_bounded():
    """A scan of 512x512x1000 stays under 1.2 GB beside 500 MB of CUDA's own, by computation."""
    small = ModelDescription(
        "small", "0", SMALL, (2.42, 1.95, 1.95), (128, 128, 128), Intensity(-1, 1, 0, 1), "linear",
        None, "",
    )  # fmt: skip
    axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    short, long = (
        memory_plan(small, Grid((slices, 512, 512), (1.5, 0.8, 0.8), (0.0, 0.0, 0.0), axes))
        for slices in (300, 1000)
    )
    assert max(long.values()) < 1.2e9 - 500e6
    # Of what a scan takes, the image on the network's grid alone grows with its length.
    image = 4 * 434 * 210 * 210
    assert all(long[stage] < short[stage] + 1.3 * image for stage in long)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_voxels_are_turned_round_on_the_device(axis: int):
    image = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    view = np.flip(image.transpose(2, 0, 1), axis)
    view.flags.writeable = False
    voxels = uploaded(view, torch.device("cpu"))
    assert voxels.is_contiguous()
    np.testing.assert_array_equal(voxels.numpy(), view)


def test_openvinos_converter_is_not_loaded_but_can_be():
    code = (
        "import sys, inference.engines.openvino_engine\n"
        "assert 'openvino.tools.ovc' not in sys.modules and 'absl' not in sys.modules\n"
        "from openvino.tools.ovc import convert_model\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_the_cpu_without_memory_says_so(
    tiny_model: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    segmenter = Segmenter.load(tiny_model, "cpu")
    monkeypatch.setattr(segmenter.engine, "network_image", raising(MemoryError()))
    with pytest.raises(DeviceError, match="not enough memory"):
        segmenter.segment(volume_of(phantom))


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    tiny_model: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    for device in ("cpu", "torch-cpu"):
        segmenter = Segmenter.load(tiny_model, device)
        engine = segmenter.engine
        monkeypatch.setattr(engine, "forward", raising(RuntimeError("a mistake")))
        with pytest.raises(RuntimeError, match="a mistake"):
            segmenter.segment(volume_of(phantom))
        assert segmenter.engine is engine


def test_a_device_that_does_not_take_the_model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    from inference import segmenter as module

    load = module.load_engine

    def full(description: ModelDescription, weights: bytes, device: str, *rest: str, **named: str):
        if device.startswith("cuda"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")
        return load(description, weights, device, *rest, **named)

    monkeypatch.setattr(module, "load_engine", full)
    monkeypatch.setattr(
        module, "choose_device", lambda device: "openvino" if device == "cpu" else "cuda"
    )
    instead = Segmenter.load(tiny_model, "auto")
    assert isinstance(instead.engine, OpenVinoEngine)
    phantom = make_phantom((8, 8, 8), (30.0, 30.0, 40.0), seed=0)
    said = " ".join(instead.segment(volume_of(phantom)).warnings)
    assert "does not take the model (CUDA out of memory" in said and "OpenVINO" in said
    with pytest.raises(DeviceError, match=r"does not take the model .*use --device cpu"):
        Segmenter.load(tiny_model, "cuda")
