"""DICOM series through the command line: names, resuming, shares, reports, exit codes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from inference.many.cases import find_cases
from inference.many.shard import Shard
from inference.scan.volume import read_labels, read_volume
from tests.inference.scan.dicom.series_maker import (
    Geometry,
    Slice,
    make_slices,
    of_volume,
    write_enhanced,
    write_series,
)
from tests.inference.scan_folders import Run

SMALL = Geometry(shape=(12, 14), spacing=(12.0, 11.0), along=tuple(12.0 * k for k in range(9)))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two studies, a localizer, a screenshot, a .zip, a multi-frame file, and a NIfTI scan."""
    root = tmp_path / "in"
    slices = make_slices(SMALL)
    write_series(root / "study1" / "arterial", slices, series="1")
    write_series(root / "study1" / "venous", slices, series="2")
    longer = make_slices(replace(SMALL, along=tuple(12.0 * k for k in range(14))))
    write_series(root / "study2" / "lost", longer[:6] + longer[9:], series="3")

    def scout(ds: Dataset, k: int) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(root / "study2" / "scout", slices[:2], series="4", change=scout)
    write_enhanced(root / "study2" / "frames" / "a.dcm", slices, series="5")
    write_series(tmp_path / "packed", slices, series="6")
    with zipfile.ZipFile(root / "packed.zip", "w") as archive:
        for path in (tmp_path / "packed").iterdir():
            archive.write(path, path.name)
    write_nifti_like(root / "ct_0000.nii.gz", slices)
    return root


def write_nifti_like(path: Path, slices: list[Slice]) -> None:
    image = sitk.GetImageFromArray(np.stack([s.hu for s in slices]).astype(np.int16))
    image.SetSpacing((11.0, 12.0, 12.0))
    image.SetOrigin([float(v) for v in slices[0].position])
    sitk.WriteImage(image, str(path))


def test_a_tree_of_studies(
    tree: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
):
    report = tmp_path / "report.json"
    assert run(tree, tmp_path / "out", "--report", str(report)) == 1
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    wanted = ["arterial", "ct", "frames", "packed", "venous"]
    segs = [f"{name}.seg.dcm" for name in wanted if name != "ct"]  # which is no DICOM
    assert names == sorted([f"{name}.nii.gz" for name in wanted] + segs)
    said = capsys.readouterr().err.splitlines()
    errors = [line for line in said if line.startswith("error: ")]
    (lost,) = errors
    assert lost.startswith(
        f"error: {tree / 'study2' / 'lost'}: lacks slices: 3 missing between z = "
    )
    assert said[-1] == f"5 done, 1 failed, 2 DICOM images left out: {tmp_path / 'out'}"
    written = json.loads(report.read_text())
    assert written["packages"]["pydicom"]
    assert written["left_out"] == [
        {"source": str(tree / "study2" / "scout"), "reason": "localizer", "images": 2}
    ]
    states = {case["name"]: case["state"] for case in written["cases"]}
    assert states == {**dict.fromkeys(wanted, "done"), "lost": "failed"}
    # The same patient in every format: the same labels.
    first, grid = read_labels(tmp_path / "out" / "ct.nii.gz")
    assert first.any()
    for name in wanted:
        other, other_grid = read_labels(tmp_path / "out" / f"{name}.nii.gz")
        np.testing.assert_array_equal(other, first)
        np.testing.assert_allclose(other_grid.origin, grid.origin, atol=1e-4)
        assert other_grid.direction == grid.direction


def test_a_seg_says_what_the_report_doubts(tree: Path, tmp_path: Path, run: Run):
    report, source = tmp_path / "report.json", tree / "study1" / "arterial"
    assert run(source, tmp_path / "out", "--report", str(report), "--quiet") == 0
    (case,) = json.loads(report.read_text())["cases"]
    wanted = {name: one for name, one in case["doubts"]["organs"].items() if one["doubtful"]}
    assert wanted  # its weights are random
    seg = dcmread(tmp_path / "out" / "arterial.seg.dcm")
    items = {s.SegmentLabel: s for s in seg.SegmentSequence if s.get("SegmentDescription")}
    assert {*items} == {*wanted}
    for name, one in wanted.items():
        assert items[name].SegmentDescription.endswith("; ".join(one["doubts"]))
    assert seg.get("ImageComments", "") == "; ".join(case["doubts"]["scan"])


def test_killed_and_run_again(
    tree: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
):
    run(tree, tmp_path / "out", "--quiet")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "venous.nii.gz").unlink()
    (tmp_path / "out" / "packed.nii.gz").unlink()
    capsys.readouterr()
    assert run(tree, tmp_path / "out", "--skip-existing") == 1
    assert "2 done, 3 skipped, 1 failed, 2 DICOM images left out" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_shares(tree: Path, tmp_path: Path):
    whole = {case.name for case in find_cases(tree, tmp_path / "out").cases}
    assert len(whole) == 6
    shares = [find_cases(tree, tmp_path / "out", Shard(i, 3)).cases for i in (1, 2, 3)]
    assert sorted(case.name for cases in shares for case in cases) == sorted(whole)


