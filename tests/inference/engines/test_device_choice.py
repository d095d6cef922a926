"""The choice between engines by what is installed and asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.data import scan
from inference.engines import choice
from inference.engines.choice import choose_device, load_network
from inference.errors import DeviceError
from inference.model.description import ModelDescription
from inference.model.folder import WEIGHTS
from inference.segmenter import Segmenter

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")


@without_cuda
def test_choice_without_cuda():
    assert choose_device("auto") == "openvino"
    assert choose_device("cpu") == "openvino"
    assert choose_device("torch-cpu") == "torch-cpu"


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_cuda_where_there_is_none(device: str):
    with pytest.raises(DeviceError, match=f'device="{device}": .*; use device="cpu"'):
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
    monkeypatch.setattr(choice, "_driver_present", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == choose_device("cuda") == "cuda:0"
    assert choose_device("cuda:1") == "cuda:1"
    assert choose_device("cpu") == "openvino"
    with pytest.raises(DeviceError, match="cuda:2"):
        choose_device("cuda:2")


def test_torch_takes_the_chosen_device(monkeypatch: pytest.MonkeyPatch):
    """torch.cuda's own checks of a device, which refuse ``cuda`` without a number."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    made_current: list[int] = []
    monkeypatch.setattr(torch._C, "_cuda_setDevice", made_current.append, raising=False)
    for name in ("cuda", "cuda:1"):
        torch.cuda.set_device(torch.device(choose_device(name)))
    assert made_current == [0, 1]


@pytest.mark.slow
def test_a_driver_without_a_usable_device_falls_to_the_cpu(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(choice, "_driver_present", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "openvino"
    monkeypatch.setattr(torch.version, "cuda", None)
    assert choice.unusable_gpu() == ""  # a build of torch for the CPU
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    volume = scan((4, 12, 12), (20.0, 30.0, 30.0))
    # Once, also by a model that finds the organs with another one.
    for folder, device, times in (
        (tiny_model, "auto", 1),
        (tiny_model, "cpu", 0),
        (WEIGHTS / "small", "auto", 1),
    ):
        warnings = Segmenter.load(folder, device).segment(volume).warnings
        assert sum("no GPU that CUDA 13.0 can use" in warning for warning in warnings) == times


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"precision": "f16"}, 'precision="f16": is unknown; use one of auto, int8, f32'),
        ({"precision": "bf16"}, 'precision="bf16": is unknown'),
        ({"precision": None}, "precision=None: is unknown"),
        ({"resampler": "scipy"}, 'resampler="scipy": is unknown; use one of torch, cupy'),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_unknown_precisions_and_resamplers(tiny_model: Path, device: str, wrong: dict, words: str):
    with pytest.raises(DeviceError, match=words):
        Segmenter.load(tiny_model, device, **wrong)


def test_cupy_needs_cuda_and_cupy(tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DeviceError, match="CUDA device only"):
        Segmenter.load(tiny_model, "cpu", resampler="cupy")
    installed(monkeypatch, "torch")
    description = ModelDescription.load(tiny_model)
    with pytest.raises(DeviceError, match="CuPy is not installed"):
        load_network(description, b"", "cuda", "cupy")
