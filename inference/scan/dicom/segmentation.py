"""DICOM Segmentation (SEG) of labels, by highdicom: as a label map (Supplement 243) or binary."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import __version__
from ...labels import STRUCTURES
from ...types import Labels
from ..formats import SegType
from ..remarks import NO_REMARKS, Remarks
from .derived import MANUFACTURER, Algorithm, Derivation, write_derived
from .items import (
    CT_IMAGE,
    DESCRIPTION,
    LT_LENGTH,
    ST_LENGTH,
    add_side,
    reference,
    references,
    series_description,
    shortened,
)
from .run_lengths import rle_frame
from .source import DicomSource

if TYPE_CHECKING:
    from pydicom import Dataset

_FIRST_SERIES = 9000


def write_segmentation(
    path: Path,
    labels_ZYX: Labels,
    source: DicomSource,
    algorithm: Algorithm,
    seg_type: SegType = "labelmap",
    remarks: Remarks = NO_REMARKS,
) -> None:
    """Write labels as a SEG on the source's own frames. Appears whole or not at all.

    Segment number is label value; all 14 are described, absent ones too (PS3.3, C.8.20). A label
    map holds every frame, RLE Lossless; a binary SEG holds the frames where a segment is.

    Args:
        path: of the file.
        labels_ZYX: uint8 on ``source.grid``, in the volume's own axis order.
        source: the frames that the scan was made of.
        algorithm: what made the labels.
        seg_type: ``labelmap``, or ``binary`` for software older than Supplement 243 (2024).
        remarks: why labels are doubted. The series' description says that some are, each segment's
            why, and the image's comments what is odd about the whole scan.

    Raises:
        OutputError: the source's first file cannot be read any more, or the file not be written.
        ValueError: labels of another shape, or values that are none.
    """

    def made(labels: Labels, whole: Derivation) -> Dataset:
        return segmentation(labels, whole, seg_type, remarks)

    write_derived(path, labels_ZYX, source, algorithm, f"SEG {seg_type.upper()}", made)


def segmentation(
    labels: Labels, whole: Derivation, seg_type: SegType, remarks: Remarks = NO_REMARKS
) -> Dataset:
    """The SEG of labels (n_frames, rows, columns) on the source's frames."""
    from highdicom.seg import Segmentation
    from pydicom.uid import ExplicitVRLittleEndian

    labelmap = seg_type == "labelmap"
    images = _source_images(whole)
    if not labelmap and not labels.any():
        # highdicom would write every frame of every segment, all of them empty.
        labels, images = labels[:1], images[:1]
    date, time = whole.moment()
    seg = Segmentation(
        source_images=images,
        pixel_array=labels,
        segmentation_type=seg_type.upper(),
        segment_descriptions=[_description(value, whole) for value in STRUCTURES],
        series_instance_uid=whole.series_uid,
        series_number=whole.series_number(_FIRST_SERIES),
        sop_instance_uid=whole.instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=__version__,
        device_serial_number=whole.algorithm.sha256[:16],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=not labelmap,
        content_label="ABDOBOX",
        content_description=DESCRIPTION,
        series_description=series_description(remarks),
        content_date=date,
        content_time=time,
    )
    if labelmap:
        _compress(seg)
    _make_repeatable(seg, whole)
    seg.ContentCreatorName = None  # type 2, and left out by highdicom
    whole.copy_patient_and_study(seg)
    _refer(seg, whole)
    for item in seg.SegmentSequence:
        if words := remarks.labels.get(item.SegmentNumber):
            item.SegmentDescription = shortened(words, ST_LENGTH)
    if remarks.scan:
        seg.ImageComments = shortened("; ".join(remarks.scan), LT_LENGTH)
    return seg


