"""What of a tree is a case, what is left out and why, and what cases are called."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import (
    EncapsulatedPDFStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    XRayRadiationDoseSRStorage,
)

from inference.scan.dicom.series import LeftOut
from inference.scan.volume import read_series, read_volume
from tests.inference.scan.dicom.series_maker import (
    ROOT,
    make_slices,
    write_series,
)
from tests.inference.scan.dicom.trees import GEOMETRY, by, flat, look, reasons, values_of


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
