"""Which files of a folder are scans, and where their labels go."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AbdoboxError, OutputError, ScanError
from ..scan.names import (
    CHANNEL,
    SUFFIXES,
    counted,
    further_channels,
    is_unread,
    scan_stem,
    unread_files,
)
from .shard import WHOLE, Shard

# How many files of a folder without scans are looked at for what else they are, and how many
# folders below one are looked into for scans that are not taken.
_LOOKED_AT = 8
_LOOKED_INTO = 64
_WRITTEN = ".nii.gz"


@dataclass(frozen=True)
class Case:
    """One scan and the place of its labels."""

    source: Path
    target: Path

    @property
    def name(self) -> str:
        """The stem that scan and labels share."""
        name = self.target.name
        return name[: -len(_WRITTEN)] if _is_file_name(name) else name


@dataclass(frozen=True)
class Found:
    """What there is to do.

    Attributes:
        cases: by name.
        problems: scans that cannot be done, each with the reason.
        warnings: a line for each kind of file that was left out although it may be a scan.
    """

    cases: list[Case] = field(default_factory=list)
    problems: list[AbdoboxError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def case_name(path: Path) -> str | None:
    """``X`` for ``X_0000.nii.gz`` or ``X.nii.gz``; None for files that are no scans."""
    stem = scan_stem(path.name)
    return None if stem is None else stem.removesuffix(CHANNEL) or None


def output_problem(source: Path, target: Path) -> str | None:
    """What is wrong with an output's name: one of a file must not become a folder's.

    Args:
        source: a scan or a folder of scans.
        target: a folder, or for one scan also a name that ends in .nii.gz, in capitals or not.
    """
    if scan_stem(f"x{target.name}") is None and not is_unread(f"x{target.name}"):
        return None
    if os.path.isdir(source):  # noqa: PTH112
        return "is the name of a file, and the input is a folder; name a folder"
    if not _is_file_name(target.name):
        return f"is of no format that is written; end it in {_WRITTEN}, or name a folder"
    if os.path.isdir(target):  # noqa: PTH112
        return "is a folder, and has the name of a file; name another"
    return None


def find_cases(source: Path, target: Path, shard: Shard = WHOLE) -> Found:
    """The cases of a file or folder, what is wrong with the others, and what was left out.

    Links are followed, wherever they lead: DataLad, git-annex, Nextflow and BIDS stage scans so.

    Args:
        source: a scan, or a folder of scans (not searched deeper).
        target: the output folder; for a single scan also a name that ends in .nii.gz.
        shard: of a folder, the share to look at: its cases and what is wrong with them.

    Raises:
        ScanError: the folder cannot be read.
    """
    if os.path.isdir(source):  # noqa: PTH112
        return _in_folder(source, target, shard)
    name = case_name(source)
    if name is None:
        cause = f"is no scan: its name ends in none of {', '.join(SUFFIXES)}"
        return Found(problems=[ScanError(source, cause, "convert it to .nii.gz")])
    file = target if _is_file_name(target.name) else target / f"{name}{_WRITTEN}"
    case = Case(source, file)
    problem = _overwriting(case, _places([source]))
    return Found(problems=[problem]) if problem else Found([case])


def _in_folder(source: Path, target: Path, shard: Shard) -> Found:
    # Unlike Path.is_dir, False for a link to where nobody may look: its reader says so.
    files = [path for path in _listed(source) if not os.path.isdir(path)]  # noqa: PTH112
    scans = {path: stem for path in files if (stem := scan_stem(path.name))}
    channels = further_channels(list(scans.values()))
    by_name: dict[str, list[Path]] = {}
    for path, stem in scans.items():
        if (name := case_name(path)) is not None and stem not in channels:
            by_name.setdefault(name, []).append(path)
    below = _folders_with_scans(source, target)
    if not by_name:
        return Found(problems=[_no_scan(source, files, below)])
    places = _places([path for paths in by_name.values() for path in paths])
    # One of several shares says it, as with each problem.
    first = shard.index == 1
    found = Found(warnings=_left_out(source, files, channels, below) if first else [])
    for name, paths in by_name.items():
        if not shard.takes(name):
            continue
        case = Case(paths[0], target / f"{name}{_WRITTEN}")
        problem = _twice(source, case, paths) or _overwriting(case, places)
        if problem:
            found.problems.append(problem)
        else:
            found.cases.append(case)
    return found


def _left_out(
    folder: Path, files: list[Path], channels: dict[str, str], below: list[str]
) -> list[str]:
    """A line for each kind of what may be scans and is not taken."""
    lines = []
    if unread := unread_files([path.name for path in files]):
        lines.append(
            f"{counted(unread, 'file')} of formats that are not read left out; convert to .nii.gz"
        )
    if further := [path.name for path in files if scan_stem(path.name) in channels]:
        what = counted(further, "further nnU-Net channel")
        lines.append(f"{what} left out; rename what is a patient of its own")
    if below:
        lines.append(f"{counted(below, 'sub-folder')} with scans left out; run once for each")
    return [f"{folder}: {line}" for line in lines]


def _no_scan(folder: Path, files: list[Path], below: list[str]) -> ScanError:
    if any(_is_dicom(path) for path in files[:_LOOKED_AT]):
        cause = "holds no scan, but DICOM files, which are not read"
        return ScanError(folder, cause, "convert each series to .nii.gz, e.g. with dcm2niix")
    if below:
        cause = f"holds no scan itself, but {counted(below, 'sub-folder')} with scans"
        remedy = "run once for each, or put the scans, or links to them, into one folder"
        return ScanError(folder, cause, remedy)
    if unread := unread_files([path.name for path in files]):
        cause = f"holds no scan, but {counted(unread, 'file')} of formats that are not read"
        return ScanError(folder, cause, "convert them to .nii.gz")
    return ScanError(folder, "holds no scan", f"put {', '.join(SUFFIXES)} files there")


def _folders_with_scans(folder: Path, target: Path) -> list[str]:
    """Folders below one that hold scans, relative to it: the nearest first, and not all of many."""
    found: list[str] = []
    waiting = deque([folder])
    seen = {os.path.realpath(folder), os.path.realpath(target)}
    for _ in range(_LOOKED_INTO):
        if not waiting:
            break
        current = waiting.popleft()
        with suppress(OSError), os.scandir(current) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
            inner = [entry.path for entry in listed if entry.is_dir() and entry.name[0] != "."]
            if current != folder and any(scan_stem(e.name) and not e.is_dir() for e in listed):
                found.append(str(current.relative_to(folder)))
            for path in inner:
                real = os.path.realpath(path)
                if real not in seen:
                    seen.add(real)
                    waiting.append(Path(path))
    return found


def _is_dicom(path: Path) -> bool:
    """Whether name or contents say so; a series' files often have no suffix."""
    if not os.path.isfile(path):  # noqa: PTH113 (False too where it must not be looked at)
        return False
    if path.suffix.lower() == ".dcm":
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        cause = f"cannot be read ({error.strerror})"
        raise ScanError(folder, cause, "check its permissions") from error


def _twice(folder: Path, case: Case, paths: list[Path]) -> ScanError | None:
    if len(paths) < 2:
        return None
    names = " and ".join(path.name for path in paths)
    cause = f"would all be written to {case.target.name}"
    return ScanError(folder / names, cause, "rename or move all but one")


def _overwriting(case: Case, scans: set[str]) -> OutputError | None:
    if _places([case.target]).isdisjoint(scans):
        return None
    return OutputError(
        case.target, "is a scan itself and would be overwritten", "name another output folder"
    )


def _places(paths: list[Path]) -> set[str]:
    """Where files are: the names in their folders, and what those lead to where they are links.

    Unlike with Path.resolve, links in a circle are left to the reader.
    """
    entries = {os.path.join(os.path.realpath(path.parent), path.name) for path in paths}
    return entries | {os.path.realpath(path) for path in paths}


def _is_file_name(name: str) -> bool:
    return name.lower().endswith(_WRITTEN)
