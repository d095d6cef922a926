"""What a SEG says beside its pixels: codes, sides, references, patient, UIDs."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from inference import __version__
from inference.errors import OutputError
from inference.labels import ORGANS, STRUCTURES, TUMOR
from inference.scan.dicom.derived import Algorithm
from inference.scan.dicom.segmentation import write_segmentation
from inference.scan.formats import SEG_TYPES, SegType
from inference.scan.remarks import Remarks
from tests.inference.scan.dicom.oracles import by_dcmqi, by_highdicom, dciodvfy
from tests.inference.scan.dicom.scans import (
    ALGORITHM,
    KINDS,
    MadeScan,
    make_scan,
    read_scan,
    with_labels,
)
from tests.inference.scan.dicom.series_maker import Geometry, make_slices, write_series

LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> MadeScan:
    return make_scan(tmp_path_factory.mktemp("series"), "head first supine", "even")


def write(
    scan: MadeScan,
    path: Path,
    seg_type: SegType = "labelmap",
    algorithm: Algorithm = ALGORITHM,
) -> Dataset:
    write_segmentation(path, scan.labels, scan.source, algorithm, seg_type)
    return dcmread(path)


def changed(folder: Path, change: Any, **more: Any) -> MadeScan:
    """A series of which each data set is changed before it is written."""
    slices = make_slices(Geometry("head first supine", **KINDS["even"]))  # type: ignore[arg-type]
    write_series(folder, slices, change=change, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of the values that the change spoils
        return read_scan(folder, slices)


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_segments_are_the_labels_with_their_codes(scan: MadeScan, tmp_path: Path, seg_type):
    seg = write(scan, tmp_path / "a.dcm", seg_type)
    assert seg.SegmentationType == seg_type.upper()
    segments = {int(s.SegmentNumber): s for s in seg.SegmentSequence}
    assert [n for n in segments if n] == list(STRUCTURES)
    for value, one in STRUCTURES.items():
        item = segments[value]
        assert item.SegmentLabel == one.name
        (category,) = item.SegmentedPropertyCategoryCodeSequence
        (kind,) = item.SegmentedPropertyTypeCodeSequence
        assert (category.CodeValue, category.CodingSchemeDesignator) == (one.category.value, "SCT")
        assert (kind.CodeValue, kind.CodeMeaning) == (one.type.value, one.type.meaning)
        sides = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
        assert [side.CodeValue for side in sides] == ([one.modifier.value] if one.modifier else [])
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        (made,) = item.SegmentationAlgorithmIdentificationSequence
        assert (made.AlgorithmName, made.AlgorithmVersion) == ("abdobox", __version__)
        assert ALGORITHM.sha256 in made.AlgorithmParameters
        assert item.TrackingID == f"abdobox {one.name}"
    (region,) = segments[TUMOR].AnatomicRegionSequence
    assert region.CodeValue == "818981001"
    assert segments[TUMOR].SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert len({segments[v].TrackingUID for v in STRUCTURES}) == len(STRUCTURES)


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_dcmqi_reads_codes_sides_and_colours(scan: MadeScan, tmp_path: Path, seg_type):
    write(scan, tmp_path / "a.dcm", seg_type)
    _, segments = by_dcmqi(tmp_path / "a.dcm", tmp_path / "out")
    assert sorted(n for n in segments if n) == list(STRUCTURES)
    for value, one in STRUCTURES.items():
        said: Any = segments[value]
        assert said["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == one.type.value
        side = said.get("SegmentedPropertyTypeModifierCodeSequence", {}).get("CodeValue")
        assert side == (one.modifier.value if one.modifier else None)
        # CIELab in 16 bits and back.
        np.testing.assert_allclose(said["recommendedDisplayRGBValue"], one.rgb, atol=1)
        region = said.get("AnatomicRegionSequence", {}).get("CodeValue")
        assert region == (one.region.value if one.region else None)


def test_labelmap_is_compressed_without_loss_and_holds_every_slice(scan: MadeScan, tmp_path: Path):
    seg = write(scan, tmp_path / "a.dcm")
    assert seg.file_meta.TransferSyntaxUID == RLELossless
    assert seg.SOPClassUID == LABELMAP_STORAGE
    assert seg.NumberOfFrames == len(scan.source.frames)
    assert (tmp_path / "a.dcm").stat().st_size < scan.labels.nbytes


@pytest.mark.parametrize("kind", ["even", "enhanced"])
def test_every_frame_refers_to_its_source(kind: str, tmp_path: Path):
    scan = make_scan(tmp_path / "in", "coronal", kind)
    for seg_type in SEG_TYPES:
        seg = write(scan, tmp_path / f"{seg_type}.dcm", seg_type)
        by_place = {tuple(np.round(f.position, 3)): f for f in scan.source.frames}
        for item in seg.PerFrameFunctionalGroupsSequence:
            place = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
            frame = by_place[tuple(np.round(place, 3))]
            (image,) = item.DerivationImageSequence[0].SourceImageSequence
            assert image.ReferencedSOPInstanceUID == frame.sop_instance_uid
            assert image.ReferencedSOPClassUID == frame.sop_class_uid
            assert image.SpatialLocationsPreserved == "YES"
            number = image.get("ReferencedFrameNumber")
            assert number == (frame.frame + 1 if kind == "enhanced" else None)
        (series,) = seg.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == scan.source.series_uid
        uids = [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence]
        assert uids == list(dict.fromkeys(f.sop_instance_uid for f in scan.source.frames))
        assert seg.FrameOfReferenceUID == scan.source.frame_of_reference_uid


def test_patient_and_study_are_the_sources(scan: MadeScan, tmp_path: Path):
    seg, source = write(scan, tmp_path / "a.dcm"), scan.source.header()
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
        seg = write(scan, path, seg_type)
        assert seg.get_item("PatientName").value.strip() == name.strip()
        assert seg.SpecificCharacterSet == characters


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.2"])
def test_the_sources_transfer_syntax_is_of_no_matter(scan: MadeScan, tmp_path: Path, syntax: str):
    other = changed(tmp_path / "in", None, syntax=syntax)
    write(other, tmp_path / "a.dcm")
    write(scan, tmp_path / "b.dcm")
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


@pytest.mark.parametrize("change", [missing, empty, nonsense])
def test_anonymised_and_odd_sources_give_a_sound_seg(tmp_path: Path, change):
    scan = changed(tmp_path / "in", change)
    for seg_type in SEG_TYPES:
        path = tmp_path / f"{seg_type}.dcm"
        seg = write(scan, path, seg_type)
        np.testing.assert_array_equal(by_highdicom(path, scan.source), scan.on_frames)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
            assert keyword in seg
            if change is not nonsense:
                assert not seg[keyword].value
    if change is not nonsense:
        assert dciodvfy(tmp_path / "binary.dcm") == []


def no_uids(ds: Dataset, _: int) -> None:
    del ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID


def test_lost_uids_are_made_up_the_same_each_time(tmp_path: Path):
    scan = changed(tmp_path / "in", no_uids)
    seg = write(scan, tmp_path / "a.dcm")
    other = write(scan, tmp_path / "b.dcm", "binary")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[keyword].value.startswith("2.25.")
        assert seg[keyword].value == other[keyword].value
    made_up = {seg.StudyInstanceUID, seg.FrameOfReferenceUID, seg.SeriesInstanceUID,
               seg.SOPInstanceUID, seg.ReferencedSeriesSequence[0].SeriesInstanceUID}  # fmt: skip
    assert len(made_up) == 5


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_a_second_run_writes_the_same_file(scan: MadeScan, tmp_path: Path, seg_type):
    for name in ("a.dcm", "b.dcm"):
        write(scan, tmp_path / name, seg_type)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_uids_tell_scans_weights_and_types_apart(scan: MadeScan, tmp_path: Path):
    slices = make_slices(Geometry("head first supine", **KINDS["even"]))  # type: ignore[arg-type]
    write_series(tmp_path / "in", slices, series="2")
    segs = [
        write(scan, tmp_path / "a.dcm"),
        write(scan, tmp_path / "a.dcm", "binary"),
        write(scan, tmp_path / "a.dcm", algorithm=replace(ALGORITHM, sha256="f" * 64)),
        write(read_scan(tmp_path / "in", slices), tmp_path / "a.dcm"),
    ]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({seg[keyword].value for seg in segs}) == len(segs)
        assert all(len(seg[keyword].value) <= 64 for seg in segs)


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_no_label_at_all(scan: MadeScan, tmp_path: Path, seg_type):
    bare = with_labels(scan, np.zeros_like(scan.labels))
    path = tmp_path / "a.dcm"
    seg = write(bare, path, seg_type)
    assert not by_highdicom(path, bare.source).any()
    assert len([s for s in seg.SegmentSequence if s.SegmentNumber]) == len(STRUCTURES)
    assert path.stat().st_size < 200_000
    assert seg_type == "labelmap" or dciodvfy(path) == []


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_doubts_are_said_where_a_reader_sees_them(scan: MadeScan, tmp_path: Path, seg_type):
    words = {value: f"doubtful, score 0.{value:02}" for value in ORGANS}
    remarks = Remarks(words, ("odd", "odder"))
    path = tmp_path / "a.dcm"
    write_segmentation(path, scan.labels, scan.source, ALGORITHM, seg_type, remarks)
    seg = dcmread(path)
    said = {int(s.SegmentNumber): s.get("SegmentDescription") for s in seg.SegmentSequence}
    assert {value: words for value, words in said.items() if words} == remarks.labels
    assert seg.ImageComments == "odd; odder"
    assert seg.SeriesDescription.endswith("; doubtful: scan, 13 organs")
    assert len(seg.SeriesDescription) <= 64  # LO
    assert seg_type == "labelmap" or dciodvfy(path) == []
    _, segments = by_dcmqi(path, tmp_path / "out")
    assert segments[1]["SegmentDescription"] == remarks.labels[1]


def test_of_one_doubtful_organ_nothing_else_is_said(scan: MadeScan, tmp_path: Path):
    remarks = Remarks({3: "w" * 2000})
    write_segmentation(tmp_path / "a.dcm", scan.labels, scan.source, ALGORITHM, remarks=remarks)
    seg = dcmread(tmp_path / "a.dcm")
    assert seg.SeriesDescription.endswith("; doubtful: 1 organ") and "ImageComments" not in seg
    (words,) = [s.SegmentDescription for s in seg.SegmentSequence if "SegmentDescription" in s]
    assert words == "w" * 1024  # ST
    plain = write(scan, tmp_path / "b.dcm")
    assert "doubtful" not in plain.SeriesDescription and "ImageComments" not in plain
    assert plain.SOPInstanceUID == seg.SOPInstanceUID


def test_values_that_are_no_labels_are_refused(scan: MadeScan, tmp_path: Path):
    with pytest.raises(ValueError, match="no label"):
        write(with_labels(scan, scan.labels + 15), tmp_path / "a.dcm")
    with pytest.raises(ValueError, match="shape"):
        write(with_labels(scan, scan.labels[1:]), tmp_path / "a.dcm")
    assert not list(tmp_path.iterdir())


def test_a_source_that_went_away_is_one_line(tmp_path: Path):
    scan = make_scan(tmp_path / "in", "sagittal", "even")
    for path in (tmp_path / "in").iterdir():
        path.unlink()
    with pytest.raises(OutputError, match="cannot be read any more"):
        write(scan, tmp_path / "a.dcm")
    assert not (tmp_path / "a.dcm").exists()


def lacking(dataset: Dataset, tree: dict[str, Any], where: str = "") -> list[str]:
    """Attributes of type 1 or 2 of a module that are missing, or empty though of type 1."""
    out = []
    for keyword, entry in tree["attributes"].items():
        there = keyword in dataset
        if entry["type"] in ("1", "2") and not there:
            out.append(f"{where}{keyword} ({entry['type']})")
        elif entry["type"] == "1" and dataset[keyword].is_empty:
            out.append(f"{where}{keyword} is empty")
        if there and "attributes" in entry and dataset[keyword].VR == "SQ":
            for item in dataset[keyword].value:
                out += lacking(item, entry, f"{where}{keyword}.")
    return out


@pytest.mark.parametrize("kind", ["even", "tilted", "enhanced"])
def test_labelmap_has_what_the_standard_requires(kind: str, tmp_path: Path):
    """By the tables that highdicom ships: dciodvfy does not know Supplement 243 yet."""
    utils = pytest.importorskip("highdicom._standard_utils")
    seg = write(make_scan(tmp_path / "in", "oblique", kind), tmp_path / "a.dcm")
    iod = utils.get_sop_class_iod_map()[LABELMAP_STORAGE]
    modules = [m["key"] for m in utils.get_iod_module_map()[iod] if m["usage"] == "M"]
    assert "segmentation-image" in str(modules) or "label-map" in str(modules)
    found = [line for m in modules for line in lacking(seg, utils.construct_module_tree(m))]
    assert found == []


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_a_multi_frame_source_is_named_by_its_own_uid_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seg_type: SegType
):
    scan = make_scan(tmp_path / "in", "coronal", "enhanced")
    data = write(scan, tmp_path / "a.dcm", seg_type)
    assert caplog.records == []
    uids = {
        element.value for element in data.iterall() if element.keyword == "ReferencedSOPInstanceUID"
    }
    assert uids == {scan.source.frames[0].sop_instance_uid}
