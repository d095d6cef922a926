"""Which files of a folder are scans, and where their labels go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AbdoboxError, HeaderError, OutputError, ScanError
from ..scan.channels import further_channels
from ..scan.formats import files_of, formats_of
from ..scan.names import CHANNEL, DICOM_SUFFIXES, SUFFIXES, is_unread, scan_stem
from .left_out import folders_with_scans, left_out, no_scan
from .shard import WHOLE, Shard

if TYPE_CHECKING:
    from ..scan.dicom.candidates import Candidates
    from ..scan.dicom.series import LeftOut, Series

_NAMED_REASONS = 3
_WRITTEN = ".nii.gz"


@dataclass(frozen=True)
class Case:
    """One scan and the place of its labels.

    Attributes:
        source: its file; of a DICOM series the folder, file or .zip that it lies in.
        target: its labels'.
        series: its slices, of a DICOM series.
    """

    source: Path
    target: Path
    series: Series | None = None

    @property
    def name(self) -> str:
        """The stem that scan and labels share."""
        name = self.target.name
        return name[: -len(_WRITTEN)] if _is_file_name(name) else name

    def files(self, formats: Sequence[str] | None = None) -> dict[str, Path]:
        """Where the labels go, by format; see :func:`inference.scan.formats.formats_of`.

        NIfTI is the last to be written: where it is, the others are, too.
        """
        chosen = formats_of(formats, self.series is not None)
        files = files_of(self.target.parent, self.name, chosen)
        if files.pop("nifti", None):
            files["nifti"] = self.target
        return files


@dataclass(frozen=True)
class Found:
    """What there is to do.

    Attributes:
        cases: by name.
        problems: scans that cannot be done, each with the reason.
        warnings: a line for each kind of file that was left out although it may be a scan.
        left_out: DICOM files that are no part of any case, and why.
    """

    cases: list[Case] = field(default_factory=list)
    problems: list[AbdoboxError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def case_name(path: Path) -> str | None:
    """``X`` for ``X_0000.nii.gz`` or ``X.nii.gz``; None for files that are no scans.

    A scan that is called ``_0000`` and nothing else keeps that name.
    """
    stem = scan_stem(path.name)
    return None if stem is None else stem.removesuffix(CHANNEL) or stem


def output_problem(source: Path, target: Path) -> str | None:
    """What is wrong with an output's name: one of a file must not become a folder's.

    Args:
        source: a scan or a folder of scans.
        target: a folder, or for one scan also a name that ends in .nii.gz, in capitals or not.
    """
    name = f"x{target.name}"
    other = is_unread(name) or name.lower().endswith(DICOM_SUFFIXES)
    if scan_stem(name) is None and not other:
        return None
    # A folder of slices may be one DICOM series.
    one = _is_file_name(target.name) and not _holds_scans(source)
    if os.path.isdir(source) and not one:  # noqa: PTH112
        return "is the name of a file, and the input is a folder; name a folder"
    if not _is_file_name(target.name):
        return f"is of no format that is written; end it in {_WRITTEN}, or name a folder"
    if os.path.isdir(target):  # noqa: PTH112
        return "is a folder, and has the name of a file; name another"
    return None


def _holds_scans(folder: Path) -> bool:
    try:
        return any(scan_stem(path.name) for path in folder.iterdir())
    except OSError:  # what finds the cases says so
        return False


def find_cases(source: Path, target: Path, shard: Shard = WHOLE) -> Found:
    """The cases of a file, .zip or folder, what is wrong with others, and what was left out.

    Links are followed, wherever they lead: DataLad, git-annex, Nextflow and BIDS stage scans so.

    Args:
        source: a scan, a .zip of DICOM files, or a folder: of scans (not searched deeper) and of
            DICOM files and .zips (searched to the bottom).
        target: the output folder; for a single scan also a name that ends in .nii.gz.
        shard: of a folder or .zip, the share to look at: its cases and what is wrong with them.

    Raises:
        ScanError: the folder cannot be read.
    """
    if os.path.isdir(source):  # noqa: PTH112
        return _in_folder(source, target, shard)
    name = case_name(source)
    if name is None:
        return _of_dicom(source, target, shard)
    file = target if _is_file_name(target.name) else target / f"{name}{_WRITTEN}"
    case = Case(source, file)
    problem = _overwriting(case, _places([source]))
    return Found(problems=[problem]) if problem else Found([case])


def _of_dicom(source: Path, target: Path, shard: Shard) -> Found:
    """The series of a .zip or of one file."""
    from ..scan.dicom.candidates import candidates

    dicom = candidates(source)
    is_zip = source.suffix.lower() == ".zip"
    if not (dicom.files or dicom.broken) and is_zip:
        remedy = "give a .zip of DICOM files"
        return Found(problems=[ScanError(source, "holds no DICOM file", remedy)])
    if not dicom.files and not is_zip and source.suffix.lower() != ".dcm":
        cause = f"is no scan: its name ends in none of {', '.join(SUFFIXES)}, and it is no DICOM"
        return Found(problems=[ScanError(source, cause, "convert it to .nii.gz")])
    found = Found()
    _add_series(found, source, target, shard, dicom, {})
    if not (found.cases or found.problems or found.left_out or dicom.files):
        found.problems.append(no_scan(source, [], []))
    return found


def _in_folder(source: Path, target: Path, shard: Shard) -> Found:
    listed = _listed(source)
    # Unlike Path.is_dir, False for a link to where nobody may look: its reader says so.
    files = [path for path in listed if not os.path.isdir(path)]  # noqa: PTH112
    scans = {path: stem for path in files if (stem := scan_stem(path.name))}
    channels = further_channels(scans)
    by_name: dict[str, list[Path]] = {}
    for path, stem in scans.items():
        if (name := case_name(path)) is not None and stem not in channels:
            by_name.setdefault(name, []).append(path)
    below = folders_with_scans(source, target)
    # One of several shares says it, as with each problem.
    first = shard.index == 1
    found = Found()
    places = _places([path for paths in by_name.values() for path in paths])
    for name, paths in by_name.items():
        if not shard.takes(name):
            continue
        case = Case(paths[0], target / f"{name}{_WRITTEN}")
        problem = _twice(source, case, paths) or _overwriting(case, places)
        if problem:
            found.problems.append(problem)
        else:
            found.cases.append(case)
    dicom = None
    if len(scans) < sum(not path.name.startswith(".") for path in listed):
        from ..scan.dicom.candidates import candidates

        dicom = candidates(source, without=target)
    if dicom is not None:
        _add_series(found, source, target, shard, dicom, by_name)
    if not (by_name or found.cases or found.problems or found.left_out):
        # Another share's series are no scans of this one's, but scans.
        if not (dicom and dicom.files):
            found.problems.append(no_scan(source, files, below))
    elif first and by_name:
        found.warnings.extend(left_out(source, files, channels, below))
    return found


def _add_series(
    found: Found,
    source: Path,
    target: Path,
    shard: Shard,
    dicom: Candidates,
    by_name: dict[str, list[Path]],
) -> None:
    """Add the series among DICOM files to the cases that other formats make."""
    from ..scan.dicom import need

    if dicom.files:
        try:
            need("pydicom")
        except HeaderError as error:
            found.problems.append(ScanError(source, f"holds what {error}", error.remedy))
            return
    from ..scan.dicom.series import find_series

    all_series, left_out = find_series(dicom, source, by_name)
    places = _places([path for paths in by_name.values() for path in paths])
    alone = len(all_series) == 1 and not by_name and _is_file_name(target.name)
    if _is_file_name(target.name) and len(all_series) > 1:
        cause = f"is the name of a file, and {source} holds {len(all_series)} series"
        found.problems.append(OutputError(target, cause, "name a folder"))
        return
    for series in all_series:
        if not shard.takes(series.name):
            continue
        file = target if alone else target / f"{series.name}{_WRITTEN}"
        case = Case(series.place, file, series)
        if problem := _overwriting(case, places):
            found.problems.append(problem)
        else:
            found.cases.append(case)
    if not all_series and not by_name and left_out:
        said = "; ".join(list(dict.fromkeys(out.reason for out in left_out))[:_NAMED_REASONS])
        cause = f"holds no CT series that can be segmented, only DICOM that is left out ({said})"
        found.problems.append(ScanError(source, cause, "give a CT series, whole"))
    found.cases.sort(key=lambda case: case.name)
    found.left_out.extend(left_out)


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
