"""Which slices form a stack: the series of a tree, passes told apart, and what is left out and why.

DICOM promises little here: a series may hold several passes, reconstructions and orientations, a
localizer among its slices, or lie in several folders, and anonymisers empty its UID.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import HeaderError
from .candidates import Candidates
from .headers import Header, Unsuited, read_headers
from .passes import FEWEST_SLICES, along_normal, axes_of, passes, ranks

# Within a series: what rounding of decimal strings leaves of one orientation, one spacing.
_SAME_COSINE, _SAME_SPACING = 0.002, 0.001
_LONGEST_NAME = 150


@dataclass(frozen=True, slots=True)
class Series:
    """The slices of one stack, in no order: one case.

    Attributes:
        name: of the case; never the patient's.
        place: the folder, file or .zip that it lies in.
        headers: its slices; several may lie at one place.
        notes: what is odd about its files, in words.
    """

    name: str
    place: Path
    headers: tuple[Header, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """DICOM files, or frames of them, that are no part of any case, and why."""

    source: str
    reason: str
    images: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Slices of a stack before it has a name; ``number`` tells the passes of a series apart."""

    headers: tuple[Header, ...]
    number: int = 0

    @property
    def folders(self) -> set[Path]:
        return {header.frame.file.folder for header in self.headers}

    @property
    def label(self) -> str:
        """Series number and the last part of its UID, each made safe for a file's name."""
        first = self.headers[0]
        parts = (first.series_number, first.series_uid.rpartition(".")[2])
        text = "_".join(filter(None, (re.sub(r"[^0-9A-Za-z]", "", part)[:32] for part in parts)))
        return (text or "series") + (f"_{self.number}" if self.number else "")


def find_series(
    found: Candidates, root: Path, taken: Iterable[str] = ()
) -> tuple[list[Series], list[LeftOut]]:
    """The CT stacks among files, by name, and what else is there.

    Args:
        found: the files.
        root: what was named as the input; a stack that lies right there is named after it.
        taken: names that other scans have.
    """
    headers, left_out, broken = _read(found)
    groups: list[_Group] = []
    for slices in _grouped(headers):
        found_passes = passes(slices)
        groups += [
            _Group(tuple(one), number if len(found_passes) > 1 else 0)
            for number, one in enumerate(found_passes, 1)
        ]
    kept = []
    for group in groups:
        if reason := _unfit(group, groups):
            left_out.append(LeftOut(_place(group) + group.label, reason, len(group.headers)))
        else:
            kept.append(group)
    names = _names(kept, root, set(taken))
    series = [_series(group, name, root, broken) for group, name in zip(kept, names, strict=True)]
    return sorted(series, key=lambda s: s.name), sorted(left_out, key=lambda out: out.source)


def _read(found: Candidates) -> tuple[list[Header], list[LeftOut], Counter[Path]]:
    """All slices; what is left out; and in which folders how many files cannot be read."""
    headers: list[Header] = []
    reasons: Counter[tuple[str, str]] = Counter()
    bad = [(file, cause) for file, cause in found.broken]
    for file in found.files:
        try:
            images = read_headers(file)
        except (HeaderError, OSError) as error:
            what = error.strerror if isinstance(error, OSError) and error.strerror else error
            bad.append((file, str(what)))
            continue
        for image in images:
            if isinstance(image, Unsuited):
                reasons[str(file.folder), image.reason] += 1
            else:
                headers.append(image)
    dicom = {file.folder for file in found.files}
    # An empty file elsewhere is nobody's slice.
    bad = [(f, c) for f, c in bad if f.folder in dicom or str(f).lower().endswith((".dcm", ".zip"))]
    left = [LeftOut(str(path), reason, 1) for path, reason in found.left_out]
    left += [LeftOut(place, reason, count) for (place, reason), count in reasons.items()]
    left += [LeftOut(str(file), cause, 1) for file, cause in bad]
    return headers, left, Counter(file.folder for file, _ in bad)


