"""What of a tree is a case, what is left out and why, and what cases are called."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    EncapsulatedPDFStorage,
    LegacyConvertedEnhancedCTImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)

from inference.errors import ScanError
from inference.scan.dicom.candidates import candidates
from inference.scan.dicom.series import LeftOut, Series, find_series
from inference.scan.volume import read_series, read_volume
from tests.inference.scan.dicom.series_maker import (
    ROOT,
    Geometry,
    data_set,
    make_slices,
    write_enhanced,
    write_series,
)

GEOMETRY = Geometry(shape=(10, 12), spacing=(9.0, 8.0), along=tuple(8.0 * k for k in range(10)))


def look(root: Path, taken: tuple[str, ...] = ()) -> tuple[dict[str, Series], list[LeftOut]]:
    series, left_out = find_series(candidates(root), root, taken)
    return {s.name: s for s in series}, left_out


def reasons(left_out: list[LeftOut]) -> dict[str, int]:
    return {out.reason: out.images for out in left_out}


def flat(value: float) -> list:
    return make_slices(GEOMETRY, lambda x, y, z: np.where(x < 10, value, value + 1))


def values_of(series: Series) -> int:
    return int(read_series(series).voxels_ZYX.min())


# ---- passes


def by(name: str) -> Callable[[int], Callable[[Dataset, int], None]]:
    def changes(number: int) -> Callable[[Dataset, int], None]:
        def change(ds: Dataset, k: int) -> None:
            if name == "acquisition":
                ds.AcquisitionNumber = number
            elif name == "an acquisition for each slice":
                ds.AcquisitionNumber = 100 * number + k
            elif name == "time":
                ds.AcquisitionTime = f"10{number}000.{k:02}"
            elif name == "kernel":
                ds.ConvolutionKernel = f"B{number}0f"
            ds.SOPInstanceUID = f"{ROOT}.7.{number}.{k}"

        return change

    return changes


@pytest.mark.parametrize("name", ["acquisition", "an acquisition for each slice", "time", "kernel"])
def test_passes_over_one_place_are_told_apart(tmp_path: Path, name: str):
    for number, value in ((1, 40), (2, 140)):
        write_series(tmp_path / str(number), flat(value), change=by(name)(number))
    found, left_out = look(tmp_path)
    assert left_out == []
    assert len(found) == 2
    assert sorted(values_of(series) for series in found.values()) == [40, 140]
    for series in found.values():
        assert len(series.headers) == 10


def test_passes_in_one_folder_are_numbered_in_their_order(tmp_path: Path):
    slices = [s for pair in zip(flat(40), flat(140), strict=True) for s in pair]

    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber = 2 + k % 2

    write_series(tmp_path, slices, change=change)
    found, _ = look(tmp_path)
    assert {name: values_of(series) for name, series in found.items()} == {
        "3_1_1": 40,
        "3_1_2": 140,
    }


def test_passes_whose_slices_lie_between_each_other(tmp_path: Path):
    """Half a step apart: neither of them lacks a slice, and together they would look like one."""
    one, two = flat(40), flat(140)
    two = [replace(s, position=s.position + np.array([0, 0, 3.0])) for s in two]
    write_series(tmp_path / "a", one, change=by("acquisition")(1))
    write_series(tmp_path / "b", two, change=by("acquisition")(2))
    found, _ = look(tmp_path)
    assert sorted(values_of(series) for series in found.values()) == [40, 140]


def test_acquisitions_one_after_another_are_one_scan(tmp_path: Path):
    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber = 1 + k // 4
        ds.AcquisitionTime = f"1000{k:02}"

    write_series(tmp_path, flat(40), change=change)
    (series,) = look(tmp_path)[0].values()
    assert len(series.headers) == 10


def test_slices_of_bolus_tracking_are_left_out(tmp_path: Path):
    slices = flat(40)
    tracked = [replace(slices[5], hu=slices[5].hu + n) for n in (1, 2)]

    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber = 1 if k < 2 else 2

    write_series(tmp_path, [*tracked, *slices], change=change)
    found, left_out = look(tmp_path)
    assert [values_of(series) for series in found.values()] == [40]
    assert reasons(left_out) == {"fewer than 8 slices (1)": 2}


# ---- what is no slice


def test_a_localizer_among_the_slices(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    scout = make_slices(replace(GEOMETRY, orientation="coronal", along=(0.0,)))

    def change(ds: Dataset, k: int) -> None:
        if k == 0:
            ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(tmp_path, [*scout, *slices], change=change)
    found, left_out = look(tmp_path)
    assert [len(s.headers) for s in found.values()] == [10]
    assert left_out == [LeftOut(str(tmp_path), "localizer", 1)]


@pytest.mark.parametrize(
    ("sop_class", "modality", "words"),
    [
        (SecondaryCaptureImageStorage, "OT", "no CT image but Secondary Capture Image Storage"),
        (SecondaryCaptureImageStorage, "CT", "no CT image but Secondary Capture Image Storage"),
        (XRayRadiationDoseSRStorage, "SR", "no CT image but X-Ray Radiation Dose SR Storage"),
        (PositronEmissionTomographyImageStorage, "PT", "Positron Emission Tomography"),
        (RTStructureSetStorage, "RTSTRUCT", "RT Structure Set Storage"),
        (EncapsulatedPDFStorage, "DOC", "Encapsulated PDF Storage"),
        ("1.2.840.10008.5.1.4.1.1.2", "MR", "no CT image (modality MR)"),
    ],
)
def test_other_objects(tmp_path: Path, sop_class: str, modality: str, words: str):
    write_series(tmp_path / "ct", make_slices(GEOMETRY))

    def change(ds: Dataset, k: int) -> None:
        ds.SOPClassUID, ds.Modality = sop_class, modality

    write_series(tmp_path / "other", make_slices(GEOMETRY), change=change, series="2")
    found, left_out = look(tmp_path)
    assert list(found) == ["ct"]
    (reason,) = reasons(left_out)
    assert words in reason
    assert left_out[0].images == 10


def test_few_slices_screenshots_and_slices_without_a_place(tmp_path: Path):
    write_series(tmp_path / "ct", make_slices(GEOMETRY))
    write_series(tmp_path / "few", make_slices(GEOMETRY)[:7], series="2")

    def colour(ds: Dataset, k: int) -> None:
        ds.SamplesPerPixel = 3

    def nowhere(ds: Dataset, k: int) -> None:
        del ds.ImagePositionPatient

    write_series(tmp_path / "shot", make_slices(GEOMETRY), change=colour, series="3")
    write_series(tmp_path / "nowhere", make_slices(GEOMETRY), change=nowhere, series="4")
    found, left_out = look(tmp_path)
    assert list(found) == ["ct"]
    assert reasons(left_out) == {
        "fewer than 8 slices (7)": 7,
        "screenshot or other picture in colour": 10,
        "it does not state its place in the patient": 10,
    }


@pytest.mark.parametrize("orientation", ["sagittal", "coronal"])
def test_reformatted_planes_beside_their_axial_series(tmp_path: Path, orientation: str):
    write_series(tmp_path / "axial", make_slices(GEOMETRY))
    other = make_slices(replace(GEOMETRY, orientation=orientation))
    write_series(tmp_path / "mpr", other, series="2")
    found, left_out = look(tmp_path)
    assert list(found) == ["axial"]
    assert "not axial" in left_out[0].reason
    # By themselves they are a scan.
    found, left_out = look(tmp_path / "mpr")
    assert (list(found), left_out) == (["mpr"], [])


def test_another_acquisitions_coronal_series_is_a_case(tmp_path: Path):
    write_series(tmp_path / "axial", make_slices(GEOMETRY))
    other = make_slices(replace(GEOMETRY, orientation="coronal"))
    write_series(tmp_path / "mpr", other, series="2", change=by("acquisition")(9))
    assert sorted(look(tmp_path)[0]) == ["axial", "mpr"]


def test_orientation_that_changes_within_a_series(tmp_path: Path):
    first = make_slices(GEOMETRY)
    turned = make_slices(replace(GEOMETRY, orientation="oblique"))
    write_series(tmp_path, first + turned)
    found, _ = look(tmp_path)
    assert [len(s.headers) for s in found.values()] == [10, 10]
    assert list(found) == ["3_1", "3_1-2"]


@pytest.mark.parametrize("what", ["pixel spacing", "rows", "frame of reference"])
def test_slices_of_another_kind_within_a_series(tmp_path: Path, what: str):
    slices = make_slices(GEOMETRY)
    if what == "rows":
        slices[3] = replace(slices[3], hu=slices[3].hu[:-1])

    def change(ds: Dataset, k: int) -> None:
        if k == 3 and what == "pixel spacing":
            ds.PixelSpacing = ["9", "7.9"]
        if k == 3 and what == "frame of reference":
            ds.FrameOfReferenceUID = f"{ROOT}.201"

    write_series(tmp_path, slices, change=change)
    found, left_out = look(tmp_path)
    assert [len(s.headers) for s in found.values()] == [9]
    assert reasons(left_out) == {"fewer than 8 slices (1)": 1}
    (series,) = found.values()
    assert "interpolated: 1 missing" in read_series(series).warnings[0]


# ---- folders, patients, UIDs


def test_a_series_in_several_folders(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    for part in range(3):
        only = [s for k, s in enumerate(slices) if k % 3 == part]
        uid = f"{ROOT}.5.{part}"

        def change(ds: Dataset, k: int, uid: str = uid) -> None:
            ds.SOPInstanceUID = f"{uid}.{k}"

        write_series(tmp_path / f"IM{part}", only, change=change)
    found, left_out = look(tmp_path)
    assert (list(found), left_out) == (["3_1"], [])
    assert len(found["3_1"].headers) == 10


def anonymised(ds: Dataset, k: int) -> None:
    for word in ("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SOPInstanceUID",
                 "PatientID", "PatientName", "FrameOfReferenceUID", "AcquisitionNumber",
                 "AcquisitionTime", "StudyDate", "SOPClassUID"):  # fmt: skip
        setattr(ds, word, "" if word != "SeriesNumber" else None)


def test_without_uids_a_folder_is_a_series(tmp_path: Path):
    write_series(tmp_path / "a", flat(40), change=anonymised)
    write_series(tmp_path / "b", flat(140), change=anonymised)
    found, left_out = look(tmp_path)
    assert left_out == []
    assert {name: values_of(series) for name, series in found.items()} == {"a": 40, "b": 140}
    frame = found["a"].headers[0].frame
    assert frame.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"  # of the file's meta information
    assert frame.sop_instance_uid


def test_two_patients_with_the_same_uids_never_meet(tmp_path: Path):
    below = [replace(s, position=s.position - np.array([0, 0, 80.0])) for s in flat(140)]
    write_series(tmp_path / "a", flat(40))
    write_series(tmp_path / "b", below, change=lambda ds, k: ds.update({"PatientID": "P2"}))
    found, _ = look(tmp_path)
    assert {name: values_of(series) for name, series in found.items()} == {"a": 40, "b": 140}


def test_names(tmp_path: Path):
    deep = tmp_path / "P1^DOE" / "study"
    for k, folder in enumerate(("ct", "x/ct", "venous", ".")):
        write_series(deep / folder, make_slices(GEOMETRY), series=f"5{k}")
    write_series(tmp_path / "both", make_slices(GEOMETRY), series="61")
    more = write_series(tmp_path / "more", make_slices(GEOMETRY), series="62")
    for path in more:
        path.rename(tmp_path / "both" / f"b{path.name}")
    found, _ = look(tmp_path)
    # "ct" is there twice, "both" holds two, "a" is another scan's name.
    assert sorted(found) == ["3_50", "3_51", "3_61", "3_62", "study", "venous"]
    found, _ = look(tmp_path, taken=("venous", "3_50"))
    assert sorted(found) == ["3_50-2", "3_51", "3_52", "3_61", "3_62", "study"]


@pytest.mark.parametrize("part", ["../../evil", "\\..\\x", "a b\nc", "7" * 60])
def test_names_hold_nothing_that_leads_elsewhere(tmp_path: Path, part: str):
    for number, folder in enumerate(("one", "two")):
        for path in write_series(tmp_path / folder / "ct", make_slices(GEOMETRY), series="8"):
            data, old = path.read_bytes(), f"{ROOT}.8".encode()
            at = data.index(b"\x20\0\x0e\0UI")
            value = f"1.{part}{number}"
            value += "\0" * (len(value) % 2)
            assert old in data[at : at + 8 + len(old)]
            end = at + 8 + int.from_bytes(data[at + 6 : at + 8], "little")
            new = data[: at + 6] + len(value).to_bytes(2, "little") + value.encode()
            path.write_bytes(new + data[end:])
    found, _ = look(tmp_path)
    assert len(found) == 2
    assert all(re.fullmatch(r"3_[0-9A-Za-z]{1,32}(-2)?", name) for name in found)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Łukasz^Wąs"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 999", "Nobody"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_character_sets(tmp_path: Path, charset: str, name: str):
    def change(ds: Dataset, k: int) -> None:
        ds.SpecificCharacterSet = charset.split("\\") if "\\" in charset else charset
        ds.PatientName = name

    write_series(tmp_path / "ct", make_slices(GEOMETRY), change=change)
    volume = read_volume(tmp_path / "ct")
    assert volume.source is not None
    if "999" not in charset:
        assert str(volume.source.header().PatientName) == name


def test_a_dicomdir_beside_its_files(tmp_path: Path):
    files = FileSet()
    for path in write_series(tmp_path / "in", make_slices(GEOMETRY)):
        files.add(path)
    files.write(tmp_path / "set")
    assert (tmp_path / "set" / "DICOMDIR").is_file()
    found, left_out = look(tmp_path / "set")
    assert [len(s.headers) for s in found.values()] == [10]
    assert reasons(left_out) == {"DICOMDIR, an index of other files": 1}


# ---- files


def test_broken_files_are_listed_and_said(tmp_path: Path):
    paths = write_series(tmp_path, make_slices(GEOMETRY))
    paths[4].write_bytes(b"")
    (tmp_path / "odd.dcm").write_bytes(b"no DICOM at all")
    (tmp_path / "notes.txt").write_bytes(b"")
    found, left_out = look(tmp_path)
    (series,) = found.values()
    assert series.notes == ("2 files beside it cannot be read: slices may be missing",)
    assert reasons(left_out) == {"is empty": 1, "is no DICOM file": 1}
    warnings = read_series(series).warnings
    assert "2 files beside it cannot be read: slices may be missing" in warnings
    assert any("interpolated: 1 missing" in note for note in warnings)


def test_without_preamble_and_meta_information(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    paths = write_series(tmp_path, slices)
    for path in paths:
        data = path.read_bytes()
        length = int.from_bytes(data[140:144], "little")
        path.write_bytes(data[144 + length :])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])


@pytest.mark.parametrize("implicit", [True, False])
def test_old_files_of_a_data_set_alone(tmp_path: Path, implicit: bool):
    slices = make_slices(GEOMETRY)
    for k, place in enumerate(slices):
        ds = data_set(place, k + 1)
        ds.save_as(tmp_path / f"{k}", implicit_vr=implicit, little_endian=True)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels_ZYX, [s.hu for s in slices])


def test_a_file_of_many_frames_by_its_own_name(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    path = write_enhanced(
        tmp_path / "CT.1.2.3.dcm", slices, sop_class=LegacyConvertedEnhancedCTImageStorage
    )
    found, left_out = look(path)
    assert (list(found), left_out) == (["CT.1.2.3"], [])
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert volume.source is not None
    assert [frame.frame for frame in volume.source.frames] == list(range(10))


def test_frames_of_two_stacks_in_one_file(tmp_path: Path):
    def change(ds: Dataset) -> None:
        for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
            groups.FrameContentSequence[0].StackID = str(1 + k % 2)

    slices = [s for pair in zip(flat(40), flat(140), strict=True) for s in pair]
    write_enhanced(tmp_path / "ct.dcm", slices, change=change)
    found, _ = look(tmp_path)
    assert {name: values_of(series) for name, series in found.items()} == {
        "3_1_1": 40,
        "3_1_2": 140,
    }


def test_one_slice_of_a_series_is_refused(tmp_path: Path):
    path = write_series(tmp_path, make_slices(GEOMETRY))[0]
    with pytest.raises(ScanError, match=r"no CT series: fewer than 8 slices \(1\); give a CT"):
        read_volume(path)


def test_several_series_where_one_is_wanted(tmp_path: Path):
    write_series(tmp_path / "a", flat(40))
    write_series(tmp_path / "b", flat(140), series="2")
    with pytest.raises(ScanError, match=r"holds 2 CT series \(a, b\); give one of them"):
        read_volume(tmp_path)


# ---- .zip


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                info = zipfile.ZipInfo(prefix + str(file.relative_to(folder)))
                archive.writestr(info, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return path


def test_a_zip_is_read_where_it_lies(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    write_series(tmp_path / "in" / "ct", slices)
    path = zipped(tmp_path / "in", tmp_path / "study.zip")
    before = sorted(tmp_path.rglob("*"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert sorted(tmp_path.rglob("*")) == before
    assert list(look(path)[0]) == ["ct"]
    assert volume.source is not None
    assert volume.source.header().PatientID == "P1"
    assert len(volume.source.headers()) == 10


def test_a_zip_of_slices_alone_is_named_after_itself(tmp_path: Path):
    write_series(tmp_path / "in", make_slices(GEOMETRY))
    path = zipped(tmp_path / "in", tmp_path / "study.zip")
    assert list(look(path)[0]) == ["study"]
    write_series(tmp_path / "tree" / "x", make_slices(GEOMETRY), series="2")
    path.rename(tmp_path / "tree" / "y.zip")
    assert sorted(look(tmp_path / "tree")[0]) == ["x", "y"]


@pytest.mark.parametrize("prefix", ["../", "/", "a/../../", "..\\", "C:\\"])
def test_members_that_lead_out_of_their_zip(tmp_path: Path, prefix: str):
    write_series(tmp_path / "in", make_slices(GEOMETRY))
    path = zipped(tmp_path / "in", tmp_path / "study.zip", prefix)
    found, left_out = look(path)
    assert found == {}
    assert {out.reason for out in left_out} == {"its name leads out of its .zip"}


def test_links_out_of_the_tree_and_round_in_it(tmp_path: Path):
    write_series(tmp_path / "elsewhere", make_slices(GEOMETRY), series="2")
    write_series(tmp_path / "in" / "ct", make_slices(GEOMETRY))
    (tmp_path / "in" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "ct" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "ct")
    found, left_out = look(tmp_path / "in")
    assert [len(s.headers) for s in found.values()] == [10]
    assert reasons(left_out) == {"is a link that leads out of the input folder": 1}
