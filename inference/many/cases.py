"""Which files of a folder are scans, and where their labels go."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import AbdoboxError, OutputError, ScanError
from .shard import WHOLE, Shard

# As in inference.scan.volume, which this module does not import: it would bring NumPy.
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
CHANNEL = "_0000"
# How many files of a folder without scans are looked at for what else they are.
_LOOKED_AT = 8


@dataclass(frozen=True)
class Case:
    """One scan and the place of its labels."""

    source: Path
    target: Path

    @property
    def name(self) -> str:
        """The stem that scan and labels share."""
        return self.target.name.removesuffix(".nii.gz")


def case_name(path: Path) -> str | None:
    """``X`` for ``X_0000.nii.gz`` or ``X.nii.gz``; None for files that are no scans."""
    if path.name.startswith("."):
        return None
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            stem = path.name[: -len(suffix)]
            return stem.removesuffix(CHANNEL) or None
    return None


def find_cases(
    source: Path, target: Path, shard: Shard = WHOLE
) -> tuple[list[Case], list[AbdoboxError]]:
    """The cases of a file or folder, by name, and what is wrong with the others.

    Args:
        source: a scan, or a folder of scans (not searched deeper).
        target: the output folder; for a single scan also a name that ends in .nii.gz.
        shard: of a folder, the share to look at: its cases and what is wrong with them.

    Raises:
        ScanError: the folder cannot be read.
    """
    if source.is_dir():
        return _in_folder(source, target, shard)
    name = case_name(source)
    if name is None:
        cause = f"is no scan: its name ends in none of {', '.join(SUFFIXES)}"
        return [], [ScanError(source, cause, "convert it to .nii.gz")]
    file = target if target.name.endswith(".nii.gz") else target / f"{name}.nii.gz"
    case = Case(source, file)
    problem = _problem(case, None, {_real(source)})
    return ([], [problem]) if problem else ([case], [])


def _in_folder(source: Path, target: Path, shard: Shard) -> tuple[list[Case], list[AbdoboxError]]:
    by_name: dict[str, list[Path]] = {}
    listed = _listed(source)
    for path in listed:
        name = case_name(path)
        # Unlike Path.is_dir, False for a link to where nobody may look: its reader says so.
        if name is not None and not os.path.isdir(path):  # noqa: PTH112
            by_name.setdefault(name, []).append(path)
    scans = {_real(path) for paths in by_name.values() for path in paths}
    cases: list[Case] = []
    problems: list[AbdoboxError] = []
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
    if not by_name:
        problems.append(_no_scan(source, listed))
    return cases, problems


def _no_scan(folder: Path, listed: list[Path]) -> ScanError:
    if any(_is_dicom(path) for path in listed[:_LOOKED_AT]):
        cause = "holds no scan, but DICOM files, which are not read"
        return ScanError(folder, cause, "convert each series to .nii.gz, e.g. with dcm2niix")
    return ScanError(folder, "holds no scan", f"put {', '.join(SUFFIXES)} files there")


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
