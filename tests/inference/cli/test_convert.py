"""``python -m inference.convert``: labels onto the slices of the series that they belong to."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.cli.convert import main
from inference.grid import Grid
from inference.scan.dicom.reading import source_of
from inference.scan.nifti_header import NiftiHeader
from inference.scan.same_grid import labels_on
from inference.scan.volume import read_labels, read_volume, write_labels
from tests.inference.orientations import AXIS_ALIGNED
from tests.inference.scan.dicom.oracles import (
    assert_same_places,
    by_dcmqi,
    by_highdicom,
    rasterised,
)
from tests.inference.scan.dicom.scans import MadeScan, make_scan
from tests.inference.scan.dicom.series_maker import of_volume, write_series

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> MadeScan:
    return make_scan(tmp_path_factory.mktemp("series"), "head first supine", "even")


def turned(labels: np.ndarray, grid: Grid, direction: tuple[float, ...]) -> tuple[np.ndarray, Grid]:
    """The same labels at the same places in another axis order, by plain index arithmetic."""
    old, new = np.array(grid.direction).reshape(3, 3), np.array(direction).reshape(3, 3)
    matrix = np.rint(old.T @ new).astype(int)  # column j: the step in old x, y, z of new axis j
    from_axis = np.abs(matrix).argmax(0)
    out = labels.transpose([2 - int(from_axis[2 - a]) for a in range(3)])
    start = [0, 0, 0]
    for j, axis in enumerate(from_axis):
        if matrix[axis, j] < 0:
            out = np.flip(out, 2 - j)
            start[axis] = labels.shape[2 - axis] - 1
    spacing = np.array(grid.spacing)[::-1][from_axis][::-1]
    origin = grid.physical(tuple(start[::-1]))
    return out, Grid(out.shape, tuple(spacing.tolist()), tuple(origin.tolist()), direction)  # type: ignore[arg-type]


def saved(path: Path, labels: np.ndarray, grid: Grid) -> Path:
    write_labels(path, np.ascontiguousarray(labels), NiftiHeader.of_grid(grid))
    return path


@pytest.mark.parametrize("direction", AXIS_ALIGNED)
def test_labels_in_any_axis_order_come_to_the_scans(scan: MadeScan, direction):
    labels, grid = turned(scan.labels, scan.source.grid, direction)
    np.testing.assert_array_equal(labels_on(labels, grid, scan.source.grid), scan.labels)


def test_turned_labels_as_seg_structure_set_and_nifti(scan: MadeScan, tmp_path: Path):
    labels, grid = turned(scan.labels, scan.source.grid, AXIS_ALIGNED[29])
    path = saved(tmp_path / "corrected.nii.gz", labels, grid)
    words = [str(path), "--source", str(scan.folder), "-o", str(tmp_path / "out")]
    assert main([*words, "--format", "nifti", "dicom-seg", "rtstruct"]) == 0
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "corrected.nii.gz", "corrected.rtstruct.dcm", "corrected.seg.dcm",
    ]  # fmt: skip
    seg = by_highdicom(out / "corrected.seg.dcm", scan.source)
    np.testing.assert_array_equal(seg, scan.on_frames)
    contours = rasterised(out / "corrected.rtstruct.dcm", scan.source)
    np.testing.assert_array_equal(contours, scan.on_frames)
    np.testing.assert_array_equal(read_labels(out / "corrected.nii.gz")[0], scan.labels)


def test_who_made_them_is_said_and_other_labels_get_another_uid(scan: MadeScan, tmp_path: Path):
    from pydicom import dcmread

    segs = []
    for name, labels in (("a", scan.labels), ("b", scan.labels), ("c", scan.labels * 0 + 1)):
        path = saved(tmp_path / f"{name}.nii.gz", labels, scan.source.grid)
        more = ["--algorithm-type", "MANUAL"] if name == "c" else ["--algorithm", "net"]
        assert main([str(path), "--source", str(scan.folder), "-o", str(tmp_path), *more]) == 0
        segs.append(dcmread(tmp_path / f"{name}.seg.dcm"))
    first, second, third = segs
    assert first.SOPInstanceUID == second.SOPInstanceUID != third.SOPInstanceUID
    assert first.SegmentSequence[1].SegmentAlgorithmType == "SEMIAUTOMATIC"
    (made,) = first.SegmentSequence[1].SegmentationAlgorithmIdentificationSequence
    assert made.AlgorithmName == "net"
    assert third.SegmentSequence[1].SegmentAlgorithmType == "MANUAL"
    assert "SegmentationAlgorithmIdentificationSequence" not in third.SegmentSequence[1]


def shifted(grid: Grid, mm: float) -> Grid:
    x, y, z = grid.origin
    return Grid(grid.shape, grid.spacing, (x, y + mm, z), grid.direction)


@pytest.mark.parametrize(
    ("case", "line"),
    [
        ("half a voxel", "corners are 1.3 mm apart"),
        ("spacing", "corners are"),
        ("shape", "voxels"),
        ("rotated", "its axes point elsewhere"),
        ("mirrored", "corners are"),
        ("values", "value 15"),
    ],
)
def test_labels_of_another_place_are_refused(
    scan: MadeScan, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, line: str
):
    labels, grid = scan.labels, scan.source.grid
    z, y, x = grid.spacing
    if case == "half a voxel":
        grid = shifted(grid, grid.spacing[1] / 2)
    elif case == "spacing":
        grid = Grid(grid.shape, (z, y, x * 1.02), grid.origin, grid.direction)
    elif case == "shape":
        labels = labels[1:]
        grid = Grid(labels.shape, grid.spacing, grid.origin, grid.direction)  # type: ignore[arg-type]
    elif case == "rotated":
        c, s = np.cos(0.3), np.sin(0.3)
        grid = Grid(grid.shape, grid.spacing, grid.origin, (c, -s, 0, s, c, 0, 0, 0, 1))
    elif case == "mirrored":
        grid = Grid(grid.shape, grid.spacing, grid.origin, (-1, 0, 0, 0, 1, 0, 0, 0, 1))
    else:
        labels = labels.copy()
        labels[0, 0, 0] = 15
    path = saved(tmp_path / "a.nii.gz", labels, grid)
    out = tmp_path / "out"
    assert main([str(path), "--source", str(scan.folder), "-o", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith(f"error: {path}: ") and line in error
    assert not out.exists()


def test_rounding_of_headers_is_no_other_place(scan: MadeScan):
    grid = shifted(scan.source.grid, 0.01)
    np.testing.assert_array_equal(labels_on(scan.labels, grid, scan.source.grid), scan.labels)


def test_a_source_without_a_series_is_one_line(scan: MadeScan, tmp_path: Path, capsys):
    path = saved(tmp_path / "a.nii.gz", scan.labels, scan.source.grid)
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "nothing"):
        assert main([str(path), "--source", str(source), "-o", str(tmp_path)]) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and str(source) in error


def test_the_label_map_itself_is_not_overwritten(scan: MadeScan, tmp_path: Path, capsys):
    path = saved(tmp_path / "a.nii.gz", scan.labels, scan.source.grid)
    before = path.read_bytes()
    words = [str(path), "--source", str(scan.folder), "-o", str(tmp_path), "--format", "nifti"]
    assert main(words) == 1
    assert "is the label map itself" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_what_is_odd_about_labels_and_series_is_said(tmp_path: Path, capsys):
    """Slices are missing: labels between the others have no slice that they could lie on."""
    scan = make_scan(tmp_path / "in", "head first supine", "missing")
    path = tmp_path / "a.nrrd"
    sitk_image = sitk.GetImageFromArray(scan.labels + np.float32(0.001))
    sitk_image.SetSpacing(scan.source.grid.spacing[::-1])
    sitk_image.SetOrigin(scan.source.grid.origin)
    sitk.WriteImage(sitk_image, str(path))
    words = [str(path), "--source", str(scan.folder), "-o", str(tmp_path / "out")]
    assert main([*words, "--format", "rtstruct"]) == 0
    rounded, missing = capsys.readouterr().err.splitlines()
    assert rounded.startswith(f"warning: {path}: the labels are no whole numbers")
    assert missing.startswith(f"warning: {scan.folder}: interpolated: 1 missing between z = ")


@pytest.mark.parametrize("name", ["", " ", "a\\b", "M\xfcller", "x" * 65, "a\nb"])
def test_a_name_that_dicom_does_not_take_is_a_wrong_argument(name: str, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["a.nii.gz", "--source", "in", "-o", "out", "--algorithm", name])
    assert "is no name for DICOM" in capsys.readouterr().err


def test_a_name_that_no_terminal_takes_and_labels_that_are_rounded(
    scan: MadeScan, tmp_path: Path, monkeypatch, capsys
):
    name = os.fsdecode(b"S\xf8ren.nii.gz")
    floats = sitk.GetImageFromArray(scan.labels.astype(np.float32) - np.float32(0.001))
    grid = scan.source.grid
    floats.SetSpacing(grid.spacing[::-1])
    floats.SetOrigin(grid.origin)
    floats.SetDirection(grid.direction)
    sitk.WriteImage(floats, str(tmp_path / "labels.nii.gz"))
    (tmp_path / "labels.nii.gz").rename(tmp_path / name)
    said = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", said)
    words = [str(tmp_path / name), "--source", str(scan.folder), "-o", str(tmp_path / "out")]
    assert main([*words, "--format", "nifti"]) == 0
    monkeypatch.undo()
    assert (tmp_path / "out" / name).is_file()
    assert said.buffer.getvalue().endswith(b"S\\xf8ren.nii.gz\n")
    assert "they were rounded" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    code = (
        "import sys, inference.cli.convert as c\n"
        "try: c.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in ('numpy', 'pydicom', 'highdicom') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--source" in done.stdout and done.stderr == "[]\n"


CTS = ("acrin_flt_breast_013", "cptac_pda_c3l_00189", "cptac_pda_c3n_00249", "tcga_ov_2043")


@pytest.mark.slow
@pytest.mark.parametrize("name", CTS)
def test_real_scans_written_as_series(shared_data: Path, tmp_path: Path, name: str):
    volume = read_volume(shared_data / "ct" / f"{name}_0000.nii.gz")
    slices = of_volume(volume.voxels_ZYX, volume.grid.spacing, volume.grid.origin)
    write_series(tmp_path / "in", slices)
    words = [shared_data / f"pseudo_labels/hk/{name}.nii.gz", "--source", tmp_path / "in", "-o",
             tmp_path / "out", "--format", "nifti", "dicom-seg", "rtstruct"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    labels, _ = read_labels(shared_data / f"pseudo_labels/hk/{name}.nii.gz")
    source = source_of(tmp_path / "in")
    np.testing.assert_array_equal(by_highdicom(tmp_path / f"out/{name}.seg.dcm", source), labels)
    contours = rasterised(tmp_path / f"out/{name}.rtstruct.dcm", source)
    np.testing.assert_array_equal(contours, labels)
    image, _ = by_dcmqi(tmp_path / f"out/{name}.seg.dcm", tmp_path / "dcmqi")
    assert_same_places(image, sitk.ReadImage(str(tmp_path / f"out/{name}.nii.gz")))


@pytest.mark.slow
def test_a_real_series(shared_data: Path, tmp_path: Path):
    path = shared_data / "pseudo_labels/hk/totalsegmentator_slab.nii.gz"
    series = shared_data / "dicom/totalsegmentator_slab"
    assert main([str(path), "--source", str(series), "-o", str(tmp_path / "out")]) == 0
    image, _ = by_dcmqi(tmp_path / "out/totalsegmentator_slab.seg.dcm", tmp_path / "dcmqi")
    assert_same_places(image, sitk.ReadImage(str(path)))
