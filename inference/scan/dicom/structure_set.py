"""DICOM RT Structure Set (RTSTRUCT) of labels: contours on the source's own slices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import __version__
from ...labels import STRUCTURES, TUMOR
from ...types import Labels
from ..remarks import NO_REMARKS, Remarks
from .contours import Points, contours
from .derived import MANUFACTURER, Algorithm, Derivation, write_derived
from .items import (
    ST_LENGTH,
    add_side,
    code_item,
    reference,
    references,
    series_description,
    shortened,
)
from .source import DicomSource, SourceFrame

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset

_RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"  # retired, and what the standard names here
_CONTOUR_DATA = 0x30060050
_FIRST_SERIES = 8000


def write_structure_set(
    path: Path,
    labels_ZYX: Labels,
    source: DicomSource,
    algorithm: Algorithm,
    remarks: Remarks = NO_REMARKS,
) -> None:
    """Write labels as an RTSTRUCT (PS3.3, A.19). Appears whole or not at all.

    ROI number is label value. An ROI is there where its label is; of a scan without any, all are,
    without contours, since the standard asks for one. Pixel centres within the contours are the
    label's, exactly (:mod:`.contours`).

    Args:
        path: of the file.
        labels_ZYX: uint8 on ``source.grid``, in the volume's own axis order.
        source: the frames that the scan was made of.
        algorithm: what made the labels.
        remarks: why labels are doubted. The series' description says that some are, each ROI's
            and its observation's why, and the structure set's what is odd about the whole scan or
            doubted of an organ that is not there.

    Raises:
        OutputError: the source's first file cannot be read any more, or the file not be written.
        ValueError: labels of another shape, or values that are none.
    """

    def made(labels: Labels, whole: Derivation) -> Dataset:
        return structure_set(labels, whole, remarks)

    write_derived(path, labels_ZYX, source, algorithm, "RTSTRUCT", made)


def structure_set(labels: Labels, whole: Derivation, remarks: Remarks = NO_REMARKS) -> Dataset:
    """The RTSTRUCT of labels (n_frames, rows, columns) on the source's frames."""
    from pydicom import Dataset

    present = [value for value in STRUCTURES if (labels == value).any()] or list(STRUCTURES)
    result = _empty(whole)
    result.SeriesDescription = series_description(remarks)
    result.StructureSetDescription = shortened(_about(whole.algorithm, remarks, present), ST_LENGTH)
    rois, drawn, observed = [], [], []
    for value in present:
        roi = Dataset()
        roi.ROINumber = value
        roi.ReferencedFrameOfReferenceUID = whole.frame_of_reference_uid
        roi.ROIName = STRUCTURES[value].name
        roi.ROIGenerationAlgorithm = whole.algorithm.type
        observation = _observation(value)
        if words := shortened(remarks.labels.get(value, ""), ST_LENGTH):
            roi.ROIDescription = observation.ROIObservationDescription = words
        rois.append(roi)
        drawn.append(_contour_item(value, labels, whole.source))
        observed.append(observation)
    result.StructureSetROISequence = rois
    result.ROIContourSequence = drawn
    result.RTROIObservationsSequence = observed
    return result


def _empty(whole: Derivation) -> Dataset:
    """The data set without its structures."""
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian

    result = Dataset()
    result.file_meta = FileMetaDataset()
    # An explicit VR has 16 bits for the length of Contour Data, which may need more.
    result.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    whole.copy_patient_and_study(result)
    result.SOPClassUID, result.SOPInstanceUID = _RT_STRUCTURE_SET, whole.instance_uid
    result.SeriesInstanceUID, result.Modality = whole.series_uid, "RTSTRUCT"
    result.SeriesNumber = whole.series_number(_FIRST_SERIES)
    result.OperatorsName = None
    result.InstanceNumber = 1
    result.Manufacturer = result.ManufacturerModelName = MANUFACTURER
    result.SoftwareVersions = __version__
    result.DeviceSerialNumber = whole.algorithm.sha256[:16]
    result.FrameOfReferenceUID = whole.frame_of_reference_uid
    result.PositionReferenceIndicator = None
    result.StructureSetLabel = "ABDOBOX"
    result.StructureSetDate, result.StructureSetTime = whole.moment()
    result.ApprovalStatus = "UNAPPROVED"
    result.ReferencedFrameOfReferenceSequence = [_frame_of_reference(whole)]
    return result


