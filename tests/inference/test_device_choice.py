"""The choice between engines by what is installed and asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from inference import engines
from inference.description import ModelDescription
from inference.engines import choose_device, load_engine
from inference.errors import DeviceError
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
