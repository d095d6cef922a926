"""The scans and label maps of folders, by name, and what lies there and is neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inference.scan.channels import further_channels
from inference.scan.names import (
    CHANNEL,
    counted,
    is_utf8,
    scan_stem,
    shown,
    unread_files,
)

SUFFIXES = (".nii.gz", ".nii")


@dataclass
class Listing:
    """NIfTI files by the name of their case.

    Attributes:
        files: name -> file.
        rejected: name -> why it has none: two files of one name, or a name that is no UTF-8, which
            no table of cases could hold.
        notes: a line for each kind of file that was left out.
    """

    files: dict[str, Path] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def list_scans(folders: Iterable[Path]) -> Listing:
    """Scans, ``NAME_0000.nii.gz`` or ``NAME.nii.gz``; ``.nii`` and capitals are taken as well."""
    return _listed(folders, scans=True)


def list_pairs(folder: Path) -> tuple[Listing, Listing]:
    """Scans ``NAME_0000.nii.gz`` and label maps ``NAME.nii.gz`` that lie in one folder."""
    return _listed([folder], scans=True, beside=True), _listed([folder], scans=False, beside=True)


def list_labels(folders: Iterable[Path]) -> Listing:
    """Label maps, ``NAME.nii.gz``; ``.nii`` and capitals are taken as well."""
    return _listed(folders, scans=False)


def without_scan(labels: Listing, scans: Listing) -> Mapping[str, Path]:
    """Label maps whose name no scan has, whether it can be used or not."""
    known = {*scans.files, *scans.rejected}
    return {name: path for name, path in labels.files.items() if name not in known}


def _listed(folders: Iterable[Path], scans: bool, beside: bool = False) -> Listing:
    """See :func:`list_scans`, :func:`list_labels` and, for ``beside``, :func:`list_pairs`."""
    listing = Listing()
    found: dict[str, list[Path]] = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        names = sorted(path.name for path in folder.iterdir() if not path.is_dir())
        stems = {n: s for n in names if (s := scan_stem(n)) and n.lower().endswith(SUFFIXES)}
        channels = further_channels(folder / n for n in stems) if scans or beside else {}
        if scans or not beside:  # what lies in one folder is said once
            listing.notes += _left_out(folder, names, stems, channels)
        for name, stem in stems.items():
            if stem not in channels and (not beside or stem.endswith(CHANNEL) == scans):
                case = stem.removesuffix(CHANNEL) if scans else stem
                found.setdefault(case, []).append(folder / name)
    for case, files in found.items():
        if not is_utf8(case):
            listing.rejected[shown(case)] = f"{shown(str(files[0]))} has a name that is no UTF-8"
        elif len(files) > 1:
            both = " and ".join(str(path) for path in files)
            listing.rejected[case] = f"{both} are of one name; keep one of them"
        else:
            listing.files[case] = files[0]
    return listing


def _left_out(
    folder: Path, names: Sequence[str], stems: Mapping[str, str], channels: Mapping[str, str]
) -> list[str]:
    other = [n for n in names if scan_stem(n) and n not in stems] + unread_files([*names])
    further = [name for name, stem in stems.items() if stem in channels]
    lines = []
    if other:
        what = counted([shown(name) for name in other], "file")
        lines.append(f"{what} of formats that training does not read; convert to .nii.gz")
    if further:
        what = counted([shown(name) for name in further], "further nnU-Net channel")
        lines.append(f"{what} left out")
    return [f"{folder}: {line}" for line in lines]
