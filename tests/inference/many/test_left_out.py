"""What of a folder may be a scan and is not taken, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.many.cases import find_cases
from tests.inference.many.conftest import problem_of, touch, warnings_of


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("p.hdr", "p.img"), "2 files (p.hdr, p.img) of formats that are not read left out"),
        (("b.nii.zst",), "1 file (b.nii.zst) of formats that are not read left out"),
        (("b.nii.bz2",), "1 file (b.nii.bz2) of"),
        (("B.HDR.GZ", "c.mgz", "d.nii.xz", "e.7z"), "4 files (B.HDR.GZ, c.mgz, d.nii.xz, ...) of"),
    ],
)
def test_files_of_formats_that_are_not_read_are_one_line(
    folders: tuple[Path, Path], names: tuple[str, ...], said: str
):
    source, target = folders
    touch(source, "a.nii.gz", *names)
    (line,) = warnings_of(source, target)
    assert line.startswith(said)
    assert line.endswith("; convert to .nii.gz")


def test_what_is_left_out_without_a_word(folders: tuple[Path, Path]):
    """No scans, hidden files, and the voxels of headers that are read."""
    source, target = folders
    touch(source, "a.nii.gz", "notes.txt", "a.json", ".x.hdr", "._a.nii.gz", "table.csv")
    touch(source, "b.mhd", "b.raw", "c.mhd", "c.img", "d.nhdr", "d.raw.gz")
    target = source / "out"
    target.mkdir()
    touch(target, "a.nii.gz")
    (source / ".cache").mkdir()
    touch(source / ".cache", "a.nii.gz")
    assert warnings_of(source, target) == []


def test_only_files_that_are_not_read(folders: tuple[Path, Path]):
    source, target = folders
    touch(source, "p.hdr", "p.img")
    words = "holds no scan, but 2 files (p.hdr, p.img) of formats that are not read; convert them"
    assert words in str(problem_of(source, target))


def test_folders_of_patients_are_named(folders: tuple[Path, Path]):
    source, target = folders
    for patient in ("sub-01", "sub-02", "sub-03", "sub-04"):
        (source / patient / "ct").mkdir(parents=True)
        touch(source / patient / "ct", "scan.nii.gz")
    (source / "sub-01" / "again").symlink_to(source)  # in a circle
    problem = str(problem_of(source, target))
    assert (
        "holds no scan itself, but 4 sub-folders (sub-01/ct, sub-02/ct, sub-03/ct, ...) with "
        "scans; run once for each, or put the scans, or links to them, into one folder"
    ) in problem
    touch(source, "a.nii.gz")
    (line,) = warnings_of(source, target)
    assert line.startswith("4 sub-folders (sub-01/ct, sub-02/ct, sub-03/ct, ...) with scans left")


def test_a_link_in_a_circle_hides_no_sub_folder(folders: tuple[Path, Path]):
    source, target = folders
    (source / "loop.nii.gz").symlink_to("loop.nii.gz")
    (source / "patient").mkdir()
    touch(source / "patient", "a.nii.gz")
    (source / "patient" / "loop").symlink_to("loop")
    (line,) = warnings_of(source, target)
    assert line.startswith("1 sub-folder (patient) with scans left out")


def test_scans_that_are_links_are_no_dicom_that_is_left_out(folders: tuple[Path, Path]):
    """Beside anything that is no scan, which lets DICOM be looked for."""
    source, target = folders
    store = source.parent / "store"
    store.mkdir()
    touch(store, "1.nii.gz", "2.nrrd", "3.dcm")
    for name in ("1.nii.gz", "2.nrrd", "3.dcm"):
        (source / name).symlink_to(store / name)
    touch(source, "README")
    found = find_cases(source, target)
    assert [case.name for case in found.cases] == ["1", "2"]
    assert [Path(out.source).name for out in found.left_out] == ["3.dcm"]


def test_a_folder_that_has_the_name_of_a_scan_is_named(folders: tuple[Path, Path]):
    source, target = folders
    (source / "a.nii").mkdir()
    touch(source / "a.nii", "a.nii")
    assert "1 sub-folder (a.nii) with scans" in str(problem_of(source, target))


def test_many_folders_are_not_all_looked_into_for_scans(folders: tuple[Path, Path]):
    source, target = folders
    for number in range(200):
        (source / f"{number:03}").mkdir()
        touch(source / f"{number:03}", "a.nii.gz")
    assert "63 sub-folders (000, 001, 002, ...)" in str(problem_of(source, target))
