"""The formats of labels, by name, and the files that they make. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..errors import ScanError

SUFFIXES: dict[str, str] = {
    "nifti": ".nii.gz",
    "dicom-seg": ".seg.dcm",
    "rtstruct": ".rtstruct.dcm",
    "seg-nrrd": ".seg.nrrd",
}
# These refer to the slices of a DICOM series, and cannot be without one.
DICOM_ONLY = ("dicom-seg", "rtstruct")
SegType = Literal["labelmap", "binary"]
SEG_TYPES: tuple[SegType, ...] = ("labelmap", "binary")


def formats_of(asked: Sequence[str] | None, dicom: bool) -> tuple[str, ...]:
    """The formats of a scan: those asked for, else NIfTI, and a SEG if it is a DICOM series."""
    if asked is None:
        return ("nifti", "dicom-seg") if dicom else ("nifti",)
    return tuple(name for name in SUFFIXES if name in asked)


def files_of(folder: Path, name: str, formats: Sequence[str]) -> dict[str, Path]:
    """Where the labels of the case ``name`` go, by format."""
    return {one: folder / f"{name}{SUFFIXES[one]}" for one in formats}


def check_formats(scan: Path, formats: Sequence[str], dicom: bool) -> None:
    """Refuse what refers to DICOM slices for a scan that has none. Raises ScanError."""
    lacking = [] if dicom else [name for name in formats if name in DICOM_ONLY]
    if lacking:
        raise ScanError(
            scan,
            f"is no DICOM series, to whose slices {' and '.join(lacking)} could refer",
            "give the series, or ask for nifti or seg-nrrd",
        )