@pytest.mark.parametrize("name", ["study1/arterial", "packed.zip", "study2/frames/a.dcm"])
def test_one_series_under_a_name_of_ones_own(tree: Path, tmp_path: Path, run: Run, name: str):
    assert run(tree / name, tmp_path / "out" / "mine.nii.gz", "--quiet") == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["mine.nii.gz", "mine.seg.dcm"]


def test_results_within_the_input_are_not_looked_into(tmp_path: Path):
    write_series(tmp_path / "in" / "ct", make_slices(SMALL))
    write_series(tmp_path / "in" / "out" / "ct", make_slices(SMALL), series="2")
    found = find_cases(tmp_path / "in", tmp_path / "in" / "out")
    assert [case.name for case in found.cases] == ["ct"]


def test_another_formats_scan_keeps_its_name(tmp_path: Path):
    write_series(tmp_path / "in" / "ct", make_slices(SMALL))
    write_nifti_like(tmp_path / "in" / "ct_0000.nii.gz", make_slices(SMALL))
    found = find_cases(tmp_path / "in", tmp_path / "out")
    assert [case.name for case in found.cases] == ["3_1", "ct"]
    assert found.problems == []


def test_a_tree_without_a_ct(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]):
    write_series(tmp_path / "in", make_slices(SMALL)[:4])
    assert run(tmp_path / "in", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "only DICOM that is left out (fewer than 8 slices (4)); give a CT series, whole" in said
    assert "0 done, 1 failed, 4 DICOM images left out" in said


def test_a_nifti_run_imports_no_dicom_library(tmp_path: Path, tiny_model: Path):
    write_nifti_like(tmp_path / "in_0000.nii.gz", make_slices(SMALL))
    (tmp_path / "in").mkdir()
    (tmp_path / "in_0000.nii.gz").rename(tmp_path / "in" / "a_0000.nii.gz")
    code = (
        "import sys; from inference.cli.main import main; status = main(sys.argv[1:]); "
        "print([m for m in sys.modules if 'dicom' in m]); sys.exit(status)"
    )
    words = ["-i", tmp_path / "in", "-o", tmp_path / "out", "--model", tiny_model, "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words), "--device", "cpu"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_a_real_slab_is_the_nifti_that_was_made_of_it(shared_data: Path):
    volume = read_volume(shared_data / "dicom" / "totalsegmentator_slab")
    other = read_volume(shared_data / "ct" / "totalsegmentator_slab_0000.nii.gz")
    np.testing.assert_array_equal(volume.voxels_ZYX, other.voxels_ZYX)
    np.testing.assert_allclose(volume.grid.origin, other.grid.origin, atol=1e-4)
    np.testing.assert_allclose(volume.grid.spacing, other.grid.spacing, atol=1e-6)
    assert volume.grid.direction == other.grid.direction
    assert volume.warnings == other.warnings


def test_a_real_zip(shared_data: Path):
    volume = read_volume(shared_data / "dicom" / "crlm_ct_1004.zip")
    assert volume.grid.shape == (41, 512, 512)
    assert volume.grid.spacing == (5.0, 0.796875, 0.796875)
    assert volume.warnings == ()
    assert volume.source is not None and volume.source.exact
    image = sitk.ReadImage(str(shared_data / "train" / "images" / "crlm_1004_0000.nii.gz"))
    half = sitk.GetArrayFromImage(image)
    assert half.shape[0] == 41  # at half the in-plane resolution, of the same slices
    mean = volume.voxels_ZYX.reshape(41, 256, 2, 256, 2).mean((2, 4))
    assert np.corrcoef(mean.ravel(), half.ravel())[0, 1] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("index", range(5))
def test_real_cts_written_as_series(tmp_path: Path, shared_data: Path, index: int):
    path = sorted((shared_data / "ct").glob("*.nii.gz"))[index]
    scan = read_volume(path)
    image_ZYX, grid = scan.canonical()
    slices = of_volume(image_ZYX, grid.spacing, grid.origin)
    write_series(tmp_path, slices, intercept=-8192)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels_ZYX, image_ZYX)
    np.testing.assert_allclose(volume.grid.origin, grid.origin, atol=1e-3)
    np.testing.assert_allclose(volume.grid.spacing, grid.spacing, rtol=1e-4)
    assert volume.grid.direction == grid.direction


@pytest.mark.parametrize(("missing", "done"), [("pydicom", 1), ("highdicom", 5)])
def test_without_its_libraries_dicom_costs_one_line(
    run: Run, tree: Path, tmp_path: Path, capfd, monkeypatch, missing: str, done: int
):
    """Installed without the extra ``dicom``: other scans are done, and the remedy is named."""
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == missing else there(name, *a)
    )
    assert run(tree, tmp_path / "out") == 1
    told = capfd.readouterr().err
    assert f"{missing} is needed and not installed" in told and "abdobox[dicom]" in told
    assert "internal error" not in told
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == done
