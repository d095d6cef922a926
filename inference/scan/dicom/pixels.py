"""Pixels of DICOM slices as HU: decoded, unpadded, each by its own slope and intercept.

pydicom decodes what is native or RLE; the JPEG families go to GDCM (:mod:`.gdcm`).
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ...errors import HeaderError
from ...types import Image
from ..contents import hounsfield
from .codestream import Layout
from .files import AGAIN, DicomFile, parse, parsing
from .functional_groups import FunctionalGroups
from .gdcm import Gdcm

if TYPE_CHECKING:
    from pydicom import Dataset

AIR_HU = -1024
# Padding outside of these is no tissue, wherever it is; within, only where it fills a corner.
_TISSUE_HU = (-1000.0, 3000.0)
_PIXEL_DATA = 0x7FE00010
_OFFSETS = (0x7FE00001, 0x7FE00002)
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_TAGS = [
    0x00185100,  # PatientPosition
    0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011,
    0x00280100, 0x00280101, 0x00280102, 0x00280103, _PADDING, _PADDING_LIMIT,
    0x00281052, 0x00281053, 0x00281054, 0x00282110, 0x00283000,
    0x52009229, 0x52009230, *_OFFSETS,
]  # fmt: skip
_RLE = "1.2.840.10008.1.2.5"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
# JPEG baseline, extended, lossless (two), JPEG-LS (two), JPEG 2000 (two).
_BY_GDCM = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91)}
_LOSSY = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 81, 91)}
_LYING = {"P": "prone", "DL": "on the left side", "DR": "on the right side"}


def read_frames(
    file: DicomFile,
    numbers: list[int],
    rows: int,
    columns: int,
    notes: dict[str, None],
    gdcm: Gdcm,
) -> Iterator[tuple[int, Image]]:
    """Frames of a file as HU, (rows, columns), each with its number.

    Args:
        file: a single-frame or multi-frame image.
        numbers: of the frames, from 0 on, in growing order.
        rows, columns: what its header has said; another size is refused.
        notes: oddities are added as keys, each once.
        gdcm: decodes what is JPEG.

    Raises:
        HeaderError: it is truncated or corrupt, or not what its header says.
        OSError: it cannot be read any more.
    """
    with parsing(), file.open() as stream:
        dataset, _ = parse(stream, 0x7FE00007, _TAGS)
        layout = _layout(dataset)
        if (layout.rows, layout.columns) != (rows, columns) or numbers[-1] >= layout.frames:
            raise HeaderError("has changed since it was looked through", "run again")
        _odd(dataset, notes)
        for number, stored in _stored(stream, dataset, layout, numbers, gdcm):
            yield number, _as_hu(stored, dataset, number, notes)


def _layout(dataset: Dataset) -> Layout:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    allocated = int(dataset.BitsAllocated)
    stored = int(dataset.get("BitsStored") or allocated)
    high = dataset.get("HighBit")
    signed = int(dataset.get("PixelRepresentation") or 0)
    frames = int(dataset.get("NumberOfFrames") or 1)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    meaning = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2").strip()
    high = stored - 1 if high is None else int(high)
    if samples != 1 or meaning not in ("MONOCHROME1", "MONOCHROME2"):
        raise HeaderError(f"holds no grey values ({meaning[:16]})", "give a CT")
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or high != stored - 1:
        raise HeaderError(
            f"stores {stored} of {allocated} bits up to bit {high}, which is not read"
        )
    return Layout(rows, columns, allocated, stored, signed == 1, frames)


def _odd(dataset: Dataset, notes: dict[str, None]) -> None:
    """What is odd about the whole file."""
    lossy = str(dataset.get("LossyImageCompression") or "") == "01"
    if lossy or dataset.file_meta.get("TransferSyntaxUID") in _LOSSY:
        notes["the images were compressed with losses"] = None
    if str(dataset.get("PhotometricInterpretation")) == "MONOCHROME1":
        notes["the images are MONOCHROME1: the stored values are taken as they are"] = None
    position = str(dataset.get("PatientPosition") or "")
    if words := _LYING.get(position[2:]):
        notes[f"the patient lies {words} (PatientPosition {position})"] = None


def _stored(
    stream: BinaryIO, dataset: Dataset, layout: Layout, numbers: list[int], gdcm: Gdcm
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Stored values of frames, sign and unused bits put right. ``stream`` is at the pixels' tag."""
    from pydicom.uid import UID

    implicit, little = dataset.original_encoding
    vr, length = _element(stream, bool(implicit), bool(little))
    syntax = str(dataset.file_meta.get("TransferSyntaxUID") or "")
    if not syntax:
        syntax = _NATIVE[0 if implicit else 1 if little else 2]
    if length != 0xFFFFFFFF:
        if syntax not in _NATIVE:
            raise HeaderError(f"is {UID(syntax).name}, but its pixels are not in frames", AGAIN)
        begin = stream.tell()
        have = min(stream.seek(0, io.SEEK_END) - begin, length)
        stream.seek(begin)
        if have < layout.frame_bytes * layout.frames:
            wanted = layout.frame_bytes * layout.frames
            raise HeaderError(f"holds {have} of the {wanted} bytes of its pixels", AGAIN)
    elif syntax in _NATIVE:
        raise HeaderError(f"is {UID(syntax).name}, but its pixels are in frames", AGAIN)
    if syntax in _BY_GDCM:
        yield from _by_gdcm(stream, dataset, layout, numbers, syntax, gdcm)
    elif syntax in (*_NATIVE, _RLE):
        yield from _by_pydicom(stream, dataset, layout, numbers, syntax, vr)
    else:
        remedy = "export it uncompressed, or as JPEG lossless or JPEG 2000"
        raise HeaderError(f"is {UID(syntax).name}, which is not read", remedy)


