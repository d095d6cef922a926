"""Which files of a folder are scans, and where their labels go."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import AbdoboxError, OutputError, ScanError
from ..scan.formats import files_of, formats_of
from .shard import WHOLE, Shard

if TYPE_CHECKING:
    from ..scan.dicom.candidates import Candidates
    from ..scan.dicom.series import LeftOut, Series

# As in inference.scan.volume, which this module does not import: it would bring NumPy.
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
CHANNEL = "_0000"
_NAMED_REASONS = 3


@dataclass(frozen=True)
class Case:
    """One scan and the place of its labels.

    Attributes:
        source: the scan's file; of a DICOM series, the folder, .zip or file that it lies in.
        target: the labels' file.
        series: the slices, where the scan is a DICOM series.
    """

    source: Path
    target: Path
    series: Series | None = None

    @property
    def name(self) -> str:
        """The stem that scan and labels share."""
        return self.target.name.removesuffix(".nii.gz")

    def files(self, formats: Sequence[str] | None = None) -> dict[str, Path]:
        """Where the labels go, by format; see :func:`inference.scan.formats.formats_of`."""
        chosen = formats_of(formats, self.series is not None)
        return files_of(self.target.parent, self.name, chosen)


def case_name(path: Path) -> str | None:
    """``X`` for ``X_0000.nii.gz`` or ``X.nii.gz``; None for files that are no scans."""
    if path.name.startswith("."):
        return None
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            stem = path.name[: -len(suffix)]
            return stem.removesuffix(CHANNEL) or None
    return None


class Found(NamedTuple):
    """What an input holds.

    Attributes:
        cases: by name.
        problems: what is wrong with others.
        left_out: DICOM files that are no part of any case, and why.
    """

    cases: list[Case]
    problems: list[AbdoboxError]
    left_out: list[LeftOut]


def find_cases(source: Path, target: Path, shard: Shard = WHOLE) -> Found:
    """The cases of a file, a .zip or a folder.

    Args:
        source: a scan, a .zip of DICOM files, or a folder: of scans (not searched deeper) and of
            DICOM files and .zips (searched to the bottom).
        target: the output folder; for a single scan also a name that ends in .nii.gz.
        shard: of a folder or .zip, the share to look at: its cases and what is wrong with them.

    Raises:
        ScanError: the folder cannot be read.
    """
    if source.is_dir():
        return _in_folder(source, target, shard)
    name = case_name(source)
    if name is None:
        return _of_dicom(source, target, shard)
    file = target if target.name.endswith(".nii.gz") else target / f"{name}.nii.gz"
    case = Case(source, file)
    problem = _problem(case, None, {_real(source)})
    return Found([], [problem], []) if problem else Found([case], [], [])


def _of_dicom(source: Path, target: Path, shard: Shard) -> Found:
    """The series of a .zip or of one file."""
    from ..scan.dicom.candidates import candidates

    found = candidates(source)
    is_zip = source.suffix.lower() == ".zip"
    if not (found.files or found.broken) and is_zip:
        remedy = "give a .zip of DICOM files"
        return Found([], [ScanError(source, "holds no DICOM file", remedy)], [])
    if not found.files and not is_zip and source.suffix.lower() != ".dcm":
        cause = f"is no scan: its name ends in none of {', '.join(SUFFIXES)}, and it is no DICOM"
        return Found([], [ScanError(source, cause, "convert it to .nii.gz")], [])
    return _with_series(source, target, shard, found, [], {}, set())


def _in_folder(source: Path, target: Path, shard: Shard) -> Found:
    by_name: dict[str, list[Path]] = {}
    listed = _listed(source)
    for path in listed:
        name = case_name(path)
        # Unlike Path.is_dir, False for a link to where nobody may look: its reader says so.
        if name is not None and not os.path.isdir(path):  # noqa: PTH112
            by_name.setdefault(name, []).append(path)
    scans = {_real(path) for paths in by_name.values() for path in paths}
    problems: list[AbdoboxError] = []
    cases: list[Case] = []
    for name, paths in by_name.items():
        if not shard.takes(name):
            continue
        case = Case(paths[0], target / f"{name}.nii.gz")
        if len(paths) > 1:
            others = " and ".join(p.name for p in paths)
            problems.append(
                ScanError(
                    source / others,
                    f"would all be written to {case.target.name}",
                    "rename or move all but one",
                )
            )
        elif problem := _problem(case, source, scans):
            problems.append(problem)
        else:
            cases.append(case)
    if len(scans) < sum(not path.name.startswith(".") for path in listed):
        from ..scan.dicom.candidates import candidates

        found = candidates(source, without=target)
        if found.files or found.broken:
            more = _with_series(source, target, shard, found, cases, by_name, scans)
            return more._replace(problems=problems + more.problems)
    if not by_name:
        problems.append(_no_scan(source))
    return Found(cases, problems, [])


def _no_scan(source: Path) -> ScanError:
    remedy = f"put {', '.join(SUFFIXES)} or DICOM files there"
    return ScanError(source, "holds no scan", remedy)


def _with_series(
    source: Path,
    target: Path,
    shard: Shard,
    found: Candidates,
    cases: list[Case],
    by_name: dict[str, list[Path]],
    scans: set[Path],
) -> Found:
    """The DICOM series among files, beside the cases that other formats make."""
    from ..scan.dicom.series import find_series

    all_series, left_out = find_series(found, source, by_name)
    alone = len(all_series) == 1 and not by_name and target.name.endswith(".nii.gz")
    problems: list[AbdoboxError] = []
    for series in all_series:
        if not shard.takes(series.name):
            continue
        file = target if alone else target / f"{series.name}.nii.gz"
        case = Case(series.place, file, series)
        if problem := _problem(case, None, scans):
            problems.append(problem)
        else:
            cases.append(case)
    if not all_series and not by_name:
        said = "; ".join(list(dict.fromkeys(out.reason for out in left_out))[:_NAMED_REASONS])
        cause = f"holds no CT series that can be segmented, only DICOM that is left out ({said})"
        problem = ScanError(source, cause, "give a CT series, whole")
        problems.append(problem if left_out else _no_scan(source))
    return Found(sorted(cases, key=lambda case: case.name), problems, left_out)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        cause = f"cannot be read ({error.strerror})"
        raise ScanError(folder, cause, "check its permissions") from error


def _problem(case: Case, folder: Path | None, scans: set[Path]) -> AbdoboxError | None:
    if folder is not None and not _real(case.source).is_relative_to(_real(folder)):
        return ScanError(
            case.source,
            "is a link that leads out of the input folder",
            "copy the scan into the folder, or name the scan itself as input",
        )
    if _real(case.target) in scans:
        return OutputError(
            case.target, "is a scan itself and would be overwritten", "name another output folder"
        )
    return None


def _real(path: Path) -> Path:
    """Where ``path`` leads; unlike Path.resolve, links in a circle are left to the reader."""
    return Path(os.path.realpath(path))
