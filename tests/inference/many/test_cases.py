"""Which files are scans, and where their labels go: the contract on names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.errors import AbdoboxError
from inference.many import cases
from inference.many.cases import Case, case_name, find_cases
from inference.scan import volume


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a_0000.nii.gz", "a"),
        ("a.nii.gz", "a"),
        ("a.b_0000.nii", "a.b"),
        ("FLARE23Ts_0001_0000.nii.gz", "FLARE23Ts_0001"),
        ("a_0001.nii.gz", "a_0001"),
        ("A.NII.GZ", "A"),
        ("a.nrrd", "a"),
        ("a.mha", "a"),
        ("a.nii.gz.txt", None),
        ("a.gz", None),
        ("a.dcm", None),
        ("a.raw", None),
        ("notes.txt", None),
        (".hidden.nii.gz", None),
        (".a.nii.gz.17.partial", None),
        (".nii.gz", None),
        ("_0000.nii.gz", None),
    ],
)
def test_names(file: str, name: str | None):
    assert case_name(Path("folder") / file) == name


def test_both_lists_of_suffixes_are_the_same():
    """cases has its own, because volume's would bring NumPy into --help."""
    assert sorted(cases.SUFFIXES) == sorted(volume.SUFFIXES)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def found(source: Path, target: Path) -> dict[str, str]:
    cases, problems, left_out = find_cases(source, target)
    assert problems == left_out == []
    return {case.source.name: str(case.target.relative_to(target)) for case in cases}


def test_a_folders_scans_in_order_and_nothing_else(folders: tuple[Path, Path]):
    source, target = folders
    touch(source, "b_0000.nii.gz", "a.nii", "c.nrrd", "notes.txt", ".hidden.nii.gz")
    (source / "folder.nii.gz").mkdir()
    (source / "deeper").mkdir()
    touch(source / "deeper", "d.nii.gz")
    names = found(source, target)
    expected = {"a.nii": "a.nii.gz", "b_0000.nii.gz": "b.nii.gz", "c.nrrd": "c.nii.gz"}
    assert names == expected
    assert list(names) == sorted(names)
    assert not target.exists()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("out", "out/a.nii.gz"),
        ("out/mine.nii.gz", "out/mine.nii.gz"),
        ("out.nii", "out.nii/a.nii.gz"),
    ],
)
def test_one_scan(tmp_path: Path, output: str, expected: str):
    touch(tmp_path, "a_0000.nii.gz")
    scans, problems, _ = find_cases(tmp_path / "a_0000.nii.gz", tmp_path / output)
    assert problems == []
    assert [case.target for case in scans] == [tmp_path / expected]


def problem_of(source: Path, target: Path) -> AbdoboxError:
    cases, problems, _ = find_cases(source, target)
    assert cases == []
    (problem,) = problems
    assert "\n" not in str(problem)
    return problem


def link_out(source: Path, target: Path) -> str:
    touch(source.parent, "secret.nii.gz")
    (source / "a.nii.gz").symlink_to(source.parent / "secret.nii.gz")
    return "leads out of the input folder"


def link_to_nowhere_outside(source: Path, target: Path) -> str:
    (source / "a.nii.gz").symlink_to(source.parent / "gone.nii.gz")
    return "leads out of the input folder"


def empty(source: Path, target: Path) -> str:
    return "holds no scan"


def no_scans(source: Path, target: Path) -> str:
    touch(source, "notes.txt", "a.raw")
    return "holds no scan"


def series(source: Path, target: Path) -> str:
    for i in range(20):
        (source / f"IM{i:04}").write_bytes(bytes(128) + b"DICM" + bytes(400))
    return "holds no CT series that can be segmented, only DICOM that is left out (no CT image (mod"


def dicom_by_name(source: Path, target: Path) -> str:
    touch(source, "1.DCM")
    return "only DICOM that is left out (is empty); give a CT series, whole"


def neither_scans_nor_files(source: Path, target: Path) -> str:
    os.mkfifo(source / "pipe")  # which nobody waits at
    (source / "a.dcm").mkdir()
    (source / "b").symlink_to("b")
    touch(source, "short")
    return "holds no scan; put .nii.gz"


def twice(source: Path, target: Path) -> str:
    touch(source, "a_0000.nii.gz", "a.nii.gz")
    return "a.nii.gz and a_0000.nii.gz: would all be written to a.nii.gz"


def thrice(source: Path, target: Path) -> str:
    touch(source, "a_0000.nii.gz", "a.nii.gz", "a.nrrd")
    return "would all be written to a.nii.gz"


def labels_onto_the_scan(source: Path, target: Path) -> str:
    touch(source, "a.nii.gz")
    target.symlink_to(source)
    return "is a scan itself and would be overwritten"


@pytest.mark.parametrize(
    "make",
    [link_out, link_to_nowhere_outside, empty, no_scans, series, dicom_by_name,
     neither_scans_nor_files, twice, thrice,
     labels_onto_the_scan],
)  # fmt: skip
def test_problems_of_a_folder(folders: tuple[Path, Path], make: Callable[[Path, Path], str]):
    words = make(*folders)
    assert words in str(problem_of(*folders))


def test_a_problem_stops_no_other_case(folders: tuple[Path, Path]):
    source, target = folders
    touch(source, "good_0000.nii.gz")
    twice(source, target)
    (source / "loop.nii.gz").symlink_to("loop.nii.gz")  # left to the reader, who says so
    scans, problems, _ = find_cases(source, target)
    assert [case.name for case in scans] == ["good", "loop"]
    assert len(problems) == 1


def test_links_within_the_folder_are_followed(folders: tuple[Path, Path]):
    source, target = folders
    touch(source, "a_0000.nii.gz")
    (source / "b_0000.nii.gz").symlink_to("a_0000.nii.gz")
    assert found(source, target) == {"a_0000.nii.gz": "a.nii.gz", "b_0000.nii.gz": "b.nii.gz"}


def test_an_input_folder_that_is_a_link(folders: tuple[Path, Path]):
    source, target = folders
    touch(source, "a_0000.nii.gz")
    link = source.parent / "link"
    link.symlink_to(source)
    assert found(link, target) == {"a_0000.nii.gz": "a.nii.gz"}


def test_a_single_scan_may_be_a_link(folders: tuple[Path, Path]):
    source, target = folders
    link_out(source, target)
    scans, problems, _ = find_cases(source / "a.nii.gz", target)
    assert [case.target.name for case in scans] == ["a.nii.gz"]
    assert problems == []


def test_labels_beside_the_scans_if_no_scan_is_overwritten(tmp_path: Path):
    touch(tmp_path, "a_0000.nii.gz", "b.nii.gz", "c.nrrd")
    scans, problems, _ = find_cases(tmp_path, tmp_path)
    assert [case.name for case in scans] == ["a", "c"]
    assert ["b.nii.gz" in str(problem) for problem in problems] == [True]


def test_labels_never_go_onto_another_scan(tmp_path: Path):
    touch(tmp_path, "a_0000_0000.nii.gz", "a_0000.nii.gz")
    scans, problems, _ = find_cases(tmp_path, tmp_path)
    assert [case.target.name for case in scans] == ["a.nii.gz"]
    assert "would be overwritten" in str(problems[0])


def test_a_file_that_is_no_scan(tmp_path: Path):
    touch(tmp_path, "notes.txt")
    assert "is no scan" in str(problem_of(tmp_path / "notes.txt", tmp_path / "out"))


def test_name_of_a_case():
    assert Case(Path("x/a_0000.nrrd"), Path("y/a.nii.gz")).name == "a"
