"""What a SEG and an RTSTRUCT have in common: whose they are, what they come from, who made them."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ... import __version__
from ...errors import HeaderError, OutputError
from ...labels import STRUCTURES
from ...types import Labels
from ..atomic import write_atomically
from .source import DicomSource

if TYPE_CHECKING:
    from pydicom import Dataset

AlgorithmType = Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]  # PS3.3, C.8.20.2

MANUFACTURER = "abdobox"
# Patient, General Study, Patient Study, Clinical Trial Subject and Study (PS3.3, C.7.1 and C.7.2):
# what a viewer files the result by. All are texts, whose bytes are the same in every transfer
# syntax. Comments and the like stay with the scan.
_PATIENT_AND_STUDY = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate",
    "PatientSex", "EthnicGroup", "PatientIdentityRemoved", "DeidentificationMethod",
    "DeidentificationMethodCodeSequence", "StudyDate", "StudyTime", "AccessionNumber", "StudyID",
    "StudyDescription", "ReferringPhysicianName", "PatientAge", "PatientSize", "PatientWeight",
    "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription", "LongitudinalTemporalInformationModified",
)  # fmt: skip
# Type 2: to be there, empty if need be.
_NEEDED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "AccessionNumber", "StudyID", "ReferringPhysicianName",
)  # fmt: skip
_DATES = ("Content", "Acquisition", "Series", "Study")


@dataclass(frozen=True)
class Algorithm:
    """Who made the labels: DICOM's algorithm identification (PS3.3, 10.16).

    Attributes:
        sha256: of the weights; of the labels where no weights of ours made them. What is written
            for the same scan with the same one has the same UIDs, and so replaces it.
        type: ``AUTOMATIC``, ``SEMIAUTOMATIC`` (a machine's labels, corrected) or ``MANUAL``.
        name, version: of the program.
        made_by: what ``sha256`` is of.
    """

    sha256: str
    type: AlgorithmType = "AUTOMATIC"
    name: str = MANUFACTURER
    version: str = __version__
    made_by: str = "weights"

    @property
    def parameters(self) -> dict[str, str]:
        """As DICOM's algorithm parameters have them."""
        return {f"{self.made_by} SHA-256": self.sha256}


@dataclass(frozen=True)
class Derivation:
    """A result on its way: its source, its algorithm, and all UIDs that follow from them.

    Attributes:
        kind: of the result, told apart in its UIDs: ``SEG LABELMAP``, ``SEG BINARY``, ``RTSTRUCT``.
        source: of the labels.
        header: of the source's first frame, without pixels.
        algorithm: that made the labels.
    """

    kind: str
    source: DicomSource
    header: Dataset
    algorithm: Algorithm

    @property
    def study_uid(self) -> str:
        """The source's study, or one made up from its instances where it names none."""
        return self.source.study_uid or self._uid("study", by_algorithm=False)

    @property
    def source_series_uid(self) -> str:
        """The source's series, or one made up."""
        return self.source.series_uid or self._uid("source series", by_algorithm=False)

    @property
    def frame_of_reference_uid(self) -> str:
        """The source's frame of reference, or one made up."""
        return self.source.frame_of_reference_uid or self._uid("frame", by_algorithm=False)

    @property
    def series_uid(self) -> str:
        """Of the result's series, which holds this result alone."""
        return self._uid("series")

    @property
    def instance_uid(self) -> str:
        """Of the result."""
        return self._uid("instance")

    def tracking_uid(self, label: int) -> str:
        """Of one structure in this result, whatever the format."""
        return self._uid(f"tracking {label}", by_kind=False)

    def dimension_uid(self) -> str:
        """Of the order of a SEG's frames."""
        return self._uid("dimensions")

    def _uid(self, part: str, by_algorithm: bool = True, by_kind: bool = True) -> str:
        """A UID by UUID (PS3.5, B.2), the same for the same source and algorithm."""
        source = self.source
        words = [part, *dict.fromkeys(frame.sop_instance_uid for frame in source.frames)]
        if source.multi_frame:
            # One file may hold two scans; and anonymisers give all slices of several one UID.
            words += [source.study_uid, source.series_uid]
            words += [f"{frame.frame} {frame.position}" for frame in source.frames]
        if by_algorithm:
            words += [self.kind if by_kind else "", self.algorithm.sha256]
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(words)).int}"

    def moment(self) -> tuple[str, str]:
        """Date and time of the scan's contents, for those of the result.

        A second run then writes the same file: one with another time under the same UIDs would be
        two. Today's where the source has lost its dates.
        """
        for what in _DATES:
            date, time = (str(self.header.get(f"{what}{part}") or "") for part in ("Date", "Time"))
            # Hours alone are a time, too (PS3.5, 6.2).
            for moment in ((date, time.partition(".")[0].ljust(6, "0")), (date, "000000")):
                if _is_moment(*moment):
                    return moment
        now = datetime.now()
        return now.strftime("%Y%m%d"), now.strftime("%H%M%S")

    def series_number(self, first: int) -> int:
        """``first`` plus the source's number, so that results stand beside their scans in order."""
        text = str(self.header.get("SeriesNumber") or "")
        return first + (int(text) % 1000 if text.isdecimal() else 0)

    def copy_patient_and_study(self, target: Dataset) -> None:
        """Give the result the source's patient and study, byte for byte."""
        for keyword in _PATIENT_AND_STUDY:
            # Empty where the standard wants something, or nothing: that is, where it is of no use.
            if self.header.get(keyword) or (keyword in _NEEDED and keyword in self.header):
                _copy(self.header, target, keyword)
        for keyword in _NEEDED:
            if keyword not in self.header:
                setattr(target, keyword, None)
        target.StudyInstanceUID = self.study_uid


