"""Which files are scans, and where their labels go: the contract on names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.many.cases import Case, case_name, find_cases, output_problem
from tests.inference.many.conftest import problem_of, touch


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
        ("_0000.nii.gz", "_0000"),
    ],
)
def test_names(file: str, name: str | None):
    assert case_name(Path("folder") / file) == name


def found(source: Path, target: Path) -> dict[str, str]:
    found = find_cases(source, target)
    assert found.problems == []
    return {case.source.name: str(case.target.relative_to(target)) for case in found.cases}


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
        ("out/SEG.NII.GZ", "out/SEG.NII.GZ"),
        ("run.v1", "run.v1/a.nii.gz"),
    ],
)
def test_one_scan(tmp_path: Path, output: str, expected: str):
    touch(tmp_path, "a_0000.nii.gz")
    found = find_cases(tmp_path / "a_0000.nii.gz", tmp_path / output)
    assert found.problems == []
    (case,) = found.cases
    assert case.target == tmp_path / expected
    assert case.name == {
        "out/a.nii.gz": "a",
        "out/mine.nii.gz": "mine",
        "out/SEG.NII.GZ": "SEG",
    }.get(expected, "a")


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
    [empty, no_scans, series, dicom_by_name,
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
    (source / "nowhere.nii.gz").symlink_to("gone.nii.gz")  # and this one
    found = find_cases(source, target)
    assert [case.name for case in found.cases] == ["good", "loop", "nowhere"]
    assert len(found.problems) == 1


@pytest.mark.parametrize("way", ["inside", "relative", "absolute", "link of a link", "folder"])
def test_links_are_followed_wherever_they_lead(folders: tuple[Path, Path], way: str):
    """DataLad and git-annex keep scans in .git/annex, Nextflow and BIDS tools elsewhere."""
    source, target = folders
    store = source.parent / "annex" / "objects"
    store.mkdir(parents=True)
    touch(store, "SHA256E-s0.nii.gz")
    link = source / "a_0000.nii.gz"
    if way == "inside":
        touch(source, ".key.nii.gz")
        link.symlink_to(".key.nii.gz")
    elif way == "relative":
        link.symlink_to("../annex/objects/SHA256E-s0.nii.gz")
    elif way == "absolute":
        link.symlink_to(store / "SHA256E-s0.nii.gz")
    elif way == "link of a link":
        (source.parent / "staged").symlink_to(store / "SHA256E-s0.nii.gz")
        link.symlink_to(source.parent / "staged")
    else:
        (source.parent / "folder").symlink_to(store)
        link.symlink_to("../folder/SHA256E-s0.nii.gz")
    assert found(source, target) == {"a_0000.nii.gz": "a.nii.gz"}
    single = find_cases(link, target)
    assert [case.target.name for case in single.cases] == ["a.nii.gz"]
    assert single.problems == []


def test_two_cases_may_be_one_file(folders: tuple[Path, Path]):
    source, target = folders
    touch(source, "a_0000.nii.gz")
    (source / "b_0000.nii.gz").symlink_to("a_0000.nii.gz")
    os.link(source / "a_0000.nii.gz", source / "c.nii.gz")
    assert found(source, target) == {
        "a_0000.nii.gz": "a.nii.gz",
        "b_0000.nii.gz": "b.nii.gz",
        "c.nii.gz": "c.nii.gz",
    }


def test_an_input_folder_that_is_a_link(folders: tuple[Path, Path]):
    source, target = folders
    touch(source, "a_0000.nii.gz")
    link = source.parent / "link"
    link.symlink_to(source)
    assert found(link, target) == {"a_0000.nii.gz": "a.nii.gz"}


def test_labels_beside_the_scans_if_no_scan_is_overwritten(tmp_path: Path):
    touch(tmp_path, "a_0000.nii.gz", "b.nii.gz", "c.nrrd")
    found = find_cases(tmp_path, tmp_path)
    assert [case.name for case in found.cases] == ["a", "c"]
    assert ["b.nii.gz" in str(problem) for problem in found.problems] == [True]


def test_labels_never_go_onto_another_scan(tmp_path: Path):
    touch(tmp_path, "a_0000_0000.nii.gz", "a_0000.nii.gz")
    found = find_cases(tmp_path, tmp_path)
    assert [case.target.name for case in found.cases] == ["a.nii.gz"]
    assert "would be overwritten" in str(found.problems[0])


@pytest.mark.parametrize("alone", [True, False])
def test_labels_never_go_onto_what_a_scan_s_link_leads_to(folders: tuple[Path, Path], alone: bool):
    source, _ = folders
    store = source.parent / "store"
    store.mkdir()
    touch(store, "a.nii.gz")
    (source / "a.nii.gz").symlink_to(store / "a.nii.gz")
    assert "would be overwritten" in str(
        problem_of(source / "a.nii.gz" if alone else source, store)
    )


def test_a_link_is_not_replaced_by_the_labels_of_what_it_leads_to(tmp_path: Path):
    """Nextflow: the scan is a link in the folder in which the labels are wanted."""
    (tmp_path / "data").mkdir()
    (tmp_path / "work").mkdir()
    touch(tmp_path / "data", "x.nii.gz")
    (tmp_path / "work" / "a.nii.gz").symlink_to(tmp_path / "data" / "x.nii.gz")
    problem = problem_of(tmp_path / "work" / "a.nii.gz", tmp_path / "work")
    assert "is a scan itself and would be overwritten" in str(problem)


def test_a_file_that_is_no_scan(tmp_path: Path):
    touch(tmp_path, "notes.txt")
    assert "is no scan" in str(problem_of(tmp_path / "notes.txt", tmp_path / "out"))


def test_name_of_a_case():
    assert Case(Path("x/a_0000.nrrd"), Path("y/a.nii.gz")).name == "a"


def test_nifti_is_the_last_to_be_written():
    """Of a run that was killed, X.nii.gz says that all else is there (docs/interfaces.md)."""
    case = Case(Path("x/a_0000.nrrd"), Path("y/mine.nii.gz"))
    assert case.files(("nifti", "seg-nrrd")) == {
        "seg-nrrd": Path("y/mine.seg.nrrd"),
        "nifti": Path("y/mine.nii.gz"),
    }
    assert [*case.files(("nifti", "dicom-seg", "rtstruct"))][-1] == "nifti"
    assert [*case.files()] == ["nifti"]


@pytest.mark.parametrize(
    ("output", "of_scan", "of_folder"),
    [
        ("out", None, None),
        ("out.v1", None, None),
        ("all.nii.gz", None, "the input is a folder"),
        ("SEG.NII.GZ", None, "the input is a folder"),
        (".nii.gz", None, "the input is a folder"),
        *((f"seg{suffix}", "is of no format that is written; end it in .nii.gz", "is a folder")
          for suffix in (".nii", ".NII", ".nrrd", ".seg.nrrd", ".mha", ".mhd", ".nhdr", ".gz",
                         ".hdr", ".img", ".dcm", ".seg.dcm", ".mgz", ".zip", ".nii.zst")),
    ],
)  # fmt: skip
def test_no_folder_gets_the_name_of_a_file(
    tmp_path: Path, output: str, of_scan: str | None, of_folder: str | None
):
    touch(tmp_path, "a.nii.gz")
    for source, words in ((tmp_path / "a.nii.gz", of_scan), (tmp_path, of_folder)):
        problem = output_problem(source, tmp_path / output)
        assert (problem is None) == (words is None)
        assert words is None or words in str(problem)


def test_a_folder_with_the_name_of_a_file_is_no_file(tmp_path: Path):
    touch(tmp_path, "a.nii.gz")
    (tmp_path / "seg.nii.gz").mkdir()
    problem = output_problem(tmp_path / "a.nii.gz", tmp_path / "seg.nii.gz")
    assert problem is not None and "is a folder, and has the name of a file" in problem
