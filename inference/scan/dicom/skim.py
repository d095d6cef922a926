"""The few values that tell a slice's place, straight from a header's first bytes (PS3.5, 7.1).

A study has thousands of files and pydicom takes a millisecond or two for each, most of it for
sequences that nobody asked for. What is usual is walked over here; for anything else there is None,
and pydicom decides. A test holds both equal, on mutated files too.
"""

from __future__ import annotations

from dataclasses import dataclass

SKIM_BYTES = 1 << 16
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
CLASS, INSTANCE, _SYNTAX = 0x00020002, 0x00020003, 0x00020010  # of the file meta information
_IMPLICIT, _EXPLICIT, _RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
_JPEG = "1.2.840.10008.1.2.4."
_DEEPEST = 16


class _UnusualError(Exception):
    """Something that pydicom is to decide about."""


@dataclass(frozen=True, slots=True)
class Skimmed:
    """Raw values by tag, little endian, and two UIDs of the file meta information."""

    values: dict[int, bytes]
    sop_class: str
    instance: str


def skim(start: bytes, wanted: frozenset[int], last: int) -> Skimmed | None:
    """The values of ``wanted`` tags up to ``last``, or None where the file is unusual.

    Args:
        start: the file's first bytes, the preamble included.
        wanted: tags.
        last: the data set is walked up to this tag; all of it must lie within ``start``.
    """
    if start[128:132] != b"DICM":
        return None
    try:
        meta, at = _walk(start, 132, True, frozenset((CLASS, INSTANCE, _SYNTAX)), 0x0002FFFF)
        syntax, sop_class, instance = (
            text_of(meta.get(tag, b"")) for tag in (_SYNTAX, CLASS, INSTANCE)
        )
        if syntax not in (_IMPLICIT, _EXPLICIT, _RLE) and not syntax.startswith(_JPEG):
            return None
        values, _ = _walk(start, at, syntax != _IMPLICIT, wanted, last)
    except _UnusualError:
        return None
    return Skimmed(values, sop_class, instance)


def text_of(raw: bytes) -> str:
    """A value as text; what pads it, of whatever VR, left out."""
    return raw.decode("ascii", "replace").strip(" \0\r\n\t")


def _walk(
    data: bytes, at: int, explicit: bool, wanted: frozenset[int], last: int
) -> tuple[dict[int, bytes], int]:
    """The wanted values up to the tag ``last``, and where the first tag beyond it begins."""
    values: dict[int, bytes] = {}
    before = 0
    while True:
        if _tag(data, at) > last:  # looked at alone: the data set may be implicit, unlike the meta
            return values, at
        tag, vr, length, value = _element(data, at, explicit)
        if tag <= before:  # twice, or out of order
            raise _UnusualError
        before = tag
        if length == _UNDEFINED:
            if vr not in (b"SQ", b""):
                raise _UnusualError
            at = _past_sequence(data, value, explicit, _DEEPEST)
            continue
        at = value + length
        if at > len(data):
            raise _UnusualError
        if tag in wanted:
            values[tag] = data[value:at]


def _element(data: bytes, at: int, explicit: bool) -> tuple[int, bytes, int, int]:
    """(tag, VR, length, where the value begins) of the element at ``at``."""
    head = data[at : at + 12]
    if len(head) < 12:
        raise _UnusualError
    tag = _tag(data, at)
    vr = head[4:6]
    if not explicit:
        if vr in _LONG or vr in _SHORT:  # it may be explicit in truth
            raise _UnusualError
        return tag, b"", int.from_bytes(head[4:8], "little"), at + 8
    if vr in _SHORT:
        return tag, vr, int.from_bytes(head[6:8], "little"), at + 8
    if vr in _LONG:
        return tag, vr, int.from_bytes(head[8:12], "little"), at + 12
    raise _UnusualError


def _past_sequence(data: bytes, at: int, explicit: bool, depth: int) -> int:
    """Where what follows a sequence of undefined length begins."""
    if not depth:
        raise _UnusualError
    while True:
        tag, length = _delimiter(data, at)
        at += 8
        if tag == _SEQUENCE_END and length == 0:
            return at
        if tag != _ITEM:
            raise _UnusualError
        if length != _UNDEFINED:
            at += length
            continue
        while _delimiter(data, at) != (_ITEM_END, 0):
            tag, vr, length, value = _element(data, at, explicit)
            if tag >> 16 == 0xFFFE or (length == _UNDEFINED and vr not in (b"SQ", b"")):
                raise _UnusualError
            at = (
                _past_sequence(data, value, explicit, depth - 1)
                if length == _UNDEFINED
                else value + length
            )
        at += 8


def _delimiter(data: bytes, at: int) -> tuple[int, int]:
    head = data[at : at + 8]
    if len(head) < 8:
        raise _UnusualError
    return _tag(data, at), int.from_bytes(head[4:8], "little")


def _tag(data: bytes, at: int) -> int:
    head = data[at : at + 4]
    if len(head) < 4:
        raise _UnusualError
    return int.from_bytes(head[:2], "little") << 16 | int.from_bytes(head[2:4], "little")
