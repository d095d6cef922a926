"""Whose a result is and what it comes from: patient, study, UIDs; sources that have lost them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from inference.errors import OutputError
from inference.scan.dicom.candidates import candidates
from inference.scan.dicom.segmentation import write_segmentation
from inference.scan.dicom.series import find_series
from inference.scan.dicom.source import DicomSource
from inference.scan.dicom.stack import stack_of
from inference.scan.formats import SEG_TYPES
from tests.inference.scan.dicom.oracles import by_highdicom, dciodvfy
from tests.inference.scan.dicom.scans import (
    ALGORITHM,
    KINDS,
    MadeScan,
    changed,
    make_scan,
    read_scan,
    with_labels,
    write_seg,
)
from tests.inference.scan.dicom.series_maker import (
    Geometry,
    make_slices,
    write_enhanced,
    write_series,
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> MadeScan:
    return make_scan(tmp_path_factory.mktemp("series"), "head first supine", "even")


def test_patient_and_study_are_the_sources(scan: MadeScan, tmp_path: Path):
    seg, source = write_seg(scan, tmp_path / "a.dcm"), scan.source.header()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate",
                    "StudyTime", "StudyID", "AccessionNumber", "StudyInstanceUID",
                    "SpecificCharacterSet"):  # fmt: skip
        assert seg[keyword].value == source[keyword].value, keyword
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("ISO_IR 100", "M\xfcller^J\xf6rg".encode("latin-1")),
        ("ISO_IR 192", "Müller^Jörg=王^小東".encode()),
        ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030")),
        ("ISO_IR 100", b"no\xff\xfevalid^name"),
    ],
)
def test_names_are_passed_on_byte_for_byte(tmp_path: Path, characters: str, name: bytes):
    padded = name + b" " * (len(name) % 2)

    def change(ds: Dataset, _: int) -> None:
        ds.SpecificCharacterSet = characters
        ds[0x00100010] = RawDataElement(Tag(0x00100010), "PN", len(padded), padded, 0, False, True)
        ds.set_original_encoding(False, True, convert_encodings(characters))

    scan = changed(tmp_path / "in", change)
    for path, seg_type in ((tmp_path / "a.dcm", "labelmap"), (tmp_path / "b.dcm", "binary")):
        seg = write_seg(scan, path, seg_type)
        assert seg.get_item("PatientName").value.strip() == name.strip()
        assert seg.SpecificCharacterSet == characters


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.2"])
def test_the_sources_transfer_syntax_is_of_no_matter(scan: MadeScan, tmp_path: Path, syntax: str):
    other = changed(tmp_path / "in", None, syntax=syntax)
    write_seg(other, tmp_path / "a.dcm")
    write_seg(scan, tmp_path / "b.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


PERSONAL = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
            "StudyID", "AccessionNumber", "ReferringPhysicianName", "SeriesDate", "SeriesTime",
            "SeriesNumber", "PositionReferenceIndicator", "SliceThickness", "Manufacturer",
            "SpecificCharacterSet")  # fmt: skip


def missing(ds: Dataset, _: int) -> None:
    for keyword in PERSONAL:
        del ds[keyword]


def empty(ds: Dataset, _: int) -> None:
    for keyword in PERSONAL:
        ds[keyword].value = None


def nonsense(ds: Dataset, _: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.PatientSex, ds.PatientBirthDate, ds.StudyDate = "UNKNOWN", "1960", "20250102 "
        ds.StudyTime, ds.SeriesNumber, ds.PatientName = "noon", 2**31 - 1, "x" * 200
        ds.SliceThickness = 0


def no_such_day(ds: Dataset, _: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.ContentDate, ds.SeriesDate = "20251399", "00000000"
        ds.StudyDate, ds.StudyTime = "20250102", "1005"


def no_thickness(ds: Dataset, _: int) -> None:
    ds[0x00180050] = RawDataElement(Tag(0x00180050), "DS", 4, b"1,5 ", 0, False, True)


def test_a_day_that_never_was_is_not_the_results(tmp_path: Path):
    scan = changed(tmp_path / "in", no_such_day)
    seg = write_seg(scan, tmp_path / "a.dcm")
    assert (seg.ContentDate, seg.ContentTime) == ("20250102", "100500")


@pytest.mark.parametrize("change", [missing, empty, nonsense, no_such_day, no_thickness])
def test_anonymised_and_odd_sources_give_a_sound_seg(tmp_path: Path, change):
    scan = changed(tmp_path / "in", change)
    for seg_type in SEG_TYPES:
        path = tmp_path / f"{seg_type}.dcm"
        seg = write_seg(scan, path, seg_type)
        np.testing.assert_array_equal(by_highdicom(path, scan.source), scan.on_frames)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
            assert keyword in seg
            if change in (missing, empty):
                assert not seg[keyword].value
    if change in (missing, empty):
        assert dciodvfy(tmp_path / "binary.dcm") == []


def no_uids(ds: Dataset, _: int) -> None:
    del ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID


def test_lost_uids_are_made_up_the_same_each_time(tmp_path: Path):
    scan = changed(tmp_path / "in", no_uids)
    seg = write_seg(scan, tmp_path / "a.dcm")
    other = write_seg(scan, tmp_path / "b.dcm", "binary")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[keyword].value.startswith("2.25.")
        assert seg[keyword].value == other[keyword].value
    made_up = {seg.StudyInstanceUID, seg.FrameOfReferenceUID, seg.SeriesInstanceUID,
               seg.SOPInstanceUID, seg.ReferencedSeriesSequence[0].SeriesInstanceUID}  # fmt: skip
    assert len(made_up) == 5


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_a_second_run_writes_the_same_file(scan: MadeScan, tmp_path: Path, seg_type):
    for name in ("a.dcm", "b.dcm"):
        write_seg(scan, tmp_path / name, seg_type)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_uids_tell_scans_weights_and_types_apart(scan: MadeScan, tmp_path: Path):
    slices = make_slices(Geometry("head first supine", **KINDS["even"]))  # type: ignore[arg-type]
    write_series(tmp_path / "in", slices, series="2")
    segs = [
        write_seg(scan, tmp_path / "a.dcm"),
        write_seg(scan, tmp_path / "a.dcm", "binary"),
        write_seg(scan, tmp_path / "a.dcm", algorithm=replace(ALGORITHM, sha256="f" * 64)),
        write_seg(read_scan(tmp_path / "in", slices), tmp_path / "a.dcm"),
    ]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({seg[keyword].value for seg in segs}) == len(segs)
        assert all(len(seg[keyword].value) <= 64 for seg in segs)


def test_two_scans_of_one_file_have_results_of_their_own(tmp_path: Path):
    """An Enhanced CT of two stacks: both have the file's UID."""

    def two_stacks(ds: Dataset) -> None:
        for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
            groups.FrameContentSequence[0].StackID = str(1 + k % 2)

    slices = make_slices(Geometry("head first supine", **KINDS["even"]))  # type: ignore[arg-type]
    write_enhanced(tmp_path / "ct.dcm", [s for s in slices for _ in range(2)], change=two_stacks)
    series, _ = find_series(candidates(tmp_path), tmp_path)
    one, two = (stack_of(one).source for one in series)
    assert {f.sop_instance_uid for f in one.frames} == {f.sop_instance_uid for f in two.frames}
    assert_results_differ(one, two, tmp_path)


