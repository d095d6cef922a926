"""The comparison's own logic, with a stand-in for the tools."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from benchmarks.flare_harness.simulate import write_scan
from benchmarks.models import chosen
from benchmarks.versus import runs, scaling, table, tools
from benchmarks.versus.agreement import between
from benchmarks.versus.peers import REQUIREMENTS, pinned
from inference.model.description import ModelDescription, verified_weights
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_volume, write_image
from phantom import Phantom

MACHINE = {
    "processor": "P", "cores": 2, "memory_bytes": 8 * 2**30, "load_1min": 0.1, "commit": "abc"
}  # fmt: skip


def one_run(case: str, tool: str, seconds: float, **changes: object) -> dict[str, object]:
    run: dict[str, object] = {
        "case": case, "tool": tool, "device": "cpu", "model": "m", "voxels": 2_000_000,
        "ended": "done", "status": 0, "seconds": seconds, "cpu_s": 2 * seconds,
        "peak_tree_bytes": 2**30, "peak_process_bytes": 2**29, "peak_device_bytes": None,
        "processes": 1, "commit": "abc",
    }  # fmt: skip
    return run | changes


def test_medians_and_ratios():
    found = [one_run("c", "abdobox", s) for s in (1.0, 3.0, 2.0)]
    found += [one_run("c", "nnunet", s, peak_tree_bytes=3 * 2**30) for s in (30.0, 20.0)]
    found += [one_run("c", "nnunet", 99.0, ended="time")]
    medians = table.rows(found, "c")
    assert medians["abdobox"]["wall s"] == 2.0
    assert medians["abdobox"]["wall s per Mvoxel"] == 1.0
    assert medians["abdobox"]["GPU GiB"] is None
    assert (medians["nnunet"]["runs"], medians["nnunet"]["wall s"]) == (2, 25.0)
    text = table.markdown({"machine": MACHINE, "runs": found, "agreement": {}})
    assert "| nnunet | 2 | 25 | 50 | 3 | 0.5 | 12.5 | 12.5x | 3.0x |" in text
    assert "| abdobox | 3 | 2 | 4 | 1 | 0.5 | 1 | 1.0x | 1.0x |" in text
    assert "nnunet: stopped for lack of time after 99 s" in text
    assert "GPU" not in text


def test_a_tool_that_never_finished_has_no_figures():
    found = [one_run("c", "abdobox", 1.0), one_run("c", "nnunet", 5.0, ended="memory")]
    text = table.markdown({"machine": MACHINE, "runs": found, "agreement": {}})
    assert "| nnunet | 0 | - | - | - | - | - | - | - |" in text


def test_runs_of_different_commits_are_told():
    found = [one_run("c", "a", 1.0), one_run("c", "a", 1.0, commit="def")]
    text = table.markdown({"machine": MACHINE, "runs": found, "agreement": {}})
    assert "different commits: abc, def" in text


def test_agreement_of_hand_made_labels():
    a = np.zeros((2, 4, 4), np.uint8)
    b = a.copy()
    a[0, :2] = 1  # 8 voxels, of which b shares 4
    b[0, 1:3] = 1
    b[1, 0, 0] = 3
    result = between(a, b)
    assert result["dsc"]["1"] == 0.5
    assert result["dsc"]["3"] == 0.0
    assert result["dsc"]["2"] is None
    assert result["mean_dsc"] == 0.25
    assert result["equal_voxels"] == pytest.approx(1 - 9 / 32, abs=1e-6)
    assert between(np.zeros_like(a), np.zeros_like(a))["mean_dsc"] is None


def test_line_through_sizes():
    points = [(10.0, 3.0, 1.0), (20.0, 5.0, 1.0), (30.0, 7.0, 1.0)]
    assert scaling.line_fit(points) == pytest.approx((1.0, 0.2))
    assert all(math.isnan(v) for v in scaling.line_fit(points[:1]))


def test_scaling_table_and_plot(tmp_path: Path):
    pytest.importorskip("matplotlib")
    found = [one_run("a", "x", 3.0), one_run("b", "x", 5.0, voxels=4_000_000)]
    document = {"runs": found}
    assert "| x | 2.0: 3.0, 1.00; 4.0: 5.0, 1.00 | 1.00 | 1.000 |" in scaling.markdown(document)
    scaling.plot(document, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_phantom_scan_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: list[Path] = []

    def write(folder: Path, slices: int) -> Path:
        written.append(write_scan(folder, slices, in_plane=32))
        return written[-1]

    monkeypatch.setattr(scaling, "write_scan", write)
    path = scaling.phantom_scan(tmp_path, 55)
    assert read_volume(path).grid.shape == (55, 32, 32)
    assert scaling.phantom_scan(tmp_path, 55) == path
    assert written == [path]


@pytest.mark.slow
def test_models_to_choose_from(tmp_path: Path, tiny_model: Path):
    assert chosen(str(tiny_model)) == tiny_model.resolve()
    random = ModelDescription.load(chosen("random", tmp_path))
    assert random.architecture.macs(random.patch) == pytest.approx(119.8e9, rel=1e-3)
    assert random.ranges  # for int8
    verified_weights(chosen("random", tmp_path), random)  # made anew, with the same numbers


def test_case_names():
    assert tools.case_name(Path("/x/a_1_0000.nii.gz")) == "a_1"
    with pytest.raises(ValueError, match="_0000"):
        tools.case_name(Path("a.nii.gz"))


def test_peer_commands(tmp_path: Path, tiny_model: Path):
    scan = tmp_path / "a_0000.nii.gz"
    scan.write_bytes(b"")
    task = tools.Task(scan, tiny_model, tools.fresh(tmp_path / "work"), "cpu")
    command = tools.nnunet(task)
    inputs = Path(command[command.index("-i") + 1])
    assert [p.name for p in inputs.iterdir()] == ["a_0000.nii.gz"]
    assert (Path(command[command.index("-m") + 1]) / "plans.json").exists()
    assert "--disable_tta" in command
    assert tools.monai(task)[1:3] == ["-m", "benchmarks.versus.monai_peer"]
    own, half_steps = tools.abdobox(task), tools.abdobox_half_steps(task)
    assert half_steps == [*own, "--decode", "linear", "--step", "0.5"]
    assert tools.abdobox_reference(task) == [*half_steps, "--precision", "f32"]


def test_every_peer_is_pinned():
    versions = pinned(REQUIREMENTS)
    assert (versions["nnunetv2"], versions["monai"]) == ("2.8.1", "1.6.1")
    assert (versions["totalsegmentator"], versions["konfai-apps"]) == ("2.18.0", "1.8.7")
    assert versions["torch"] == metadata.version("torch").split("+")[0]
    assert not {"torchvision", "timm"} & set(versions)


@pytest.fixture
def scan(tmp_path: Path, phantom: Phantom) -> Path:
    path = tmp_path / "case_0000.nii.gz"
    write_image(path, phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
    return path


def test_runs_take_turns_and_add_up(
    tmp_path: Path, scan: Path, phantom: Phantom, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    truth = tmp_path / "truth.nii.gz"
    write_image(truth, phantom.labels_ZYX, NiftiHeader.of_grid(phantom.grid))

    def copying(task: tools.Task) -> list[str]:
        code = f"import shutil; shutil.copyfile({str(truth)!r}, {str(task.labels)!r})"
        return [sys.executable, "-c", code]

    def failing(task: tools.Task) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit(1)"]

    names = ["one", "two", "failing"]
    for name, tool in zip(names, (copying, copying, failing), strict=True):
        monkeypatch.setitem(tools.TOOLS, name, tool)
    plan = runs.Plan([scan], names, tiny_model, 2, "cpu", 5.0, tmp_path / "work")
    assert [tool for _, tool in plan.turns()] == names * 2
    path = tmp_path / "out.json"
    document = runs.run(plan, path)
    assert [run["tool"] for run in document["runs"]] == names * 2
    assert [run["ended"] for run in document["runs"]] == ["done", "done", "failed"] * 2
    assert document["runs"][0]["voxels"] == phantom.labels_ZYX.size
    assert document["agreement"]["case"]["two / one"]["equal_voxels"] == 1.0
    assert json.loads(path.read_text())["runs"] == document["runs"]
    runs.run(plan, path)
    assert len(runs.load(path)["runs"]) == 12
    with pytest.raises(ValueError, match="another model or device"):
        runs.run(replace(plan, device="cuda"), path)


def test_whatever_a_tool_does_is_a_row(
    tmp_path: Path, scan: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    def endless(task: tools.Task) -> list[str]:
        return [sys.executable, "-c", "import time; time.sleep(60)"]

    def idle(task: tools.Task) -> list[str]:
        return [sys.executable, "-c", ""]

    def own(task: tools.Task) -> list[str]:
        return [sys.executable, "-c", f"open({str(task.labels)!r}, 'w')"]

    for name, tool in (("endless", endless), ("idle", idle), ("own", own)):
        monkeypatch.setitem(tools.TOOLS, name, tool)
    monkeypatch.setattr(runs, "OWN_NETWORKS", frozenset({"own"}))
    plan = runs.Plan(
        [scan], ["own", "endless", "idle", "own"], tiny_model, 1, "cpu", 5.0, tmp_path / "work",
        minutes_each=1 / 60,
    )  # fmt: skip
    document = runs.run(plan, tmp_path / "out.json")
    assert [run["ended"] for run in document["runs"]] == ["done", "time", "nothing", "done"]
    assert document["agreement"] == {}
    text = table.markdown(document)
    assert "case, endless: stopped for lack of time after" in text
    assert "case, idle: ended without labels after" in text


@pytest.mark.slow
def test_abdobox_is_called_rightly(tmp_path: Path, scan: Path, tiny_model: Path):
    plan = runs.Plan(
        [scan], ["abdobox", "abdobox-reference"], tiny_model, 1, "cpu", 5.0, tmp_path / "work"
    )
    document = runs.run(plan, tmp_path / "out.json")
    agreement = document["agreement"]["case"]["abdobox-reference / abdobox"]
    # The tiny model's defaults are the reference but for half precision.
    assert agreement["equal_voxels"] > 0.9


def test_no_time_left_runs_nothing(tmp_path: Path, scan: Path, tiny_model: Path):
    plan = runs.Plan([scan], ["abdobox"], tiny_model, 1, "cpu", 0.0, tmp_path / "work")
    assert runs.run(plan, tmp_path / "out.json")["runs"] == []
