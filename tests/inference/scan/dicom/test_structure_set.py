"""What an RTSTRUCT says beside its contours' places."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from inference.grid import Grid
from inference.labels import ORGANS, STRUCTURES, TUMOR
from inference.scan.dicom.derived import Algorithm
from inference.scan.dicom.segmentation import write_segmentation
from inference.scan.dicom.structure_set import write_structure_set
from inference.scan.remarks import Remarks
from inference.scan.volume import read_labels
from tests.inference.scan.dicom.oracles import by_plastimatch, dciodvfy, fill, rasterised
from tests.inference.scan.dicom.scans import ALGORITHM, MadeScan, make_scan, read_scan, with_labels
from tests.inference.scan.dicom.series_maker import Geometry, make_slices, of_volume, write_series


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> MadeScan:
    return make_scan(tmp_path_factory.mktemp("series"), "feet first prone", "enhanced")


def write(scan: MadeScan, path: Path, algorithm: Algorithm = ALGORITHM) -> Dataset:
    write_structure_set(path, scan.labels, scan.source, algorithm)
    return dcmread(path)


def test_structures_their_codes_and_types(scan: MadeScan, tmp_path: Path):
    data = write(scan, tmp_path / "a.dcm")
    assert data.Modality == "RTSTRUCT"
    rois = {int(roi.ROINumber): roi for roi in data.StructureSetROISequence}
    seen = {int(one.ReferencedROINumber): one for one in data.RTROIObservationsSequence}
    drawn = {int(one.ReferencedROINumber): one for one in data.ROIContourSequence}
    assert list(rois) == list(seen) == list(drawn) == list(STRUCTURES)
    for value, one in STRUCTURES.items():
        assert rois[value].ROIName == one.name
        assert rois[value].ROIGenerationAlgorithm == "AUTOMATIC"
        assert rois[value].ReferencedFrameOfReferenceUID == scan.source.frame_of_reference_uid
        assert tuple(drawn[value].ROIDisplayColor) == one.rgb
        (code,) = seen[value].RTROIIdentificationCodeSequence
        assert (code.CodeValue, code.CodingSchemeDesignator) == (one.type.value, "SCT")
        sides = code.get("SegmentedPropertyTypeModifierCodeSequence", [])
        assert [side.CodeValue for side in sides] == ([one.modifier.value] if one.modifier else [])
        assert seen[value].RTROIInterpretedType == ("" if value == TUMOR else "ORGAN")
    assert ALGORITHM.sha256 in data.StructureSetDescription
    assert data.ApprovalStatus == "UNAPPROVED"


def test_references_to_source_series_and_frames(scan: MadeScan, tmp_path: Path):
    data = write(scan, tmp_path / "a.dcm")
    (frame_of_reference,) = data.ReferencedFrameOfReferenceSequence
    (study,) = frame_of_reference.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert study.ReferencedSOPInstanceUID == data.StudyInstanceUID == scan.source.study_uid
    assert series.SeriesInstanceUID == scan.source.series_uid
    (image,) = series.ContourImageSequence  # one multi-frame file
    assert image.ReferencedSOPInstanceUID == scan.source.frames[0].sop_instance_uid
    numbers = {
        contour.ContourImageSequence[0].ReferencedFrameNumber
        for roi in data.ROIContourSequence
        for contour in roi.ContourSequence
    }
    assert numbers <= set(range(1, len(scan.source.frames) + 1)) and len(numbers) > 10


def test_decimal_strings_fit_and_contours_are_no_lines(scan: MadeScan, tmp_path: Path):
    centre = np.array([-91234.5, 98765.4, -90000.1])
    far = make_slices(
        Geometry("oblique", centre=centre), lambda x, y, z: np.where(x > centre[0], 40, -1000)
    )
    write_series(tmp_path / "in", far)
    away = read_scan(tmp_path / "in", far)
    for one in (scan, with_labels(away, away.labels)):
        write(one, tmp_path / "a.dcm")
        data = dcmread(tmp_path / "a.dcm")
        for roi in data.ROIContourSequence:
            for contour in roi.get("ContourSequence", []):
                text = contour.get_item("ContourData").value.decode().rstrip()
                numbers = text.split("\\")
                assert len(numbers) == 3 * contour.NumberOfContourPoints >= 9
                assert max(map(len, numbers)) <= 16
                assert "-0.000" not in numbers


def test_a_contour_longer_than_an_explicit_length(tmp_path: Path):
    """Contour Data of more than 64 KiB: a comb with rough teeth."""
    slices = of_volume(np.zeros((8, 64, 256)) - 1000, (4.0, 1.0, 1.0), (-128, -128, 0))
    slices[0].hu[30:, 100:] = 40
    write_series(tmp_path / "in", slices)
    scan = read_scan(tmp_path / "in", slices)
    labels = np.zeros(scan.labels.shape, np.uint8)
    labels[3, :, 0] = labels[3, ::4] = labels[3, 1::4, ::2] = 1
    scan = with_labels(scan, labels)
    data = write(scan, tmp_path / "a.dcm")
    (contour,) = data.ROIContourSequence[0].ContourSequence
    assert len(contour.get_item("ContourData").value) > 1 << 16
    np.testing.assert_array_equal(rasterised(tmp_path / "a.dcm", scan.source), scan.on_frames)


def test_absent_structures_are_left_out_unless_all_are(scan: MadeScan, tmp_path: Path):
    liver = with_labels(scan, scan.labels == 1)
    data = write(liver, tmp_path / "a.dcm")
    assert [roi.ROIName for roi in data.StructureSetROISequence] == ["liver"]
    data = write(with_labels(scan, scan.labels * 0), tmp_path / "b.dcm")
    assert len(data.StructureSetROISequence) == len(STRUCTURES)
    assert not any("ContourSequence" in roi for roi in data.ROIContourSequence)
    for name in ("a.dcm", "b.dcm"):
        assert dciodvfy(tmp_path / name) == []


def test_a_second_run_writes_the_same_file(scan: MadeScan, tmp_path: Path):
    for name in ("a.dcm", "b.dcm"):
        write(scan, tmp_path / name)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    other = write(scan, tmp_path / "c.dcm", Algorithm("f" * 64, "MANUAL", "a person"))
    assert other.SOPInstanceUID != dcmread(tmp_path / "a.dcm").SOPInstanceUID
    assert other.StructureSetROISequence[0].ROIGenerationAlgorithm == "MANUAL"


def test_doubts_are_said_where_a_reader_sees_them(scan: MadeScan, tmp_path: Path):
    """Each with its ROI; of an organ that has none, and of the whole scan, with the set."""
    words = {value: f"doubtful, score 0.{value:02}: odd" for value in ORGANS}
    labels = np.where(scan.labels == 3, 0, scan.labels)
    path = tmp_path / "a.dcm"
    write_structure_set(path, labels, scan.source, ALGORITHM, Remarks(words, ("askew", "odder")))
    data = dcmread(path)
    rois = {int(r.ROINumber): r.get("ROIDescription") for r in data.StructureSetROISequence}
    seen = {
        int(o.ReferencedROINumber): o.get("ROIObservationDescription")
        for o in data.RTROIObservationsSequence
    }
    assert rois == seen == {v: words.get(v) for v in STRUCTURES if v != 3}
    assert rois[TUMOR] is None
    assert ALGORITHM.sha256 in data.StructureSetDescription
    expected = "askew; odder; spleen doubtful, score 0.03: odd"
    assert data.StructureSetDescription.endswith(f". Doubts: {expected}")
    assert data.SeriesDescription.endswith("; doubtful: scan, 13 organs")
    assert len(data.SeriesDescription) <= 64  # LO
    assert dciodvfy(path) == []


def test_doubts_are_no_longer_than_dicom_allows(scan: MadeScan, tmp_path: Path):
    remarks = Remarks({1: "w" * 2000}, ("v" * 2000,))
    write_structure_set(tmp_path / "a.dcm", scan.labels, scan.source, ALGORITHM, remarks)
    data = dcmread(tmp_path / "a.dcm")
    said = [r.ROIDescription for r in data.StructureSetROISequence if "ROIDescription" in r]
    assert said == ["w" * 1021 + "..."]  # ST
    assert len(data.StructureSetDescription) == 1024
    assert data.StructureSetDescription.endswith("v...")
    assert ALGORITHM.sha256 in data.StructureSetDescription
    plain = write(scan, tmp_path / "b.dcm")
    assert "oubt" not in plain.StructureSetDescription + plain.SeriesDescription
    assert plain.SOPInstanceUID == data.SOPInstanceUID


def test_a_seg_and_a_structure_set_stand_side_by_side(scan: MadeScan, tmp_path: Path):
    data = write(scan, tmp_path / "a.dcm")
    write_segmentation(tmp_path / "b.dcm", scan.labels, scan.source, ALGORITHM)
    seg = dcmread(tmp_path / "b.dcm")
    assert seg.SeriesInstanceUID != data.SeriesInstanceUID
    assert seg.SOPInstanceUID != data.SOPInstanceUID
    assert seg.StudyInstanceUID == data.StudyInstanceUID
    assert seg.FrameOfReferenceUID == data.FrameOfReferenceUID


PERSONAL = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
            "StudyID", "AccessionNumber", "ReferringPhysicianName")  # fmt: skip


def strip(ds: Dataset, _: int) -> None:
    for keyword in PERSONAL:
        del ds[keyword]


def test_an_anonymised_source_is_accepted(tmp_path: Path):
    slices = make_slices(Geometry())
    write_series(tmp_path / "in", slices, change=strip)
    write(read_scan(tmp_path / "in", slices), tmp_path / "a.dcm")
    assert dciodvfy(tmp_path / "a.dcm") == []


def test_plastimatch_reads_the_same_labels(tmp_path: Path):
    """Holes, islands and pixels at the rim, by a planning system's own filling of polygons."""
    scan = make_scan(tmp_path / "in", "head first supine", "even")
    write(scan, tmp_path / "a.dcm")
    read = by_plastimatch(tmp_path / "a.dcm", scan.folder, tmp_path / "out")
    assert len(read) == len(STRUCTURES)
    for value, one in STRUCTURES.items():
        mask = read[one.name]
        np.testing.assert_allclose(mask.GetOrigin(), scan.volume.grid.origin, atol=1e-3)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mask) > 0, scan.labels == value)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"), [("cptac_pda_c3n_00249", STRUCTURES), ("tcga_ov_2043", (5, 7, 8, 12))]
)
def test_real_organs_at_1_mm_pixels(
    shared_data: Path, tmp_path: Path, name: str, values: Collection[int]
):
    """The areas between pixel centres, too: contours filled on another raster than the scan's."""
    labels, grid = read_labels(shared_data / f"pseudo_labels/hk/{name}.nii.gz")
    labels = np.where(np.isin(labels, list(values)), labels, 0).astype(np.uint8)
    scan = real_scan(tmp_path / "in", labels, grid)
    data = write(scan, tmp_path / "a.dcm")
    np.testing.assert_array_equal(rasterised(tmp_path / "a.dcm", scan.source), scan.on_frames)
    size = int(511 * grid.spacing[1])
    at = np.rint(np.arange(size) / grid.spacing[1]).astype(int)  # the nearest pixel of each
    found = {}
    for roi in data.ROIContourSequence:
        value = int(roi.ReferencedROINumber)
        drawn, expected = [], []
        for contour in roi.ContourSequence:
            uid = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
            k = [frame.sop_instance_uid for frame in scan.source.frames].index(uid)
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            across = points[:, [1, 0]] - np.array(grid.origin)[[1, 0]]  # mm from the first centre
            drawn.append((k, fill(across, (size, size))))
        for k in sorted({k for k, _ in drawn}):
            together = np.logical_or.reduce([mask for n, mask in drawn if n == k])
            plane = scan.on_frames[k][np.ix_(at, at)] == value
            expected.append((together, plane))
        pairs = [np.concatenate([p[i].ravel() for p in expected]) for i in (0, 1)]
        found[STRUCTURES[value].name] = dice(*pairs)
    # Thin glands, too; what is left is where a centre lies on an edge, rounded either way.
    assert min(found.values()) > 0.999, found


def real_scan(folder: Path, labels: np.ndarray, grid: Grid) -> MadeScan:
    hu = np.where(labels > 0, 60, -1000)
    slices = of_volume(hu, grid.spacing, grid.origin)
    write_series(folder, slices)
    return read_scan(folder, slices, labels)