def test_scans_that_lost_their_instance_uids_have_results_of_their_own(tmp_path: Path):
    """Anonymisers give every slice of every scan one UID."""

    def same(ds: Dataset, _: int) -> None:
        ds.SOPInstanceUID = "1.2.3"

    sources = []
    for name in ("1", "2"):
        slices = make_slices(Geometry("head first supine", **KINDS["even"]))  # type: ignore[arg-type]
        write_series(tmp_path / name, slices, change=same, series=name)
        scan = read_scan(tmp_path / name, slices)
        assert "slices share SOP Instance UIDs" in str(scan.volume.warnings)
        sources.append(scan.source)
    assert_results_differ(sources[0], sources[1], tmp_path)


def assert_results_differ(one: DicomSource, two: DicomSource, folder: Path) -> None:
    labels = np.ones(one.grid.shape, np.uint8)
    segs = []
    for name, source in (("a", one), ("b", two), ("c", one)):
        write_segmentation(folder / f"{name}.dcm", labels, source, ALGORITHM)
        segs.append(dcmread(folder / f"{name}.dcm"))
    first, second, again = segs
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert first[keyword].value == again[keyword].value != second[keyword].value
    assert first.SegmentSequence[1].TrackingUID != second.SegmentSequence[1].TrackingUID


def test_values_that_are_no_labels_are_refused(scan: MadeScan, tmp_path: Path):
    with pytest.raises(ValueError, match="no label"):
        write_seg(with_labels(scan, scan.labels + 15), tmp_path / "a.dcm")
    with pytest.raises(ValueError, match="shape"):
        write_seg(with_labels(scan, scan.labels[1:]), tmp_path / "a.dcm")
    assert not list(tmp_path.iterdir())


def test_a_source_that_went_away_is_one_line(tmp_path: Path):
    scan = make_scan(tmp_path / "in", "sagittal", "even")
    for path in (tmp_path / "in").iterdir():
        path.unlink()
    with pytest.raises(OutputError, match="cannot be read any more"):
        write_seg(scan, tmp_path / "a.dcm")
    assert not (tmp_path / "a.dcm").exists()
