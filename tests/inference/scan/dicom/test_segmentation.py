"""What a SEG says beside its pixels: codes, sides, references, doubts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless

from inference import __version__
from inference.labels import ORGANS, STRUCTURES, TUMOR
from inference.scan.dicom.segmentation import write_segmentation
from inference.scan.formats import SEG_TYPES, SegType
from inference.scan.remarks import Remarks
from tests.inference.scan.dicom.oracles import by_dcmqi, by_highdicom, dciodvfy
from tests.inference.scan.dicom.scans import (
    ALGORITHM,
    MadeScan,
    make_scan,
    with_labels,
    write_seg,
)

LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> MadeScan:
    return make_scan(tmp_path_factory.mktemp("series"), "head first supine", "even")


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_segments_are_the_labels_with_their_codes(scan: MadeScan, tmp_path: Path, seg_type):
    seg = write_seg(scan, tmp_path / "a.dcm", seg_type)
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
    write_seg(scan, tmp_path / "a.dcm", seg_type)
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
    seg = write_seg(scan, tmp_path / "a.dcm")
    assert seg.file_meta.TransferSyntaxUID == RLELossless
    assert seg.SOPClassUID == LABELMAP_STORAGE
    assert seg.NumberOfFrames == len(scan.source.frames)
    assert (tmp_path / "a.dcm").stat().st_size < scan.labels.nbytes


@pytest.mark.parametrize("kind", ["even", "enhanced"])
def test_every_frame_refers_to_its_source(kind: str, tmp_path: Path):
    scan = make_scan(tmp_path / "in", "coronal", kind)
    for seg_type in SEG_TYPES:
        seg = write_seg(scan, tmp_path / f"{seg_type}.dcm", seg_type)
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


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_no_label_at_all(scan: MadeScan, tmp_path: Path, seg_type):
    bare = with_labels(scan, np.zeros_like(scan.labels))
    path = tmp_path / "a.dcm"
    seg = write_seg(bare, path, seg_type)
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
    assert words == "w" * 1021 + "..."  # ST
    plain = write_seg(scan, tmp_path / "b.dcm")
    assert "doubtful" not in plain.SeriesDescription and "ImageComments" not in plain
    assert plain.SOPInstanceUID == seg.SOPInstanceUID


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
    seg = write_seg(make_scan(tmp_path / "in", "oblique", kind), tmp_path / "a.dcm")
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
    data = write_seg(scan, tmp_path / "a.dcm", seg_type)
    assert caplog.records == []
    uids = {
        element.value for element in data.iterall() if element.keyword == "ReferencedSOPInstanceUID"
    }
    assert uids == {scan.source.frames[0].sop_instance_uid}