def _about(algorithm: Algorithm, remarks: Remarks, present: list[int]) -> str:
    """Who made the labels, and what is doubted that no ROI can say."""
    parameters = ", ".join(f"{name} {value}" for name, value in algorithm.parameters.items())
    made_by = f"{algorithm.type.capitalize()}: {algorithm.name} {algorithm.version}, {parameters}"
    absent = [
        f"{STRUCTURES[value].name} {words}"
        for value, words in remarks.labels.items()
        if value not in present
    ]
    doubts = "; ".join((*remarks.scan, *absent))
    return f"{made_by}. Doubts: {doubts}" if doubts else made_by


def _frame_of_reference(whole: Derivation) -> Dataset:
    from pydicom import Dataset

    series = Dataset()
    series.SeriesInstanceUID = whole.source_series_uid
    series.ContourImageSequence = references(whole.source)
    study = Dataset()
    study.ReferencedSOPClassUID = _DETACHED_STUDY
    study.ReferencedSOPInstanceUID = whole.study_uid
    study.RTReferencedSeriesSequence = [series]
    item = Dataset()
    item.FrameOfReferenceUID = whole.frame_of_reference_uid
    item.RTReferencedStudySequence = [study]
    return item


def _contour_item(value: int, labels: Labels, source: DicomSource) -> Dataset:
    from pydicom import Dataset

    multi = source.multi_frame
    items = []
    for frame, rings in zip(source.frames, contours(labels == value), strict=True):
        for ring in rings:
            item = Dataset()
            item.ContourImageSequence = [reference(frame, multi)]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(ring)
            item[_CONTOUR_DATA] = _contour_data(ring, frame)
            items.append(item)
    result = Dataset()
    result.ReferencedROINumber = value
    result.ROIDisplayColor = list(STRUCTURES[value].rgb)
    if items:
        result.ContourSequence = items
    return result


def _contour_data(ring: Points, frame: SourceFrame) -> DataElement:
    """Contour Data (3006,0050): x, y, z of each point in mm, to a micrometre.

    As one text: pydicom would make an object of each of a million numbers.
    """
    from pydicom import DataElement

    along_row, down_column = np.array(frame.orientation).reshape(2, 3)
    between_rows, between_columns = frame.pixel_spacing
    millimetres = (
        np.array(frame.position)
        + np.outer(ring[:, 0] * between_rows, down_column)
        + np.outer(ring[:, 1] * between_columns, along_row)
    )
    numbers = tuple((np.round(millimetres, 3) + 0.0).ravel().tolist())
    text = "\\".join(["%.3f"] * len(numbers)) % numbers
    return DataElement(_CONTOUR_DATA, "DS", text, already_converted=True)


def _observation(value: int) -> Dataset:
    """What an ROI is (PS3.3, C.8.8.8). A tumor gets no type: whether it is a target is a
    physician's to say."""
    from pydicom import Dataset

    one = STRUCTURES[value]
    kind = code_item(one.type)
    add_side(kind, one)
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = value
    item.RTROIIdentificationCodeSequence = [kind]
    item.SegmentedPropertyCategoryCodeSequence = [code_item(one.category)]
    if one.region is not None:
        item.AnatomicRegionSequence = [code_item(one.region)]
    item.RTROIInterpretedType = "" if value == TUMOR else "ORGAN"
    item.ROIInterpreter = None
    return item
