"""What the file meta information of a DICOM file says (PS3.10, 7.1): read without its data set."""

from __future__ import annotations

from pathlib import Path

from .box import DicomFile, HeaderError

_LAST = 0x0002FFFF


def class_and_instance(path: Path) -> tuple[str, str]:
    """SOP class and SOP instance UID; empty where it is no DICOM file. Raises FileNotFoundError."""
    try:
        meta = DicomFile(path).parse(_LAST).file_meta
    except FileNotFoundError:
        raise
    except (HeaderError, OSError, AttributeError):
        return "", ""
    sop_class = str(meta.get("MediaStorageSOPClassUID") or "")
    return sop_class, str(meta.get("MediaStorageSOPInstanceUID") or "")