def _element(stream: BinaryIO, implicit: bool, little: bool) -> tuple[str, int]:
    """VR and length of the pixels, whose value ``stream`` is left at."""
    order = "little" if little else "big"
    head = stream.read(8)
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)  # type: ignore[arg-type]
    if len(head) < 8 or tag != _PIXEL_DATA:
        raise HeaderError("holds no pixels" if len(head) < 8 else "holds no whole grey values")
    if implicit and head[4:6] not in (b"OW", b"OB"):
        return "OW", int.from_bytes(head[4:8], order)  # type: ignore[arg-type]
    return head[4:6].decode("latin-1"), int.from_bytes(stream.read(4), order)  # type: ignore[arg-type]


def _by_pydicom(
    stream: BinaryIO,
    dataset: Dataset,
    layout: Layout,
    numbers: list[int],
    syntax: str,
    vr: str,
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "number_of_frames": layout.frames,
        "pixel_keyword": "PixelData",
        "pixel_vr": vr,
        "transfer_syntax_uid": UID(syntax),
    }
    if offsets := _offsets(dataset):
        options["extended_offsets"] = offsets
    plugin = "pydicom" if syntax == _RLE else ""
    frames = get_decoder(syntax).iter_array(
        stream, indices=numbers, raw=True, decoding_plugin=plugin, **options
    )
    for number in numbers:
        stored, _ = next(frames)
        yield number, stored.astype(stored.dtype.newbyteorder("="), copy=False)


def _offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    table, lengths = (dataset.get_item(tag) if tag in dataset else None for tag in _OFFSETS)
    if table is None or lengths is None:
        return None
    return bytes(table.value or b""), bytes(lengths.value or b"")


def _by_gdcm(
    stream: BinaryIO,
    dataset: Dataset,
    layout: Layout,
    numbers: list[int],
    syntax: str,
    gdcm: Gdcm,
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    from pydicom.encaps import generate_frames

    wanted = set(numbers)
    frames = generate_frames(
        stream, number_of_frames=layout.frames, extended_offsets=_offsets(dataset)
    )
    for number, codestream in enumerate(frames):
        if number in wanted:
            yield number, gdcm(codestream, layout, syntax)
            wanted.discard(number)
            if not wanted:
                return
    raise HeaderError(f"holds no frame {min(wanted) + 1}", AGAIN)


def _as_hu(
    stored: npt.NDArray[Any], dataset: Dataset, number: int, notes: dict[str, None]
) -> Image:
    """HU of one frame, padding as air."""
    slope, intercept = _rescale(dataset, number, notes)
    hu = hounsfield(stored, slope, intercept)
    padded = _padded(stored, dataset, slope, intercept, notes)
    if padded is not None:
        hu = np.where(padded, hu.dtype.type(AIR_HU), hu)
    return hu


def _rescale(dataset: Dataset, number: int, notes: dict[str, None]) -> tuple[float, float]:
    """Slope and intercept of a frame. Raises HeaderError."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame:
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
        groups = FunctionalGroups(shared, per_frame[number])
        macro = "PixelValueTransformationSequence"
        slope, intercept, kind = (
            groups.text(macro, word) for word in ("RescaleSlope", "RescaleIntercept", "RescaleType")
        )
    else:
        slope, intercept, kind = (
            str(dataset.get(word) if dataset.get(word) is not None else "")
            for word in ("RescaleSlope", "RescaleIntercept", "RescaleType")
        )
    if "ModalityLUTSequence" in dataset:
        raise HeaderError("maps its values by a table", "export it with slope and intercept")
    if not slope or not intercept:
        notes["no rescale slope or intercept is stated: 1 and 0 are taken"] = None
    numbers = float(slope or 1), float(intercept or 0)
    if not all(map(math.isfinite, numbers)) or numbers[0] == 0:
        raise HeaderError(f"states a rescale slope of {numbers[0]:g} and intercept {numbers[1]:g}")
    if kind.strip() not in ("", "HU"):
        notes[f"RescaleType is {kind.strip()[:16]}: the values may be no HU"] = None
    return numbers


def _padded(
    stored: npt.NDArray[Any],
    dataset: Dataset,
    slope: float,
    intercept: float,
    notes: dict[str, None],
) -> npt.NDArray[np.bool_] | None:
    """Where pixels are padding (PS3.3, C.7.5.1.1.2), or None where there is none."""
    values = [v for tag in (_PADDING, _PADDING_LIMIT) if (v := _value(dataset, tag, stored))]
    # An attribute of 0 is a value, too.
    bounds = [v[0] for v in values]
    if not bounds:
        return None
    mask = (stored >= min(bounds)) & (stored <= max(bounds))
    if not mask.any():
        return None
    hu = min(bounds) * slope + intercept, max(bounds) * slope + intercept
    low, high = _TISSUE_HU
    if max(hu) <= low or min(hu) >= high or mask[[0, 0, -1, -1], [0, -1, 0, -1]].any():
        return mask
    notes["the stated padding value is one of tissue: it is taken as tissue"] = None
    return None


def _value(dataset: Dataset, tag: int, stored: npt.NDArray[Any]) -> tuple[int] | None:
    """A US or SS value by the pixels' own sign, since writers mistake one for the other."""
    if tag not in dataset:
        return None
    element = dataset.get_item(tag)
    raw = getattr(element, "value", None)
    if not isinstance(raw, bytes) or len(raw) < 2:
        return None
    order = "little" if getattr(element, "is_little_endian", True) else "big"
    return (int.from_bytes(raw[:2], order, signed=stored.dtype.kind == "i"),)  # type: ignore[arg-type]
