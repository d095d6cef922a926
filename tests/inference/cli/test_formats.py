"""--format: which files a run leaves, of DICOM series and of other scans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from inference.cli.main import main
from inference.grid import Orientation
from inference.scan.dicom.reading import source_of
from inference.scan.volume import read_labels
from inference.segmenter import Segmenter
from phantom import Phantom, make_phantom
from tests.inference.scan.dicom.oracles import by_highdicom, rasterised
from tests.inference.scan.dicom.series_maker import of_volume, write_series
from tests.inference.scan_folders import Run

ROOT = Path(__file__).resolve().parents[3]
EVERY = ("nifti", "dicom-seg", "rtstruct", "seg-nrrd")


@pytest.fixture(scope="module")
def small() -> Phantom:
    return make_phantom((12, 20, 22), (14.0, 14.0, 14.0), seed=2)


@pytest.fixture
def mixed(tmp_path: Path, small: Phantom) -> Path:
    """A folder with a DICOM series in a folder of its own, and a NIfTI scan."""
    folder = tmp_path / "in"
    slices = of_volume(small.image_ZYX, small.grid.spacing, small.grid.origin)
    write_series(folder / "series", slices)
    image = sitk.GetImageFromArray(small.image_ZYX)
    image.SetSpacing(small.grid.spacing[::-1])
    image.SetOrigin(small.grid.origin)
    sitk.WriteImage(image, str(folder / "scan_0000.nii.gz"))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_by_default_only_a_series_gets_a_seg(run: Run, mixed: Path, tmp_path: Path):
    assert run(mixed, tmp_path / "out", "--quiet") == 0
    assert names(tmp_path / "out") == ["scan.nii.gz", "series.nii.gz", "series.seg.dcm"]


def test_all_formats_of_a_series_hold_the_same_labels(run: Run, mixed: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert run(mixed / "series", out, "--quiet", "--format", *EVERY) == 0
    assert names(out) == [
        "series.nii.gz", "series.rtstruct.dcm", "series.seg.dcm", "series.seg.nrrd",
    ]  # fmt: skip
    labels, grid = read_labels(out / "series.nii.gz")
    assert labels.any() and Orientation.of(grid.direction).apply(labels).shape == labels.shape
    source = source_of(mixed / "series")
    on_frames = source.labels_on_frames(labels)
    np.testing.assert_array_equal(by_highdicom(out / "series.seg.dcm", source), on_frames)
    np.testing.assert_array_equal(rasterised(out / "series.rtstruct.dcm", source), on_frames)
    nrrd, _ = read_labels(out / "series.seg.nrrd")
    np.testing.assert_array_equal(nrrd, labels)


def test_binary(run: Run, mixed: Path, tmp_path: Path):
    words = ("--quiet", "--format", "dicom-seg", "--seg-type", "binary")
    assert run(mixed / "series", tmp_path / "out", *words) == 0
    assert names(tmp_path / "out") == ["series.seg.dcm"]
    assert dcmread(tmp_path / "out/series.seg.dcm").SegmentationType == "BINARY"


def test_a_scan_that_is_no_series_is_refused_in_one_line_and_the_series_is_done(
    run: Run, mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    report = tmp_path / "report.json"
    words = ("--quiet", "--format", "nifti", "dicom-seg", "--report", str(report))
    assert run(mixed, tmp_path / "out", *words) == 1
    assert names(tmp_path / "out") == ["series.nii.gz", "series.seg.dcm"]
    (line,) = capsys.readouterr().err.splitlines()
    assert str(mixed / "scan_0000.nii.gz") in line
    assert "is no DICOM series, to whose slices dicom-seg could refer" in line
    states = {case["name"]: case["state"] for case in json.loads(report.read_text())["cases"]}
    assert states == {"scan": "failed", "series": "done"}


def test_every_format_with_room_for_words_says_the_same_doubts(
    run: Run, mixed: Path, tmp_path: Path
):
    slicerio = pytest.importorskip("slicerio")
    out = tmp_path / "out"
    assert run(mixed / "series", out, "--quiet", "--format", *EVERY) == 0
    seg = dcmread(out / "series.seg.dcm")
    said = {int(s.SegmentNumber): s.get("SegmentDescription") for s in seg.SegmentSequence}
    said.pop(0, None)
    assert any(said.values())  # the test's model draws what is no abdomen
    read = slicerio.read_segmentation(str(out / "series.seg.nrrd"), skip_voxels=True)
    tags = {s["labelValue"]: s.get("tags", {}).get("abdobox.Doubt") for s in read["segments"]}
    assert tags == said
    assert read.get("abdobox.ScanDoubts") == seg.get("ImageComments")
    rois = {
        int(r.ROINumber): r for r in dcmread(out / "series.rtstruct.dcm").StructureSetROISequence
    }
    assert {n: r.get("ROIDescription") for n, r in rois.items()} == {n: said[n] for n in rois}


def test_skip_existing_wants_every_file(run: Run, mixed: Path, tmp_path: Path):
    out, words = tmp_path / "out", ("--quiet", "--format", "nifti", "seg-nrrd")
    assert run(mixed, out, *words) == 0
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / "series.seg.nrrd").unlink()
    assert run(mixed, out, *words, "--skip-existing") == 0
    after = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert after.keys() == before.keys()
    kept = {path.name for path in after if after[path] == before[path]}
    assert kept == {"scan.nii.gz", "scan.seg.nrrd"}


def test_a_second_run_leaves_the_same_bytes(run: Run, mixed: Path, tmp_path: Path):
    for name in ("a", "b"):
        words = ("--quiet", "--format", "nifti", "dicom-seg", "seg-nrrd")
        assert run(mixed / "series", tmp_path / name, *words) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_nifti_labels_come_last_and_whatever_happens_to_others(
    run: Run, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Who waits for NAME.nii.gz finds everything else."""
    from inference.scan.dicom import segmentation

    order, replace = [], os.replace

    def recorded(source: Path, target: Path) -> None:
        order.append(Path(target).name.partition(".")[2])
        replace(source, target)

    monkeypatch.setattr(os, "replace", recorded)
    assert run(mixed / "series", tmp_path / "out", "--format", *EVERY, "--statistics") == 0
    labels = ["seg.dcm", "rtstruct.dcm", "seg.nrrd", "nii.gz"]
    assert order == ["json", *labels, "csv"]

    def lacks(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(segmentation, "write_segmentation", lacks)
    assert run(mixed / "series", tmp_path / "again", "--format", *EVERY) == 1
    assert names(tmp_path / "again") == [f"series.{end}" for end in sorted(labels[1:])]


def test_the_label_table_can_be_left_out(run: Run, mixed: Path, tmp_path: Path):
    import nibabel as nib

    scan = mixed / "scan_0000.nii.gz"
    assert run(scan, tmp_path / "with", "--quiet") == 0
    assert run(scan, tmp_path / "without", "--quiet", "--no-label-table") == 0
    images = [nib.load(tmp_path / name / "scan.nii.gz") for name in ("with", "without")]
    assert [len(image.header.extensions) for image in images] == [1, 0]


@pytest.mark.slow
def test_the_api_writes_what_the_command_line_does(
    run: Run, mixed: Path, tmp_path: Path, tiny_model: Path
):
    assert run(mixed / "series", tmp_path / "out", "--quiet", "--format", *EVERY) == 0
    result = Segmenter.load(tiny_model, "cpu").segment(mixed / "series")
    result.write(tmp_path / "series.nii.gz")
    result.write_dicom_seg(tmp_path / "series.seg.dcm")
    result.write_rtstruct(tmp_path / "series.rtstruct.dcm")
    result.write_seg_nrrd(tmp_path / "series.seg.nrrd")
    for path in (tmp_path / "out").iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    result.write_dicom_seg(str(tmp_path / "binary.dcm"), "binary")
    assert dcmread(tmp_path / "binary.dcm").SegmentationType == "BINARY"


def test_the_api_says_in_one_line_that_a_scan_is_no_series(
    mixed: Path, tmp_path: Path, tiny_model: Path
):
    from inference.errors import OutputError

    result = Segmenter.load(tiny_model, "cpu").segment(mixed / "scan_0000.nii.gz")
    for write in (result.write_dicom_seg, result.write_rtstruct):
        with pytest.raises(OutputError, match="is no DICOM series"):
            write(tmp_path / "a.dcm")
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize("words", [["--format", "dicom"], ["--format"], ["--seg-type", "other"]])
def test_unknown_formats_are_wrong_arguments(mixed: Path, tmp_path: Path, words: list[str]):
    with pytest.raises(SystemExit) as leaving:
        main(["-i", str(mixed), "-o", str(tmp_path / "out"), *words])
    assert leaving.value.code == 2


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["--format", "nifti", "--seg-type", "binary"], "--seg-type binary: is of dicom-seg"),
        (["--format", "seg-nrrd", "--no-label-table"], "--no-label-table: is of nifti"),
    ],
)
def test_a_flag_of_a_format_that_is_left_out(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], cause: str
):
    with pytest.raises(SystemExit) as leaving:
        main(["-i", str(mixed), "-o", str(tmp_path / "out"), *words])
    assert leaving.value.code == 2
    assert f"{cause}, which --format leaves out" in capsys.readouterr().err


def test_a_nifti_run_imports_no_dicom_library(mixed: Path, tmp_path: Path, tiny_model: Path):
    words = ["-i", str(mixed / "scan_0000.nii.gz"), "-o", str(tmp_path / "out"), "--device", "cpu",
             "--model", str(tiny_model), "--format", "nifti", "seg-nrrd"]  # fmt: skip
    code = (
        "import sys\nfrom inference.cli.main import main\n"
        f"assert main({words!r}) == 0\n"
        "print([n for n in ('pydicom', 'highdicom', 'PIL') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
