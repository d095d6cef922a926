"""What is read of a header the quick way, against pydicom."""

from __future__ import annotations

from inference.errors import HeaderError
from inference.scan.dicom import headers
from inference.scan.dicom.files import DicomFile


def check_skimmed(file: DicomFile) -> None:
    """What is read the quick way is what pydicom reads."""
    skimmed = headers._quickly(file)
    if skimmed is None:
        return
    try:
        stated = headers.by_pydicom(file)
    except HeaderError:  # it stumbles over what is of no interest here, a character set for one
        return
    for name in headers._TAGS:
        assert skimmed.text(name) == stated.text(name), name
        assert skimmed.integer(name) == stated.integer(name), name
    assert skimmed.meta_class == stated.meta_class
    assert skimmed.meta_instance == stated.meta_instance