def _compress(seg: Dataset) -> None:
    """RLE Lossless by our own encoder: 0.4 ms a frame, where highdicom's takes 5."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    shape = (int(seg.NumberOfFrames), seg.Rows, seg.Columns)
    frames = np.frombuffer(seg.PixelData, np.uint8, math.prod(shape)).reshape(shape)
    seg.PixelData = encapsulate([rle_frame(frame) for frame in frames])
    seg["PixelData"].is_undefined_length = True
    seg.file_meta.TransferSyntaxUID = RLELossless


def _source_images(whole: Derivation) -> list[Dataset]:
    """For each frame, the part of its data set that highdicom looks at, as a single-frame image.

    Patient and study come later, as they are: highdicom refuses sources that lack or bend them.
    """
    from pydicom import Dataset
    from pydicom.valuerep import DSfloat

    source, first = whole.source, whole.source.frames[0]
    common = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex",
                    "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):  # fmt: skip
        setattr(common, keyword, "")
    common.StudyInstanceUID = whole.study_uid
    common.SeriesInstanceUID = whole.source_series_uid
    common.FrameOfReferenceUID = whole.frame_of_reference_uid
    common.Modality = "CT"
    common.SOPClassUID = CT_IMAGE
    common.Rows, common.Columns = first.rows, first.columns
    common.ImageOrientationPatient = [DSfloat(v, auto_format=True) for v in first.orientation]
    common.PixelSpacing = [DSfloat(v, auto_format=True) for v in first.pixel_spacing]
    thickness = _positive(whole.header.get("SliceThickness")) or source.grid.spacing[0]
    common.SliceThickness = DSfloat(thickness, auto_format=True)
    for keyword in ("PositionReferenceIndicator", "LossyImageCompression",
                    "LossyImageCompressionRatio", "LossyImageCompressionMethod"):  # fmt: skip
        if whole.header.get(keyword):
            common[keyword] = whole.header[keyword]
    images, multi = [], source.multi_frame
    for number, frame in enumerate(source.frames, 1):
        image = Dataset()
        image.update(common)
        # An instance that is named once for each of its frames highdicom warns of; _refer names it.
        image.SOPInstanceUID = f"2.25.{number}" if multi else frame.sop_instance_uid
        image.ImagePositionPatient = [DSfloat(v, auto_format=True) for v in frame.position]
        images.append(image)
    return images


def _positive(value: Any) -> float | None:
    """A number as a source states it, which may be none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


def _description(value: int, whole: Derivation) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    one, algorithm = STRUCTURES[value], whole.algorithm
    identification = AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=codes.DCM.ArtificialIntelligence,
        version=algorithm.version,
        parameters=algorithm.parameters,
    )
    description = SegmentDescription(
        segment_number=value,
        segment_label=one.name,
        segmented_property_category=_concept(one.category),
        segmented_property_type=_concept(one.type),
        algorithm_type=algorithm.type,
        algorithm_identification=None if algorithm.type == "MANUAL" else identification,
        tracking_uid=whole.tracking_uid(value),
        tracking_id=f"{MANUFACTURER} {one.name}",
        anatomic_regions=None if one.region is None else [_concept(one.region)],
        display_color=CIELabColor.from_rgb(*one.rgb),
    )
    # highdicom has no argument for it.
    (item,) = description.SegmentedPropertyTypeCodeSequence
    add_side(item, one)
    return description


def _concept(code: Any) -> Any:
    from pydicom.sr.coding import Code

    return Code(code.value, code.scheme, code.meaning)


def _make_repeatable(seg: Dataset, whole: Derivation) -> None:
    """Replace what highdicom draws by chance or takes from the clock."""
    del seg.InstanceCreationDate, seg.InstanceCreationTime
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = whole.dimension_uid()
    for item in seg.ContributingEquipmentSequence:
        item.ContributionDateTime = "".join(whole.moment())


def _refer(seg: Dataset, whole: Derivation) -> None:
    """Refer to the source's instances, and from each frame to the frame of the same position."""
    from pydicom import Dataset

    source = whole.source
    instances = references(source)
    series = Dataset()
    series.SeriesInstanceUID = whole.source_series_uid
    series.ReferencedInstanceSequence = instances
    seg.ReferencedSeriesSequence, seg.SourceImageSequence = [series], instances
    positions = np.array([frame.position for frame in source.frames])
    multi = source.multi_frame
    for item in seg.PerFrameFunctionalGroupsSequence:
        position = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        nearest = int(np.abs(positions - position).sum(1).argmin())
        (derived,) = item.DerivationImageSequence
        (image,) = derived.SourceImageSequence
        for element in reference(source.frames[nearest], multi):
            image[element.tag] = element
