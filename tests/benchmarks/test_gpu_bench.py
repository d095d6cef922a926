"""The logic of gpu.py without a GPU: sections on the CPU, with NVML and nnU-Net left out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import pipeline as gpu_pipeline
from benchmarks.gpu import process as gpu_process
from benchmarks.gpu import sections as gpu_sections
from benchmarks.gpu.bench import Bench, Row, Section, markdown, nvml_device, run_sections, within
from benchmarks.gpu.correctness import Check, accumulation, decoding, resampling
from benchmarks.gpu.data import RANDOM, coarse_phantom, scan, usual_scan, write_random
from benchmarks.gpu.meter import measure, memory
from benchmarks.gpu.network import Setting, flags, settings
from inference.engines.torch_arrays import TorchArrays
from inference.model.description import ModelDescription, verified_weights
from inference.scan.volume import Volume
from inference.segmenter import Segmenter


@pytest.fixture
def bench(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A quick trial on the CPU with the tiny model; scans of 32 x 32 x 20 voxels."""
    small = scan((20, 32, 32), (9.0, 12.8, 12.8))
    for module in (gpu_pipeline, gpu_process):
        monkeypatch.setattr(module, "usual_scan", lambda *_: small)
    return Bench("cpu", True, tmp_path, tiny_model)


class FakeGpu:
    """512 MB more at every reading, up to 2 GB."""

    name = "fake"

    def __init__(self) -> None:
        self.used = 0.0

    def used_mb(self) -> float:
        self.used = min(self.used + 512, 2048)
        return self.used


def test_sections_are_independent(tmp_path: Path) -> None:
    def good(bench: Bench) -> Iterator[Row]:
        yield {"what": "one", "ms": 1.23456789}
        yield {"what": "two", "ok": True}

    def broken(bench: Bench) -> Iterator[Row]:
        yield {"what": "before"}
        raise RuntimeError("no kernel image")

    def slow(bench: Bench) -> Iterator[Row]:
        for i in range(100):
            time.sleep(0.02)
            yield {"what": i}

    def wrong(bench: Bench) -> Iterator[Row]:
        yield {"what": "logits", "ok": False}

    out = tmp_path / "gpu.json"
    sections = [
        Section(f.__name__, f, 0.1 if f is slow else 10) for f in (broken, slow, wrong, good)
    ]
    run_sections(Bench("cpu", True, tmp_path, tmp_path), sections, out)
    document = json.loads(out.read_text())
    parts = document["sections"]
    assert list(parts) == ["broken", "slow", "wrong", "good"]
    assert parts["broken"]["rows"] == [{"what": "before"}]
    assert parts["broken"]["error"] == "RuntimeError: no kernel image"
    assert 1 <= len(parts["slow"]["rows"]) < 10
    assert "after 0 s" in parts["slow"]["stopped"]
    assert document["failed_checks"] == ["wrong: logits"]
    text = out.with_suffix(".md").read_text()
    assert text == markdown(document)
    assert "| one | 1.235 |  |" in text
    assert "error: RuntimeError: no kernel image" in text
    assert "FAILED: wrong: logits" in text


