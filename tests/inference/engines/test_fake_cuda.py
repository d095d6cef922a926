"""The CUDA and CuPy routes on a CUDA device that is made of the CPU; see fake_cuda.

What a real device alone can show is in test_gpu.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.correctness import (
    Check,
    accumulation,
    cupy_resampling,
    decoding,
    network,
    reference_network,
    resampling,
)
from benchmarks.gpu.data import scan, usual_scan
from inference.cli.main import main
from inference.engines import choice, torch_network
from inference.engines.choice import load_network
from inference.engines.device_memory import memory_plan
from inference.engines.interface import HalfPrecisionError, Network, Precision
from inference.engines.torch_network import TorchNetwork
from inference.model.description import ModelDescription
from inference.model.folder import WEIGHTS
from inference.scan.volume import Volume, read_labels, write_image
from inference.segmenter import Segmenter
from inference.steps.windows import NoRoomError
from tests.inference.fake_cuda import TOTAL, DeviceTensor, allocator, fake_cuda

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real CUDA device is here")
CUDA = torch.device("cuda", 0)
HALF_DIFFERS = 1e-2  # the model's weights are random: much is in doubt


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The device; names of kernels that CuPy has run on it."""
    monkeypatch.setattr(choice, "_driver_present", lambda: True)
    with fake_cuda(monkeypatch, tmp_path) as run:
        yield run


@pytest.fixture(scope="module")
def volume() -> Volume:
    return scan((8, 20, 20), (30.0, 20.0, 20.0))


def test_the_device_is_as_strict_as_a_real_one(device: list[str]):
    ours, theirs = torch.ones(3, device=CUDA), torch.ones(3)
    assert isinstance(ours, DeviceTensor)
    assert (ours + 1).device == CUDA
    assert (ours.cpu() + theirs).tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        ours + theirs
    with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
        ours.index_select(0, torch.tensor([1]))
    with pytest.raises(TypeError, match="can't convert"):
        ours.numpy()
    with pytest.raises(ValueError, match="specified index"):
        torch.cuda.set_device(torch.device("cuda"))


def test_memory_is_counted(device: list[str]):
    before = allocator.live
    ours = torch.zeros(1000, device=CUDA)
    part = ours.view(10, 100)[2:].add_(1)
    assert allocator.live == before + 4000
    double = part.double()
    assert allocator.live == before + 4000 + 6400
    del ours, part
    assert allocator.live == before + 6400
    torch.cuda.set_per_process_memory_fraction((allocator.live + 5) / TOTAL, CUDA)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        double + 1
    assert allocator.live == before + 6400


@pytest.mark.slow
@pytest.mark.parametrize("steps", [resampling, cupy_resampling, accumulation, decoding])
def test_steps(device: list[str], steps):
    checks: list[Check] = list(steps(CUDA))
    assert checks
    assert [check for check in checks if not check.ok] == []


def test_what_takes_over_on_the_cpu_keeps_the_precision(device: list[str], tiny_model: Path):
    asked: list[Precision] = []

    def on_cpu(precision: Precision) -> Network:
        asked.append(precision)
        return load_network(description, weights, "openvino", precision=precision)

    description = ModelDescription.load(tiny_model)
    weights = (tiny_model / "model.safetensors").read_bytes()
    network = TorchNetwork(description, weights, "cuda:0", on_cpu=on_cpu)
    full = network.fallback(HalfPrecisionError("not finite"))
    assert full is not None
    for one in (network, full):
        host = one.fallback(NoRoomError("no window fits"))
        assert host is not None
        host.fallback(torch.OutOfMemoryError("out of memory"))
    assert asked == ["auto", "f32"]


