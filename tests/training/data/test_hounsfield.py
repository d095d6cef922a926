"""Scans that are not in HU do not reach the fingerprint."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from phantom import Phantom
from tests.training.dataset_files import save
from training.data.fingerprint import main as fingerprint
from training.data.hounsfield import scale_problem
from training.fusion.fuse import main as fuse


def body() -> tuple[np.ndarray, np.ndarray]:
    """Air, fat and one organ of 60 HU, of 40 at one side, of which half is labelled."""
    scan = np.full((40, 40, 40), -1000, np.int16)
    scan[5:35, 5:35, 5:35] = -90
    scan[10:30, 10:30, 10:30] = 60
    scan[10:30, 10:30, 10] = 40
    labels = np.zeros(scan.shape, np.uint8)
    labels[10:20, 10:30, 10:30] = 1
    return scan, labels


def test_hounsfield_units_are_fine(phantom: Phantom) -> None:
    assert scale_problem(*body()) is None
    assert scale_problem(phantom.image_ZYX, phantom.labels_ZYX) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scan: scan + 1024, "median of 1084"),
        # Padding below the scan does not hide it.
        (lambda scan: np.where(scan == -1000, -2000, scan + 1024), "median of 1084"),
        (lambda scan: np.clip(scan, 0, 255), "lie in 0 to 60"),
        (lambda scan: (scan - scan.mean()) / scan.std(), "hardly one below -30"),
        (lambda scan: (scan + 1000) / 2000.0, "lie in 0 to 0.53"),
    ],
)
def test_other_scales(change, words: str) -> None:
    scan, labels = body()
    problem = scale_problem(change(scan), labels)
    assert problem is not None and words in problem


def test_an_offset_shows_without_labels() -> None:
    scan, labels = body()
    assert scale_problem(scan, labels * 0) is None
    assert "stored with an offset" in (scale_problem(scan + 1024, labels * 0) or "")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """One scan in HU and one with an offset of 1024."""
    scan, labels = body()
    for name, image in (("hu", scan), ("offset", scan + np.int16(1024))):
        save(tmp_path / "in" / "imagesTr" / f"{name}_0000.nii.gz", image, 4.0)
        save(tmp_path / "in" / "labelsTr" / f"{name}.nii.gz", labels, 4.0)
        for teacher in ("t1", "t2"):
            save(tmp_path / "in" / "pseudo" / teacher / f"{name}.nii.gz", labels, 4.0)
    return tmp_path / "in"


def test_fuse_names_it_and_leaves_it_out(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--data", dataset, "--out", out, "--teachers", "t1", "t2", "--workers", "1"]
    assert fuse([*map(str, words)]) == 0
    with (out / "cases.csv").open() as stream:
        assert [row["name"] for row in csv.DictReader(stream)] == ["hu"]
    line = next(x for x in capsys.readouterr().err.splitlines() if x.startswith("left out"))
    scan = dataset / "imagesTr" / "offset_0000.nii.gz"
    assert line.startswith(f"left out offset: {scan}: what is labelled has a median of 1084: HU")
    assert line in (out / "report.md").read_text()
    assert not (out / "labels" / "offset.nii.gz").exists()


def test_it_does_not_enter_a_fingerprint_of_another_s_table(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["name,patient,split,image,label,annotated"]
    for name in ("hu", "offset"):
        scan = dataset / "imagesTr" / f"{name}_0000.nii.gz"
        rows.append(f"{name},{name},train,{scan},{dataset / 'labelsTr' / name}.nii.gz,1")
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "fingerprint.json"
    assert fingerprint(["--data", str(tmp_path), "--out", str(out), "--workers", "1"]) == 0
    plan = json.loads(out.read_text())
    assert plan["cases"] == ["hu"]
    assert plan["intensity_hu"]["upper"] == 60
    assert "left out" in capsys.readouterr().err