def write_derived(
    path: Path,
    labels_ZYX: Labels,
    source: DicomSource,
    algorithm: Algorithm,
    kind: str,
    made: Callable[[Labels, Derivation], Dataset],
) -> None:
    """Write labels as a DICOM object, whole or not at all.

    Args:
        path: of the file.
        labels_ZYX: uint8 on ``source.grid``, in the volume's own axis order.
        source: the frames that the scan was made of.
        algorithm: what made the labels.
        kind: see :class:`Derivation`.
        made: makes the object of labels (n_frames, rows, columns) on the source's frames.

    Raises:
        OutputError: the source's first file cannot be read any more, or the file not be written.
        ValueError: labels of another shape than the scan's, or values that are none.
    """
    labels = source.labels_on_frames(labels_ZYX)
    if labels.size and int(labels.max()) > max(STRUCTURES):
        raise ValueError(f"holds the value {labels.max()}, which is no label")
    try:
        whole = Derivation(kind, source, source.header(), algorithm)
    except (HeaderError, OSError) as error:
        raise OutputError(
            path, f"cannot be written: its scan cannot be read any more ({error})", "run again"
        ) from error
    write_atomically(path, _encoded(made(labels, whole)))


def _encoded(dataset: Dataset) -> bytes:
    """A file of a data set, in its transfer syntax."""
    from pydicom import dcmwrite
    from pydicom.charset import convert_encodings
    from pydicom.filewriter import correct_ambiguous_vr

    implicit = dataset.file_meta.TransferSyntaxUID.is_implicit_VR
    correct_ambiguous_vr(dataset, True)
    # pydicom now takes elements that were copied as bytes for the target's own, and leaves them so.
    characters = dataset.get("SpecificCharacterSet") or "ISO_IR 6"
    dataset.set_original_encoding(implicit, True, convert_encodings(characters))
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _is_moment(date: str, time: str) -> bool:
    """Whether there is such a day and time: sources hold others, such as 00000000."""
    digits = date + time
    if (len(date), len(time)) != (8, 6) or not (digits.isascii() and digits.isdecimal()):
        return False
    try:
        datetime.strptime(digits, "%Y%m%d%H%M%S")
    except ValueError:
        return False
    return True


def _copy(source: Dataset, target: Dataset, keyword: str) -> None:
    """Copy an element as it is stored: what its makers put there is not ours to check."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.dataelem import RawDataElement

    tag = tag_for_keyword(keyword)
    assert tag is not None
    element: Any = source.get_item(tag)
    if isinstance(element, RawDataElement) and not keyword.endswith("Sequence"):
        target[tag] = element._replace(VR=element.VR or dictionary_VR(tag))
    else:
        target[tag] = source[tag]