def test_network_in_half_precision(device: list[str], tiny_model: Path):
    segmenter = Segmenter.load(tiny_model, "cuda")
    windows = torch.randn(3, *segmenter.description.patch)
    checks = list(network(segmenter, reference_network(segmenter), windows))
    assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize(
    ("resampler", "precision"),
    [
        ("torch", "auto"),
        ("cupy", "f32"),
        pytest.param("torch", "f32", marks=pytest.mark.slow),
        pytest.param("cupy", "auto", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_whole_scans(
    tiny_model: Path, volume: Volume, device: list[str], resampler: str, precision: str
):
    on_cpu = Segmenter.load(tiny_model, "torch-cpu")
    on_cuda = Segmenter.load(tiny_model, "auto", resampler=resampler, precision=precision)
    assert on_cuda.network.device == CUDA
    for decode in ("linear", "nearest"):
        found = on_cuda.segment(volume, decode=decode)
        assert found.warnings == ()
        expected = on_cpu.segment(volume, decode=decode).labels
        differ = (found.labels != expected).mean()
        assert differ < HALF_DIFFERS if precision == "auto" else differ < 1e-4
    wanted = {"abdobox_resample", "abdobox_decide_slices"} if resampler == "cupy" else set()
    assert set(device) == wanted


@pytest.mark.parametrize("resampler", ["torch", "cupy"])
def test_a_region_is_that_part_of_all(
    tiny_model: Path, volume: Volume, device: list[str], resampler: str
):
    segmenter = Segmenter.load(tiny_model, "cuda", resampler=resampler)
    image_ZYX, shape = volume.canonical()[0], (45, 37, 29)
    arrays, intensity = segmenter.network.arrays, segmenter.description.intensity
    region = slice(20, 41), slice(3, 30), slice(11, 12)
    part = arrays.network_image(image_ZYX, intensity, shape, region)
    everything = arrays.network_image(image_ZYX, intensity, shape)
    expected = arrays.numpy(everything)[region]
    assert expected.std() > 0.1
    # Slabs begin elsewhere, and torch may round otherwise then.
    np.testing.assert_allclose(arrays.numpy(part), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("mb", "said", "differ"),
    [
        (16.0, "batches of 4", 1e-3),  # 8 windows at once take 18 MB
        (3.0, "accumulating on the CPU", HALF_DIFFERS),
        (0.3, "going on with OpenVINO", HALF_DIFFERS),
    ],
)
@pytest.mark.slow
def test_scarce_memory(
    tiny_model: Path, volume: Volume, device: list[str], mb: float, said: str, differ: float
):
    on_cuda = Segmenter.load(tiny_model, "cuda")
    # What takes over then; in bfloat16, random weights would decide otherwise too often.
    on_cuda.network.precision = "f32"
    on_cuda.network.batch = 8
    expected = on_cuda.segment(volume, step=0.5).labels
    torch.cuda.set_per_process_memory_fraction((allocator.live + mb * 2**20) / TOTAL, CUDA)
    scarce = on_cuda.segment(volume, step=0.5)
    assert said in scarce.warnings[-1]
    assert (scarce.labels != expected).mean() < differ
    torch.cuda.set_per_process_memory_fraction(1.0, CUDA)
    again = on_cuda.segment(volume, step=0.5)
    assert again.warnings == ()
    assert (again.labels != expected).mean() < differ


def test_memory_is_given_back_before_labels_are_tidied(
    tiny_model: Path, volume: Volume, device: list[str]
):
    segmenter = Segmenter.load(tiny_model, "cuda")
    segmenter.description = replace(segmenter.description, islands=0.1)
    kept: dict[str, int] = {}
    segmenter.segment(
        volume, on_stage=lambda stage: kept.update({stage: torch.cuda.memory_reserved()})
    )
    # What is held are the weights; torch keeps memory that nothing holds until it is told.
    assert kept["decode"] > kept["islands"] == allocator.live


@pytest.mark.parametrize("resampler", ["torch", "cupy"])
def test_the_memory_is_what_was_planned(
    tiny_model: Path, volume: Volume, device: list[str], resampler: str
):
    segmenter = Segmenter.load(tiny_model, "cuda", resampler=resampler)
    segmenter.description = replace(segmenter.description, step=None)
    before = allocator.live - 2 * segmenter.description.architecture.parameters()
    torch.cuda.reset_peak_memory_stats()
    segmenter.segment(volume)
    assert allocator.peak - before <= max(memory_plan(segmenter.description, volume.grid).values())


@pytest.mark.slow
@pytest.mark.parametrize("resampler", ["torch", "cupy"])
@pytest.mark.parametrize(("slices", "cropped"), [(300, True), (300, False), (1000, False)])
def test_memory_of_usual_scans(device: list[str], slices: int, cropped: bool, resampler: str):
    """What RESULTS.md says of live tensors; -s shows them by stage."""
    segmenter = Segmenter.load(WEIGHTS / "small", "cuda", resampler=resampler)
    if not cropped:
        segmenter.description = replace(segmenter.description, crop=None)
    usual = usual_scan(slices)
    peaks: dict[str, float] = {}
    before = "load"

    def note(stage: str) -> None:
        nonlocal before
        peaks[before] = max(peaks.get(before, 0), allocator.peak / 2**20)
        torch.cuda.reset_peak_memory_stats()
        before = stage

    segmenter.segment(usual, on_stage=note)
    print(slices, cropped, resampler, {stage: round(mb) for stage, mb in peaks.items()}, "MB")
    planned = memory_plan(segmenter.description, usual.grid)
    assert peaks["resample"] * 2**20 <= 1.01 * planned["resample"]
    assert peaks["network"] * 2**20 <= planned["network"]
    assert peaks["decode"] * 2**20 <= planned["decode"]


@pytest.mark.slow
def test_a_folder_by_the_command_line(
    tiny_model: Path, volume: Volume, device: list[str], tmp_path: Path
):
    (tmp_path / "in").mkdir()
    for name in "abc":
        write_image(tmp_path / "in" / f"{name}_0000.nii.gz", volume.voxels_ZYX, volume.header)
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "--model", tiny_model, "--quiet",
             "--jobs", "2", "--report", tmp_path / "report.json"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["peak_device_bytes"] == allocator.peak > 0
    alone = Segmenter.load(tiny_model, "cuda").segment(volume).labels
    for name in "abc":
        np.testing.assert_array_equal(read_labels(tmp_path / "out" / f"{name}.nii.gz")[0], alone)


@pytest.mark.slow
def test_the_benchmark_of_a_gpu(device: list[str], tiny_model: Path, tmp_path: Path):
    # All but those that start processes, and throughput, which takes nothing but time.
    sections = ["about", "checks", "copies", "resamplers", "stages", "precision", "limits",
                "engine"]  # fmt: skip
    words = ["--quick", "--model", tiny_model, "--out", tmp_path / "gpu.json", "--only", *sections]
    gpu.main([str(word) for word in words])
    document = json.loads((tmp_path / "gpu.json").read_text())
    errors = {name: part.get("error") for name, part in document["sections"].items()}
    assert errors == dict.fromkeys(sections)
    assert document["failed_checks"] == []


def test_cudnns_flags_are_ours_around_a_forward_alone(
    device: list[str], tiny_model: Path, volume: Volume, monkeypatch: pytest.MonkeyPatch
):
    flags = torch.backends.cudnn

    def now() -> tuple[bool, bool, str]:
        return flags.benchmark, flags.deterministic, flags.conv.fp32_precision

    before, seen = now(), set()
    forward = torch_network.lean_forward

    def watched(*words: torch.Tensor) -> torch.Tensor:
        seen.add(now())
        return forward(*words)

    monkeypatch.setattr(torch_network, "lean_forward", watched)
    segmenter = Segmenter.load(tiny_model, "cuda")
    assert now() == before
    segmenter.segment(volume)
    assert (seen, now()) == ({(False, True, "ieee")}, before)
