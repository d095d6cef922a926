"""Which files are scans, and where their labels go: the contract on names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.errors import AbdoboxError
from inference.many.cases import Case, case_name, find_cases, output_problem
from tests.inference.nifti_files import scan_voxels, write_nifti
from tests.inference.text_files import metaimage_bytes, nrrd_bytes, put


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


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


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


def problem_of(source: Path, target: Path) -> AbdoboxError:
    found = find_cases(source, target)
    assert found.cases == []
    (problem,) = found.problems
    assert "\n" not in str(problem)
    return problem


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


def warnings_of(source: Path, target: Path) -> list[str]:
    found = find_cases(source, target)
    assert found.problems == []
    assert all(line.startswith(f"{source}: ") for line in found.warnings)
    return [line.removeprefix(f"{source}: ") for line in found.warnings]


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


# A grid's origin tells whose a scan is.
PLACE, OTHER = (-10.0, -20.0, 30.0), (-10.0, -20.0, 31.0)


def scan_at(path: Path, origin: tuple[float, float, float]) -> None:
    """A small scan whose grid begins there (RAS for .nii.gz, LPS for others)."""
    voxels = scan_voxels()
    x, y, z = origin
    if path.suffix == ".nrrd":
        put(path, nrrd_bytes(voxels, space_origin=f"({x},{y},{z})"))
    elif path.suffix == ".mha":
        put(path, metaimage_bytes(voxels, Offset=f"{x} {y} {z}"))
    else:
        srow = (1, 0, 0, x, 0, 2, 0, y, 0, 0, 5, z)
        write_nifti(path, voxels, srow=srow, qform_code=0)


@pytest.mark.parametrize(
    ("names", "cases"),
    [
        (("X_0000", "X_0001"), ["X"]),
        (("X_0000", "X_0001", "X_0002", "Y_0000", "z"), ["X", "Y", "z"]),
        (("p_1_0000", "p_1_0001", "p_2_0000", "p_2_0001"), ["p_1", "p_2"]),
        # No channels: without the first, with a gap, or more than an image has.
        (("X_0001",), ["X_0001"]),
        (("X_0001", "X_0002"), ["X_0001", "X_0002"]),
        (("X_0000", "X_0007"), ["X", "X_0007"]),
        (("X_0001_0000", "X_0002_0000"), ["X_0001", "X_0002"]),
        (tuple(f"img_{n:04}" for n in range(5)),
         ["img", "img_0001", "img_0002", "img_0003", "img_0004"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_channels_of_nnunet_are_no_patients(
    folders: tuple[Path, Path], names: tuple[str, ...], cases: list[str], suffix: str
):
    source, target = folders
    for name in names:
        scan_at(source / f"{name}{suffix}", PLACE)
    assert [case.name for case in find_cases(source, target).cases] == cases
    left = len(names) - len(cases)
    said = warnings_of(source, target)
    assert len(said) == (left > 0)
    if left:
        assert f"{left} further nnU-Net channel" in said[0]
        assert said[0].endswith("left out; rename what is a patient of its own")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_patients_that_are_numbered_like_channels_are_not_lost(
    folders: tuple[Path, Path], count: int, suffix: str
):
    """Each is on a grid of its own; one that differs is enough."""
    source, target = folders
    names = [f"img_{number:04}" for number in range(count)]
    for number, name in enumerate(names):
        scan_at(source / f"{name}{suffix}", OTHER if number == count - 1 else PLACE)
    assert warnings_of(source, target) == []
    assert [case.name for case in find_cases(source, target).cases] == ["img", *names[1:]]


def test_each_group_is_channels_or_patients_for_itself(folders: tuple[Path, Path]):
    source, target = folders
    for name in ("a_0000", "a_0001", "b_0000"):
        scan_at(source / f"{name}.nii.gz", PLACE)
    scan_at(source / "b_0001.nii.gz", OTHER)
    assert [case.name for case in find_cases(source, target).cases] == ["a", "b", "b_0001"]


@pytest.mark.parametrize("odd", ["unreadable", "no geometry"])
def test_where_no_grid_tells_they_are_patients(folders: tuple[Path, Path], odd: str):
    """So that none is lost: an unreadable one gets its line."""
    source, target = folders
    eye = {"qform_code": 0, "srow": (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)}
    for name in ("img_0000.nii.gz", "img_0001.nii.gz"):
        write_nifti(source / name, scan_voxels(), (1.0, 1.0, 1.0), **eye)
    if odd == "unreadable":
        scan_at(source / "img_0000.nii.gz", PLACE)
        (source / "img_0001.nii.gz").write_bytes(b"\x1f\x8b no gzip")
    assert [case.name for case in find_cases(source, target).cases] == ["img", "img_0001"]


def test_the_challenge_s_names_need_no_look_into_a_file(folders: tuple[Path, Path]):
    source, target = folders
    names = [f"FLARE23Ts_{number:04}_0000.nii.gz" for number in range(3)]
    for name in names:
        os.mkfifo(source / name)  # which cannot be read without being waited for
    assert [case.name for case in find_cases(source, target).cases] == [n[:14] for n in names]
