"""Folder mode against the network alone: the arithmetic, and one real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import SimpleITK as sitk

from benchmarks import folder
from examples.phantom import Phantom


def test_figures():
    """A start of 1 s, then 2 s a scan, of which the network needs 1.8."""
    found = folder.figures(scans=5, whole_s=11.0, one_s=3.0, network_s=1.8)
    assert found == pytest.approx(
        {
            "network_alone_s": 1.8, "allowed_per_minute": 60 / 1.8, "whole_per_minute": 300 / 11,
            "whole_share": 9 / 11, "steady_per_minute": 30.0, "steady_share": 0.9,
        }
    )  # fmt: skip


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
    words = ["--case", scan, "--model", tiny_model, "--scans", "3", "--runs", "1", "--out", out]
    folder.main([str(word) for word in words])
    assert len(list((tmp_path / "work" / "out").glob("*.nii.gz"))) == 3
    found = json.loads(out.read_text())["figures"]
    assert 0 < found["whole_share"] < 1
    assert "| folder, whole process |" in capsys.readouterr().out
