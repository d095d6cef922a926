"""The way down where memory or range are short, and how much is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.engines.device_memory import memory_plan
from inference.engines.interface import Network
from inference.engines.numpy_arrays import NumpyArrays
from inference.engines.openvino_network import OpenVinoNetwork
from inference.engines.torch_network import HostNetwork, TorchNetwork
from inference.engines.torch_steps import uploaded
from inference.errors import DeviceError
from inference.grid import Grid
from inference.model.description import Architecture, Crop, Intensity, ModelDescription
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from inference.steps.windows import Room
from phantom import Phantom, make_phantom
from tests.inference.by_engine import volume_of

SMALL = Architecture((16, 32, 64, 128, 256), ((1, 1, 1), *((2, 2, 2),) * 4), ((3, 3, 3),) * 5)


class Failing:
    """A network that runs out of memory on more windows than ``most``."""

    def __init__(self, logits: Callable[[torch.Tensor], torch.Tensor], most: int) -> None:
        self.logits, self.most = logits, most

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.logits(batch)


class PretendedGpu:
    """What a network on the CPU is told of a GPU."""

    name = "a pretended GPU"

    def make_current(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def give_back(self) -> None:
        pass

    def free_bytes(self) -> int:
        return 2**30

    def peak_bytes(self) -> int:
        return 123


@pytest.mark.parametrize(("most", "batch"), [(3, 2), (1, 1)])
def test_smaller_batches_when_memory_is_short(
    tiny_model: Path, phantom: Phantom, by_torch: Segmentation, most: int, batch: int
):
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    engine = segmenter.network
    engine.batch = 8
    engine.compute = Failing(engine.compute, most)
    result = segmenter.segment(volume_of(phantom))
    assert (result.labels == by_torch.labels).mean() > 0.9999  # rounding may follow the batch
    assert engine.batch == batch
    (said,) = set(result.warnings) - set(by_torch.warnings)
    assert f"ran out of memory: batches of {batch}" in said


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, 4])
def test_no_window_is_lost_when_the_batch_shrinks_on_the_way(tiny_model: Path, batch: int):
    phantom = make_phantom((10, 60, 60), (8.0, 8.0, 8.0), seed=1)
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    whole = segmenter.segment(volume_of(phantom), step=0.5)
    assert whole.windows > 2 * batch
    engine = segmenter.network
    engine.batch = batch
    engine.compute = Failing(engine.compute, most=1)
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
    engine = segmenter.network
    engine.gpu = PretendedGpu()

    def no_room(shape: tuple[int, ...]) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.arrays, "zeros", no_room)
    result = segmenter.segment(volume_of(phantom))
    assert HostNetwork(engine).peak_memory() == 123
    assert (result.labels == by_torch.labels).mean() > 0.9999
    assert any("out of memory" in w and "accumulating on the CPU" in w for w in result.warnings)


def test_the_cpu_takes_over_when_not_one_window_fits(
    tiny_model: Path,
    phantom: Phantom,
    by_openvino: Segmentation,
    monkeypatch: pytest.MonkeyPatch,
):
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    engine = segmenter.network
    engine.gpu = PretendedGpu()
    engine.compute = Failing(engine.compute, most=0)
    result = segmenter.segment(volume_of(phantom))
    np.testing.assert_array_equal(result.labels, by_openvino.labels)
    steps = [w for w in result.warnings if "out of memory" in w]
    assert len(steps) == 2
    assert "OpenVINO on CPU" in steps[1]
    # Only that scan pays: the next one starts on the device again.
    assert segmenter.network is engine


@pytest.mark.parametrize("accumulating", ["device", "host"])
def test_full_precision_takes_over_where_half_has_not_the_range(
    tiny_model: Path,
    phantom: Phantom,
    by_torch: Segmentation,
    monkeypatch: pytest.MonkeyPatch,
    accumulating: str,
):
    segmenter = Segmenter.load(tiny_model, "torch-cpu", precision="f32")
    engine = segmenter.network
    assert isinstance(engine, TorchNetwork)
    # Of the values that float16 has, some overflow on the way.
    monkeypatch.setattr(engine, "dtype", torch.float16)
    logits = engine.compute

    def overflowing(batch: torch.Tensor) -> torch.Tensor:
        found = logits(batch.float()).half()
        found[0, 3, 2, 1, 0] = torch.inf
        return found

    monkeypatch.setattr(engine, "compute", overflowing)
    if accumulating == "host":
        segmenter.network = HostNetwork(engine)
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


@pytest.mark.slow
def test_where_no_windows_fit_the_device_the_host_accumulates(
    make_model: Callable[..., Path], phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    """The device gives windows no room at all; on the host they take as little as they can."""
    segmenter = Segmenter.load(make_model("cut", step=None), "torch-cpu", precision="f32")
    plain = segmenter.segment(volume_of(phantom))
    segmenter.network.gpu = PretendedGpu()
    monkeypatch.setattr(
        TorchNetwork, "room", property(lambda self: Room(1000, 100, self.gpu is not None))
    )
    result = segmenter.segment(volume_of(phantom))
    (said,) = set(result.warnings) - set(plain.warnings)
    assert "ran out of memory" in said and "accumulating on the CPU" in said
    assert result.windows > plain.windows and result.labels.any()


def test_what_finds_the_organs_falls_back_like_any_model(
    make_model: Callable[..., Path], phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    make_model("finder", spacing=(16.0, 16.0, 16.0))
    folder = make_model("cropping", step=None, crop=Crop("finder", 10.0))
    segmenter = Segmenter.load(folder, "cpu", precision="f32")
    plain = segmenter.segment(volume_of(phantom))
    finder = segmenter._finder
    assert finder is not None
    spare = finder.network
    monkeypatch.setattr(finder, "network", Short(spare))
    result = segmenter.segment(volume_of(phantom))
    (said,) = set(result.warnings) - set(plain.warnings)
    assert said == f"a short one ran out of memory: going on with {spare.name}"
    np.testing.assert_array_equal(result.labels, plain.labels)
    monkeypatch.setattr(spare.arrays, "network_image", raising(MemoryError()))
    with pytest.raises(DeviceError, match="not enough memory"):
        segmenter.segment(volume_of(phantom))


class NoArrays(NumpyArrays):
    """Arrays of a device that is full."""

    def network_image(self, *_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")


class Short:
    """A network that is out of memory from the start."""

    name = "a short one"
    batch = 1
    arrays = NoArrays()

    def __init__(self, spare: Network) -> None:
        self._spare, self.room = spare, spare.room

    def fallback(self, error: Exception) -> Network:
        return self._spare


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_the_cpu_without_memory_says_so(
    tiny_model: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    segmenter = Segmenter.load(tiny_model, "cpu")
    monkeypatch.setattr(segmenter.network.arrays, "network_image", raising(MemoryError()))
    with pytest.raises(DeviceError, match="not enough memory"):
        segmenter.segment(volume_of(phantom))


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    tiny_model: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    for device in ("cpu", "torch-cpu"):
        segmenter = Segmenter.load(tiny_model, device)
        engine = segmenter.network
        monkeypatch.setattr(engine, "forward", raising(RuntimeError("a mistake")))
        with pytest.raises(RuntimeError, match="a mistake"):
            segmenter.segment(volume_of(phantom))
        assert segmenter.network is engine


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 20.00 MiB.",
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_words_for_a_lack_of_memory(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, words: str):
    engine = Segmenter.load(tiny_model, "torch-cpu", precision="f32").network
    engine.gpu = PretendedGpu()
    assert isinstance(engine.fallback(RuntimeError(words)), HostNetwork)
    assert engine.fallback(RuntimeError("an illegal memory access was encountered")) is None


def test_a_device_that_does_not_take_the_model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    from inference.engines import choice as module

    load = module.load_network

    def full(description: ModelDescription, weights: bytes, device: str, *rest: str, **named: str):
        if device.startswith("cuda"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.")
        return load(description, weights, device, *rest, **named)

    monkeypatch.setattr(module, "load_network", full)
    monkeypatch.setattr(
        module, "choose_device", lambda device: "openvino" if device == "cpu" else "cuda:0"
    )
    instead = Segmenter.load(tiny_model, "auto")
    assert isinstance(instead.network, OpenVinoNetwork)
    phantom = make_phantom((8, 8, 8), (30.0, 30.0, 40.0), seed=0)
    said = " ".join(instead.segment(volume_of(phantom)).warnings)
    assert "does not take the model (CUDA out of memory" in said and "OpenVINO" in said
    with pytest.raises(DeviceError, match=r'does not take the model .*use device="cpu"'):
        Segmenter.load(tiny_model, "cuda")
    monkeypatch.setattr(module, "load_network", raising(RuntimeError("")))
    with pytest.raises(DeviceError, match=r"does not take the model \(RuntimeError\)"):
        Segmenter.load(tiny_model, "cuda")
    monkeypatch.setattr(module, "load_network", raising(RecursionError("a mistake")))
    with pytest.raises(RecursionError):
        Segmenter.load(tiny_model, "auto")
