"""Items that a SEG and an RTSTRUCT are both made of: texts, coded concepts, references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...labels import Code, Structure
from ..remarks import Remarks
from .source import DicomSource, SourceFrame

if TYPE_CHECKING:
    from pydicom import Dataset

DESCRIPTION = "abdobox: abdominal organs and tumors"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
# Characters that a value of these VRs may have (PS3.5, 6.2).
ST_LENGTH, LT_LENGTH = 1024, 10240


def shortened(text: str, length: int) -> str:
    """A text of at most ``length`` characters; one that was cut shows it."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def series_description(remarks: Remarks) -> str:
    """What lists of series show: at most 64 characters (LO)."""
    count = len(remarks.labels)
    organs = [f"{count} organ{'s' * (count > 1)}"] if count else []
    doubtful = ["scan"] * bool(remarks.scan) + organs
    return f"{DESCRIPTION}; doubtful: {', '.join(doubtful)}" if doubtful else DESCRIPTION


def code_item(code: Code) -> Dataset:
    """A coded concept as an item of a sequence (PS3.3, 8.8)."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme
    item.CodeMeaning = code.meaning
    return item


def add_side(item: Dataset, structure: Structure) -> None:
    """Give the item of a structure's type its side, where it has one."""
    if structure.modifier is not None:
        item.SegmentedPropertyTypeModifierCodeSequence = [code_item(structure.modifier)]


def reference(frame: SourceFrame, with_frame: bool) -> Dataset:
    """A reference to a source instance (PS3.3, 10.3), and to the frame in a multi-frame one."""
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = frame.sop_class_uid or CT_IMAGE
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    if with_frame:
        item.ReferencedFrameNumber = frame.frame + 1
    return item


def references(source: DicomSource) -> list[Dataset]:
    """References to all source instances, each once."""
    once = {frame.sop_instance_uid: frame for frame in source.frames}
    return [reference(frame, with_frame=False) for frame in once.values()]
