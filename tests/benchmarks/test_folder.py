"""Folder mode against the network alone: the arithmetic, and one real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import SimpleITK as sitk

from benchmarks import folder
from inference.engines import openvino_network
from phantom import Phantom


def test_figures():
    """A start of 1 s, then 2 s and 3.6 processor seconds a scan, whose network needs 1.8 s; the
    machine may be half as quick in one of three rounds."""
    one = folder.Round((11.0, 19.0), (5.0, 8.2), 1.8)
    found = folder.figures(5, [one], processors=2)
    assert found == pytest.approx(
        {
            "whole_per_minute": 300 / 11, "whole_share": 9 / 11, "steady_per_minute": 30.0,
            "steady_share": 0.9, "processor_s": 3.6, "possible_share": 1.0,
        }
    )  # fmt: skip
    busier = folder.Round((11.0, 19.0), (5.0, 7.0), 1.8)
    assert folder.figures(5, [busier], processors=2)["possible_share"] == pytest.approx(0.9)
    slow = folder.Round((22.0, 38.0), (10.0, 16.4), 3.6)
    assert folder.figures(5, [one, slow, one], processors=2) == found


@pytest.mark.slow
def test_a_folder_of_phantoms(
    tmp_path: Path, tiny_model: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr(folder, "WORK", tmp_path / "work")
    image = sitk.GetImageFromArray(phantom.image_ZYX)
    image.SetSpacing(phantom.grid.spacing[::-1])
    scan = tmp_path / "a_0000.nii.gz"
    sitk.WriteImage(image, str(scan))
    out = tmp_path / "folder.json"
    words = ["--case", scan, "--model", tiny_model, "--scans", "3", "--rounds", "1", "--out", out,
             "--jobs", "1", "2", "--network-threads", "1",
             "--step", "0.5"]  # fmt: skip
    monkeypatch.setattr(openvino_network.ov, "Core", openvino_network.ov.Core)
    folder.main([str(word) for word in words])
    assert len(list((tmp_path / "work" / "out").glob("*.nii.gz"))) == 1  # of the last, half run
    found = json.loads(out.read_text())["figures"]
    assert found.keys() == {"1", "2"}
    assert all(0 < of_jobs["whole_share"] < 1 for of_jobs in found.values())
    said = capsys.readouterr().out
    assert "step 0.5" in said
    assert "1 for the network" in said
