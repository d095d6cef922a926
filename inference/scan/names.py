"""What a file's name says: a scan, a format of scans that is not read, an nnU-Net channel.

Imports no NumPy: the command line answers wrong arguments without it.
"""

from __future__ import annotations

import os
import re

# As in inference.scan.volume, which would bring NumPy.
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# As DICOM files and archives of them are usually named; they are found by their contents.
DICOM_SUFFIXES = (".dcm", ".ima", ".zip")
_DETACHED = (".nhdr", ".mhd")
# The first input channel of an nnU-Net case, X_0000.nii.gz.
CHANNEL = "_0000"
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>[0-9]{4})", re.DOTALL)
# An image takes few channels; longer runs of numbers count patients.
_MOST_CHANNELS = 4
# Formats and containers of scans that are not read: Analyze and NIfTI pairs, FreeSurfer, MINC,
# GIPL, VTK, NumPy, and what other programs compress with.
_UNREAD = (
    *(".hdr", ".img", ".mgh", ".mgz", ".mnc", ".gipl", ".vtk", ".vti", ".npy", ".npz"),
    *(".gz", ".zst", ".bz2", ".xz", ".lz4", ".7z", ".rar", ".tar", ".tgz"),
)


def scan_stem(name: str) -> str | None:
    """``X`` of ``X.nii.gz``, in capitals or not; None for hidden files and those that are no scans.

    Longer than :func:`inference.many.cases.case_name`'s: ``_0000`` stays.
    """
    if name.startswith("."):
        return None
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] or None
    return None


def is_unread(name: str) -> bool:
    """Whether a name is of a format or container of scans that is not read."""
    return not name.startswith(".") and scan_stem(name) is None and name.lower().endswith(_UNREAD)


def unread_files(names: list[str]) -> list[str]:
    """Those of a folder's files that :func:`is_unread`, without the voxels of detached headers."""
    stems = tuple(
        f"{name[: name.rindex('.')]}." for name in names if name.lower().endswith(_DETACHED)
    )
    return [name for name in names if is_unread(name) and not name.startswith(stems)]


def channel_groups(stems: list[str]) -> dict[str, list[str]]:
    """Scans that may be the channels of one nnU-Net case, by its name and in their order.

    X_0001 may be one where there is X_0000, and no more than four of such numbers in a row. Without
    X_0000, or with more numbers, as in img_0000 to img_0199, they are cases of their own.

    Args:
        stems: of :func:`scan_stem`, of one folder.
    """
    numbers: dict[str, set[int]] = {}
    for stem in stems:
        if found := _CHANNEL.fullmatch(stem):
            numbers.setdefault(found["case"], set()).add(int(found["number"]))
    return {
        case: [f"{case}_{number:04}" for number in sorted(found_numbers)]
        for case, found_numbers in numbers.items()
        if 1 < len(found_numbers) <= _MOST_CHANNELS
        and found_numbers == set(range(len(found_numbers)))
    }


def is_utf8(name: str) -> bool:
    """Whether the bytes of a file's name are UTF-8, which text files and JSON are made of."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def shown(name: str) -> str:
    """A file's name that any text file takes: bytes that are no UTF-8 are written out (``\\xf8``).

    Names read in the C locale, where Python takes every other letter for such a byte, come out as
    they are.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def counted(names: list[str], what: str, shown: int = 3) -> str:
    """``2 files (a.hdr, a.img)``: how many, and the first few of them."""
    more = ", ..." if len(names) > shown else ""
    plural = what if len(names) == 1 else f"{what}s"
    return f"{len(names)} {plural} ({', '.join(names[:shown])}{more})"