def test_results_are_there_after_every_section(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"

    def first(bench: Bench) -> Iterator[Row]:
        yield {"what": "kept"}

    def second(bench: Bench) -> Iterator[Row]:
        assert json.loads(out.read_text())["sections"]["first"]["rows"] == [{"what": "kept"}]
        yield {"what": "seen"}

    sections = [Section("first", first, 1), Section("second", second, 1)]
    document = run_sections(Bench("cpu", True, tmp_path, tmp_path), sections, out)
    assert document["sections"]["second"]["rows"] == [{"what": "seen"}]


def test_device_that_nvml_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (nvml_device("cuda"), nvml_device("cuda:2")) == ("0", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-ab")
    assert (nvml_device("cuda"), nvml_device("cuda:1")) == ("3", "GPU-ab")


def test_without_nvml_there_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    bench = Bench("cuda", True, tmp_path, tmp_path)
    assert bench.gpu is None
    assert bench.device == "cuda:0"
    assert "pynvml is not installed" in bench.notes[0]


def test_meter_on_the_cpu() -> None:
    calls = []
    times = measure(lambda: calls.append(time.sleep(0.01)), torch.device("cpu"), repeats=3)
    assert len(calls) == 5
    assert 10 <= times.low_ms <= times.median_ms <= times.high_ms
    with memory(torch.device("cpu"), FakeGpu()) as peak:  # type: ignore[arg-type]
        time.sleep(0.1)
    assert peak.row() == {"nvml_mb": 2048, "allocated_mb": None, "reserved_mb": None}
    with pytest.raises(ValueError, match="inside"), memory(torch.device("cpu"), None):
        raise ValueError("inside")


def test_random_model_is_a_valid_model(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "random", RANDOM)
    description = ModelDescription.load(folder)
    assert description.architecture.parameters() == pytest.approx(5.65e6, rel=0.01)
    assert description.patch == (128, 128, 128)
    again = write_random(tmp_path / "again", RANDOM)
    assert verified_weights(folder, description) == verified_weights(again, description)
    Segmenter.load(folder, "torch-cpu")


@pytest.mark.slow
def test_scans() -> None:
    volume = usual_scan(10, 64)
    assert volume.grid.shape == volume.voxels_ZYX.shape == (10, 64, 64)
    assert volume.grid.spacing == (30.0, 6.4, 6.4)
    assert usual_scan(300, 16).grid.spacing[0] == 1.5
    # Same patient as the coarse phantom, and mirrored beyond it.
    long = scan((150, 160, 160), (6.0, 2.56, 2.56)).voxels_ZYX.astype(int)
    coarse = coarse_phantom().image_ZYX
    assert np.abs(long[:75] - coarse).mean() < 12
    assert np.abs(long[75:] - coarse[::-1]).mean() < 12


@pytest.mark.slow
@pytest.mark.parametrize("steps", [resampling, accumulation, decoding])
def test_torch_steps_hold_on_the_cpu(steps) -> None:
    checks = list(steps(torch.device("cpu")))
    assert checks
    assert [c for c in checks if not c.ok] == []


def test_checks_can_fail() -> None:
    assert Check("a", 0.1, 0.2).ok
    assert not Check("a", 0.3, 0.2).ok
    assert not Check("a", float("nan"), 0.2).ok
    assert Check("a", 0.3, 0.2).row() == {"what": "a", "error": 0.3, "limit": 0.2, "ok": False}


def test_network_settings() -> None:
    every = list(settings(quick=False))
    assert len(every) == len(set(every)) == 16 + 12
    assert every[0] == Setting("float16", "channels last", False, 1)
    assert {s.batch for s in every if s.numbers == "float16"} == {1, 2, 4, 8}
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    with flags(Setting("tf32", "contiguous", True, 1)):
        assert torch.backends.cudnn.benchmark and torch.backends.cudnn.allow_tf32
    with flags(Setting("float32", "contiguous", False, 1)):
        assert not torch.backends.cudnn.allow_tf32
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == before


@pytest.mark.slow
def test_stages_wait_for_the_device(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []

    def settle(arrays: TorchArrays) -> None:
        waits.append(arrays)

    monkeypatch.setattr(TorchArrays, "settle", settle)
    rows = list(gpu_pipeline.stages(bench))
    assert [(row["decode"], row["step"]) for row in rows] == [
        ("nearest", "model's"),
        ("linear", "model's"),
        ("linear", 0.5),
    ]
    for row in rows:
        assert row["windows"] >= 1
        assert {"resample_s", "network_s", "decode_s", "accumulate_s"} <= row.keys()
        assert row["planned_mb"] > 0
    assert len(waits) >= 3 * 5


@pytest.mark.slow
def test_precision_and_copies(bench: Bench) -> None:
    rows = list(gpu_pipeline.precision(bench))
    assert rows[-1]["label"] == "all voxels agree"
    assert all(row["dsc"] == 1 for row in rows)
    assert {row["what"] for row in gpu_pipeline.copies(bench)} == {
        "scan to device, usual memory",
        "labels to main memory, usual",
    }
    assert list(gpu_pipeline.limits(bench)) == [{"what": "no CUDA device: nothing to limit"}]


def test_dsc_between_segmentations_by_hand() -> None:
    first, second = np.zeros((1, 2, 5), np.uint8), np.zeros((1, 2, 5), np.uint8)
    first[0, 0, :4], second[0, 0, 1:5] = 3, 3
    pair = [type("Labels", (), {"labels": labels})() for labels in (first, second)]
    assert list(gpu_pipeline.compare(*pair)) == [  # type: ignore[arg-type]
        {"label": "spleen", "voxels": 4, "dsc": 0.75},
        {"label": "all voxels agree", "voxels": 10, "dsc": 0.8},
    ]


def test_memory_of_a_process(bench: Bench) -> None:
    bench.gpu = FakeGpu()  # type: ignore[assignment]
    row = gpu_process.watched([sys.executable, "-c", "import time; time.sleep(0.3)"], bench)
    assert row["idle_mb"] == 512
    assert row["max_mb"] == 2048
    assert row["seconds"] >= 0.3
    assert 0 < row["area_mb_s"] < 2048 * (row["seconds"] + 0.1)
    row = gpu_process.watched([sys.executable, "-c", "raise SystemExit('broken')"], bench)
    assert (row["ok"], row["exit"], row["log"].strip()) == (False, 1, "broken")


def test_stuck_process_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_process, "_TIMEOUT_S", 0.3)
    row = gpu_process.watched([sys.executable, "-c", "import time; time.sleep(60)"], bench)
    assert row["ok"] is False
    assert "killed" in row["exit"]
    assert row["seconds"] < 5


@pytest.mark.slow
def test_whole_script(
    bench: Bench, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(*_: int) -> Volume:
        return scan((60, 128, 128), (5.0, 3.2, 3.2))

    monkeypatch.setattr(gpu_sections, "usual_scan", small)
    out = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--quick", "--model", str(tiny_model), "--out", str(out)]
    assert gpu.main([*arguments, "--limit", "600"]) == 0
    parts = json.loads(out.read_text())["sections"]
    assert list(parts) == [section.name for section in gpu_sections.SECTIONS]
    assert [name for name, part in parts.items() if "error" in part] == []
    assert len(parts["checks"]["rows"]) > 15


def test_wrong_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="no section nothing"):
        gpu.main(["--only", "nothing"])
    monkeypatch.setattr(gpu, "NEEDED", ("torch", "not_there"))
    with pytest.raises(SystemExit, match="pip install not_there"):
        gpu.main([])


def test_all_sections_get_their_share_of_the_limit():
    sections = [Section(name, lambda bench: iter(()), 100.0) for name in "abcd"]
    assert [s.budget_s for s in within(sections, 220.0)] == [50.0] * 4
    assert [s.budget_s for s in within(sections, 1000.0)] == [100.0] * 4
    assert sum(s.budget_s for s in within(sections, 50.0)) == pytest.approx(45.0)
