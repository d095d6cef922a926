"""What a compressed frame claims of itself, checked before a decoder believes it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from ...errors import HeaderError
from .files import AGAIN

_PIXEL_DATA = 0x7FE00010


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file stores its pixels (PS3.5, 8.1). All checked."""

    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool
    frames: int

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.allocated // 8


def check_size(codestream: bytes, layout: Layout) -> None:
    """Refuse a codestream of another size than the header's, before memory is taken for it.

    JPEG and JPEG-LS state it in their frame header (SOF), JPEG 2000 in SIZ.
    """
    size = _jpeg2000_size(codestream) or _jpeg_size(codestream)
    if size is None:
        raise HeaderError("holds a frame that is no JPEG", AGAIN)
    if size != (layout.rows, layout.columns):
        raise HeaderError(
            f"holds a frame of {size[1]} x {size[0]} pixels where its header says "
            f"{layout.columns} x {layout.rows}",
            AGAIN,
        )


def _jpeg2000_size(codestream: bytes) -> tuple[int, int] | None:
    start = codestream[:4096].find(b"\xff\x4f\xff\x51")
    if start < 0 or len(codestream) < start + 24:
        return None
    right, bottom, left, top = (
        int.from_bytes(codestream[start + 8 + 4 * i : start + 12 + 4 * i]) for i in range(4)
    )
    return bottom - top, right - left


def _jpeg_size(codestream: bytes) -> tuple[int, int] | None:
    at = 2
    while codestream[:2] == b"\xff\xd8" and at + 9 <= len(codestream) and codestream[at] == 0xFF:
        marker = codestream[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return (
                int.from_bytes(codestream[at + 5 : at + 7]),
                int.from_bytes(codestream[at + 7 : at + 9]),
            )
        at += 2 + int.from_bytes(codestream[at + 2 : at + 4])
    return None


def wrapped(codestream: bytes, layout: Layout, syntax: str) -> bytes:
    """A data set that holds nothing but one frame."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("2.25.1")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = layout.rows, layout.columns
    dataset.BitsAllocated, dataset.BitsStored = layout.allocated, layout.stored
    dataset.HighBit, dataset.PixelRepresentation = layout.stored - 1, int(layout.signed)
    dataset.file_meta = meta
    dataset.add_new(_PIXEL_DATA, "OB", encapsulate([codestream]))
    dataset[_PIXEL_DATA].is_undefined_length = True
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def masked(pixels: npt.NDArray[Any], layout: Layout) -> npt.NDArray[Any]:
    """The lowest stored bits with the header's sign, which codestreams do not carry reliably."""
    kind = f"{'i' if layout.signed else 'u'}{layout.allocated // 8}"
    same = pixels.astype(f"u{layout.allocated // 8}").view(kind)
    unused = layout.allocated - layout.stored
    return same if unused == 0 else (same << unused) >> unused
