"""What a DICOM file says of its slices: enough to find the series in a tree, no pixels.

A study has thousands of files, so single-frame headers are read up to group 28 only, and their
values from the raw bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...errors import HeaderError
from .files import DicomFile, parsing
from .functional_groups import FunctionalGroups, numbers
from .skim import CLASS, INSTANCE, SKIM_BYTES, skim, text_of
from .source import Orientation6, SourceFrame

if TYPE_CHECKING:
    from pydicom import Dataset

CT, ENHANCED_CT, LEGACY_CT = (f"1.2.840.10008.5.1.4.1.1.2{part}" for part in ("", ".1", ".2"))
DICOMDIR = "1.2.840.10008.1.3.10"
# A CT that claims more frames is none; each would become an object.
_MOST_FRAMES = 16384

_TAGS = {
    "image type": 0x00080008,
    "class": 0x00080016,
    "instance": 0x00080018,
    "acquisition date": 0x00080022,
    "acquisition datetime": 0x0008002A,
    "acquisition time": 0x00080032,
    "modality": 0x00080060,
    "patient": 0x00100020,
    "thickness": 0x00180050,
    "kernel": 0x00181210,
    "study": 0x0020000D,
    "series": 0x0020000E,
    "series number": 0x00200011,
    "acquisition": 0x00200012,
    "position": 0x00200032,
    "orientation": 0x00200037,
    "frame of reference": 0x00200052,
    "temporal position": 0x00200100,
    "samples": 0x00280002,
    "frames": 0x00280008,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "spacing": 0x00280030,
}
_NAMED = list(_TAGS.values())
_LAST = max(_NAMED)
_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_FRAMED = [*_NAMED, _SHARED, _PER_FRAME]


@dataclass(frozen=True, slots=True)
class Header:
    """One slice with all that decides which stack it belongs to.

    Attributes:
        frame: the slice and its place.
        patient, study_uid, series_uid, frame_of_reference_uid, series_number: as stated, or empty.
        acquisition: Acquisition Number, or empty.
        time: when it was acquired, in a form that sorts, or empty.
        passes: what else tells one pass over the patient from another: temporal position, stack,
            convolution kernel, slice thickness.
    """

    frame: SourceFrame
    patient: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    series_number: str
    acquisition: str
    time: str
    passes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsuited:
    """A DICOM file, or some of its frames, that is no slice of a CT: ``reason`` says what it is."""

    reason: str


def read_headers(file: DicomFile) -> list[Header | Unsuited]:
    """The slices of a file, in its own order: one, or those of a multi-frame image.

    Raises:
        HeaderError: it cannot be parsed, or contradicts itself.
        OSError: it is missing or may not be read.
    """
    with parsing():
        return _read(file)


def _read(file: DicomFile) -> list[Header | Unsuited]:
    stated = _quickly(file) or by_pydicom(file)
    sop_class = stated.text("class") or stated.meta_class
    instance = stated.text("instance") or stated.meta_instance
    if reason := _unsuited(stated, sop_class):
        return [Unsuited(reason)]
    if sop_class in (ENHANCED_CT, LEGACY_CT):
        return _of_frames(file, file.parse(_PER_FRAME, _FRAMED), sop_class, instance)
    return [_of_single(file, stated, sop_class, instance)]


def _quickly(file: DicomFile) -> Stated | None:
    skimmed = skim(file.start(SKIM_BYTES), frozenset(_NAMED), _LAST)
    if skimmed is None:
        return None
    return Stated(skimmed.values, True, skimmed.sop_class, skimmed.instance)


def by_pydicom(file: DicomFile) -> Stated:
    """What a file states, whatever its form. Raises HeaderError, OSError."""
    dataset = file.parse(_LAST, _NAMED)
    meta = raw_values(dataset.file_meta, [CLASS, INSTANCE])
    return Stated(
        raw_values(dataset, _NAMED),
        bool(dataset.original_encoding[1]),
        text_of(meta.get(CLASS, b"")),
        text_of(meta.get(INSTANCE, b"")),
    )


def raw_values(dataset: Dataset, tags: list[int]) -> dict[int, bytes]:
    """The values of tags as bytes, those that have none left out."""
    elements: list[Any] = [dataset.get_item(tag) for tag in tags if tag in dataset]
    return {int(e.tag): e.value for e in elements if isinstance(e.value, bytes)}


def _of_single(file: DicomFile, stated: Stated, sop_class: str, instance: str) -> Header | Unsuited:
    """The one slice of a classic CT image (PS3.3, A.3)."""
    reason = ""
    if stated.integer("frames") not in (None, 1):
        reason = "it holds several frames, but does not state their places"
    if _is_localizer(stated.texts("image type")):
        reason = "localizer"
    position = numbers(stated.texts("position"), 3)
    orientation = numbers(stated.texts("orientation"), 6)
    spacing = numbers(stated.texts("spacing"), 2)
    rows, columns = stated.integer("rows"), stated.integer("columns")
    if position is None or orientation is None:
        return Unsuited(reason or "it does not state its place in the patient")
    if reason or spacing is None or not rows or not columns:
        return Unsuited(reason or "it does not state its pixels' size or number")
    frame = _frame(file, 0, sop_class, instance, position, orientation, spacing, rows, columns)
    passes = (stated.text("temporal position"), "", stated.text("kernel"), stated.text("thickness"))
    time = stated.text("acquisition datetime") or (
        stated.text("acquisition date") + stated.text("acquisition time")
    )
    return _header(stated, frame, stated.text("acquisition"), time, passes)


@dataclass(frozen=True, slots=True)
class Stated:
    """Raw values of a data set, and two UIDs of its file's meta information.

    Read by the names of ``_TAGS``; empty or None where there is no value.
    """

    values: dict[int, bytes]
    little: bool
    meta_class: str
    meta_instance: str

    def text(self, name: str) -> str:
        return text_of(self.values.get(_TAGS[name], b""))

    def texts(self, name: str) -> list[str]:
        return [part.strip() for part in self.text(name).split("\\")]

    def integer(self, name: str) -> int | None:
        """US by its two bytes, IS by its digits."""
        if name == "frames":
            text = self.text(name)
            return int(text) if text.isdecimal() and len(text) < 12 else (0 if text else None)
        raw = self.values.get(_TAGS[name], b"")
        order: Literal["little", "big"] = "little" if self.little else "big"
        return int.from_bytes(raw[:2], order) if len(raw) >= 2 else None


def _unsuited(stated: Stated, sop_class: str) -> str:
    """Why the whole file is no CT image, or nothing."""
    if sop_class == DICOMDIR:
        return "DICOMDIR, an index of other files"
    modality = stated.text("modality")
    if sop_class not in ("", CT, ENHANCED_CT, LEGACY_CT):
        from pydicom.uid import UID_dictionary  # type: ignore[attr-defined]

        known = UID_dictionary.get(sop_class)
        return f"no CT image but {known[0] if known else f'of class {sop_class[:64]}'}"
    if modality != "CT" and not (modality == "" and sop_class):
        return f"no CT image (modality {modality[:16] or 'unknown'})"
    if stated.integer("samples") not in (None, 1):
        return "screenshot or other picture in colour"
    if any(word.upper().replace(" ", "") == "SCREENSAVE" for word in stated.texts("image type")):
        return "screenshot"
    return ""


def _is_localizer(image_type: list[str]) -> bool:
    return any(word.upper() in ("LOCALIZER", "SCOUT", "TOPOGRAM") for word in image_type)


def _frame(
    file: DicomFile,
    number: int,
    sop_class: str,
    instance: str,
    position: tuple[float, ...],
    orientation: tuple[float, ...],
    spacing: tuple[float, ...],
    rows: int,
    columns: int,
) -> SourceFrame:
    x, y, z = position
    a, b, c, d, e, f = orientation
    six: Orientation6 = (a, b, c, d, e, f)
    return SourceFrame(
        file,
        number,
        sop_class,
        instance,
        (x, y, z),
        six,
        (spacing[0], spacing[1]),
        rows,
        columns,
    )


def _header(
    stated: Stated, frame: SourceFrame, acquisition: str, time: str, passes: tuple[str, ...]
) -> Header:
    return Header(
        frame,
        stated.text("patient"),
        stated.text("study"),
        stated.text("series"),
        stated.text("frame of reference"),
        stated.text("series number"),
        acquisition,
        time,
        passes,
    )


def _of_frames(
    file: DicomFile, dataset: Dataset, sop_class: str, instance: str
) -> list[Header | Unsuited]:
    """The frames of an Enhanced or Legacy Converted Enhanced CT image (PS3.3, C.7.6.16)."""
    little = bool(dataset.original_encoding[1])
    stated = Stated(raw_values(dataset, _NAMED), little, "", "")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    rows, columns, count = (stated.integer(name) for name in ("rows", "columns", "frames"))
    if len(per_frame) != count or count > _MOST_FRAMES:
        raise HeaderError(f"claims {count} frames and describes {len(per_frame)}")
    found: list[Header | Unsuited] = []
    for number, own in enumerate(per_frame):
        groups = FunctionalGroups(shared, own)
        if _is_localizer([str(v) for v in groups.values("CTImageFrameTypeSequence", "FrameType")]):
            found.append(Unsuited("localizer"))
            continue
        places = (
            groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
            groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
            groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        )
        position, orientation, spacing = places
        if position is None or orientation is None or spacing is None or not rows or not columns:
            found.append(Unsuited("it does not state its place in the patient"))
            continue
        frame = _frame(
            file, number, sop_class, instance, position, orientation, spacing, rows, columns
        )
        found.append(_header(stated, frame, *_passes_of(groups)))
    return found


def _passes_of(groups: FunctionalGroups) -> tuple[str, str, tuple[str, ...]]:
    """Acquisition number, time, and what else tells passes apart, of a frame."""
    content = "FrameContentSequence"
    reconstruction = "CTReconstructionSequence"
    return (
        groups.text(content, "FrameAcquisitionNumber"),
        groups.text(content, "FrameAcquisitionDateTime"),
        (
            groups.text(content, "TemporalPositionIndex"),
            groups.text(content, "StackID"),
            groups.text(reconstruction, "ConvolutionKernel"),
            groups.text("PixelMeasuresSequence", "SliceThickness"),
        ),
    )
