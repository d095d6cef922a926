"""The cases of a data set: images, label maps by source, and the classes each source annotates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from inference.errors import HeaderError
from inference.grid import Grid
from inference.scan.stored_grid import UNREADABLE, same_grid, stored_grid
from training.data.case import Case, DatasetError, Index
from training.data.layouts import read_folder


def build_index(folders: Iterable[Path]) -> Index:
    """Index of one or more data folders.

    Layouts, tried in this order:
        * ``index.csv`` (name, patient, split, ``SOURCE_classes``...) beside ``images/`` and one
          folder per source;
        * ``ct/`` beside ``pseudo_labels/SOURCE/`` and its ``annotated_classes.json``;
        * FLARE23 or nnU-Net raw: ``imagesTr*``, ``unlabel*``, ``labelsTr*``, pseudo-labels in
          ``pseudo*/SOURCE/`` or ``pseudo*/``, optionally ``dataset.json``;
        * pairs of one name, ``images/`` beside ``labels/``, or ``NAME_0000.nii.gz`` beside
          ``NAME.nii.gz``.

    A case with an unreadable header, a label map on another grid, two files of one name, or a name
    that was seen before is left out and named in :attr:`Index.rejected`, and so is a drawn label
    map without a scan. What else lies there and is no case is in :attr:`Index.notes`.

    Raises:
        DatasetError: a folder has no known layout, or one of its tables makes no sense.
    """
    index = Index()
    seen: set[str] = set()
    for folder in folders:
        found = read_folder(folder)
        index.rejected |= found.rejected
        index.notes += found.notes
        for case in found.cases:
            problem = "the name occurs twice" if case.name in seen else grid_problem(case)
            if problem:
                index.rejected.setdefault(case.name, problem)
            else:
                seen.add(case.name)
                index.cases.append(case)
    index.cases = keep_patients_together(sorted(index.cases, key=lambda case: case.name))
    return index


def keep_patients_together(cases: list[Case]) -> list[Case]:
    """A patient with one validation scan is a validation patient: all its scans move there."""
    held_out = {case.patient for case in cases if case.split == "validation"}
    return [
        replace(case, split="validation") if case.patient in held_out else case for case in cases
    ]


def grid_problem(case: Case) -> str | None:
    """What keeps a case from being read, judged by the file headers, or None."""
    try:
        grid = _grid(case.image)
        for source, path in case.labels.items():
            other = _grid(path)
            if not same_grid(grid, other):
                return f"the {source} labels lie on another grid than the image"
    except DatasetError as error:
        return str(error)
    return None


def _grid(path: Path) -> Grid:
    """:func:`stored_grid`, whose errors are those of a data set."""
    try:
        return stored_grid(path)
    except HeaderError as error:
        raise DatasetError(path, f"cannot be read ({error})", error.remedy) from error
    except UNREADABLE as error:
        cause = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise DatasetError(path, cause, "copy the file again from its source") from error