def _grouped(headers: list[Header]) -> list[list[Header]]:
    """Slices by series, size, frame of reference, and (rounded) orientation and spacing."""
    exact: dict[tuple[object, ...], list[Header]] = {}
    for header in headers:
        frame = header.frame
        # Without a UID, a folder is all that holds a series together; and whatever anonymisers
        # have done to UIDs, the slices of two patients never meet.
        series = header.series_uid or str(frame.file.folder)
        about = (header.patient, header.study_uid, series, header.series_number)
        size = (header.frame_of_reference_uid, frame.rows, frame.columns)
        exact.setdefault((*about, *size, frame.orientation, frame.pixel_spacing), []).append(header)
    merged: dict[tuple[object, ...], list[list[Header]]] = {}
    for key, slices in exact.items():
        groups = merged.setdefault(key[:-2], [])
        near = next((group for group in groups if _alike(group[0], slices[0])), None)
        if near is None:
            groups.append(slices)
        else:
            near += slices
    return [group for groups in merged.values() for group in groups]


def _alike(one: Header, other: Header) -> bool:
    a, b = one.frame, other.frame
    turned = max(abs(p - q) for p, q in zip(a.orientation, b.orientation, strict=True))
    scaled = max(
        abs(p - q) / max(abs(p), 1e-9)
        for p, q in zip(a.pixel_spacing, b.pixel_spacing, strict=True)
    )
    return turned <= _SAME_COSINE and scaled <= _SAME_SPACING


def _unfit(group: _Group, groups: list[_Group]) -> str:
    """Why a group is no case, or nothing."""
    try:
        count = int(ranks(along_normal(group.headers)).max()) + 1
    except HeaderError:
        count = len(group.headers)
    if count < FEWEST_SLICES:
        return f"fewer than {FEWEST_SLICES} slices ({count})"
    if not _is_axial(group) and any(_made_from(group, other) for other in groups):
        return "not axial, and there is an axial series of the same acquisition"
    return ""


def _is_axial(group: _Group) -> bool:
    try:
        normal = axes_of(group.headers[0])[2]
    except HeaderError:
        return True
    return bool(np.abs(normal).argmax() == 2)


def _made_from(group: _Group, other: _Group) -> bool:
    one, two = group.headers[0], other.headers[0]
    known = one.frame_of_reference_uid or one.study_uid
    acquisitions = {one.acquisition, two.acquisition} - {""}
    return (
        bool(known)
        and len(other.headers) >= FEWEST_SLICES
        and _is_axial(other)
        and one.patient == two.patient
        and one.study_uid == two.study_uid
        and one.frame_of_reference_uid == two.frame_of_reference_uid
        and len(acquisitions) <= 1
    )


def _place(group: _Group) -> str:
    folder = sorted(group.folders)[0]
    return f"{folder}: series "


def _names(groups: list[_Group], root: Path, taken: set[str]) -> list[str]:
    """A name for each: its folder's where that is its alone, else its own numbers."""
    by_folder = Counter(folder for group in groups for folder in group.folders)
    wanted = [_folder_name(group, root, by_folder) for group in groups]
    count = Counter(wanted)
    names: list[str] = []
    used = set(taken)
    for name in wanted:
        names.append(name if name and count[name] == 1 and name not in taken else "")
        used.add(names[-1])
    for index in sorted(range(len(groups)), key=lambda i: str(groups[i].headers[0].frame.file)):
        if names[index]:
            continue
        label = name = groups[index].label
        number = 1
        while name in used:
            number += 1
            name = f"{label}-{number}"
        names[index] = name
        used.add(name)
    return names


def _folder_name(group: _Group, root: Path, by_folder: Counter[Path]) -> str:
    folders = group.folders
    if len(folders) > 1:
        return ""
    (folder,) = folders
    if by_folder[folder] > 1:
        return ""
    if folder == root.parent and not root.is_dir():  # a file that was named itself
        name = root.name
    else:
        name = folder.name or folder.resolve().name
    for suffix in (".dcm", ".zip", ".DCM", ".ZIP"):
        name = name.removesuffix(suffix)
    safe = re.sub(r"[\x00-\x1f\x7f/\\:]", "_", name)
    return "" if safe.startswith(".") or len(safe.encode()) > _LONGEST_NAME else safe


def _series(group: _Group, name: str, root: Path, broken: Counter[Path]) -> Series:
    count = sum(broken[folder] for folder in group.folders)
    notes = []
    if count:
        files = "1 file" if count == 1 else f"{count} files"
        notes.append(f"{files} beside it cannot be read: slices may be missing")
    folders = sorted(group.folders)
    place = folders[0] if len(folders) == 1 else root
    files_ = {header.frame.file for header in group.headers}
    if len(files_) == 1:
        place = Path(str(next(iter(files_))))
    return Series(name, place, group.headers, tuple(notes))
