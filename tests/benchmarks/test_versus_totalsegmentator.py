"""TotalSegmentator's networks with random weights, and its command around them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from benchmarks.environment import ROOT, child
from benchmarks.flare_harness.simulate import write_scan
from benchmarks.versus import table, tools, totalsegmentator_model
from benchmarks.versus.mapping import IMPORTED
from benchmarks.versus.nnunet_model import CONFIGURATION
from benchmarks.versus.notes import NOTES
from benchmarks.versus.totalsegmentator_model import FAST, FULL, Network, write_home
from inference.engines.torch_unet import UNet
from inference.scan.volume import read_labels, read_volume
from tests.benchmarks.test_versus import MACHINE, one_run

COARSE = Network("Dataset001_coarse", "nnUNetTrainerNoMirroring", 3, 6.0, (16, 16, 16), 2)


def test_parameters_are_as_published():
    def parameters(network: Network) -> int:
        return sum(p.numel() for p in UNet(network.architecture).parameters())

    # TotalSegmentator-KonfAI's copies in float32: 66.2 MB of 3 mm, about 125 MB of each of 1.5 mm.
    assert parameters(FAST[0]) * 4 / 1e6 == pytest.approx(66.2, abs=0.05)
    assert parameters(FULL[0]) * 4 / 1e6 == pytest.approx(125, abs=0.5)


@pytest.mark.parametrize("network", [*FAST, *FULL], ids=lambda network: network.dataset)
def test_windows_fit_the_network(network: Network):
    assert all(n % d == 0 for n, d in zip(network.patch, network.architecture.divisor, strict=True))


def test_labels_add_up_to_117():
    assert sum(network.labels for network in FULL) == FAST[0].labels == 117


def test_home_is_what_nnunet_looks_for(tmp_path: Path):
    write_home(tmp_path, (COARSE,))
    assert json.loads((tmp_path / "config.json").read_text())["send_usage_stats"] is False
    folder = (
        tmp_path / "nnunet" / "results" / "Dataset001_coarse"
        / "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres"
    )  # fmt: skip
    plans = json.loads((folder / "plans.json").read_text())["configurations"][CONFIGURATION]
    assert (plans["patch_size"], plans["spacing"]) == ([16] * 3, [6.0] * 3)
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert sorted(labels.values()) == [0, 1, 2, 3]
    arguments = plans["architecture"]["arch_kwargs"]
    assert arguments["features_per_stage"] == [32, 64, 128]
    for name in IMPORTED:
        if arguments[name] is not None:
            arguments[name] = getattr(torch.nn, arguments[name].split(".")[-1])
    network = PlainConvUNet(1, num_classes=4, deep_supervision=False, **arguments)
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    network.load_state_dict(checkpoint["network_weights"])


def test_home_is_the_same_every_time(tmp_path: Path):
    for name in ("a", "b"):
        write_home(tmp_path / name, (COARSE,))
    first, second = (
        torch.load(next((tmp_path / name).rglob("*.pth")), weights_only=False)["network_weights"]
        for name in ("a", "b")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tools, "BUILD", tmp_path)
    monkeypatch.setattr(totalsegmentator_model, "FAST", (COARSE,))
    task = tools.Task(tmp_path / "a_0000.nii.gz", tmp_path, tmp_path / "work", "cpu")
    command = tools.totalsegmentator_fast(task)
    home = next(word for word in command if word.startswith("TOTALSEG_HOME_DIR="))
    assert (Path(home.partition("=")[2]) / "config.json").exists()
    assert {"--fast", "--ml"} <= set(command)
    assert command[command.index("-o") + 1] == str(task.labels)
    assert command[command.index("--device") + 1] == "cpu"


def test_the_table_says_what_was_replaced():
    found = [one_run("c", "abdobox", 1.0), one_run("c", "totalsegmentator", 9.0)]
    text = table.markdown({"machine": MACHINE, "runs": found, "agreement": {}})
    assert f"- totalsegmentator: {NOTES['totalsegmentator']}" in text
    assert "Replaced: the weights" in text
    assert NOTES["totalsegmentator-fast"] not in text


@pytest.mark.slow
def test_totalsegmentator_segments_a_scan(tmp_path: Path):
    """Its own process from file to file; where its environment is not, it cannot."""
    if not (tools.PEERS / "TotalSegmentator").exists():
        pytest.skip("no build/peers: python -m benchmarks.versus setup")
    scan = write_scan(tmp_path, 40, in_plane=48)
    task = tools.Task(scan, tmp_path, tools.fresh(tmp_path / "work"), "cpu")
    command = tools.totalsegmentator_fast(task)
    ended = subprocess.run(
        command, cwd=ROOT, env=child(), check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    labels_ZYX, grid = read_labels(task.labels)
    assert grid == read_volume(scan).grid
    assert np.any(labels_ZYX)
