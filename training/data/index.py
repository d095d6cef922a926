"""The cases of a data set: images, label maps by source, and the classes each source annotates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from training.data.case import Case
from training.data.layouts import read_folder

# Grids are compared with the tolerance that float32 NIfTI headers need.
GRID_TOLERANCE_MM = 1e-3


@dataclass
class Index:
    """Usable cases, ascending by name, and the ones left out with the reason."""

    cases: list[Case] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)


def build_index(folders: Iterable[Path]) -> Index:
    """Index of one or more data folders.

    Layouts, tried in this order:
        * ``index.csv`` (name, patient, split, ``SOURCE_classes``...) beside ``images/`` and one
          folder per source;
        * ``ct/`` beside ``pseudo_labels/SOURCE/`` and its ``annotated_classes.json``;
        * FLARE23 or nnU-Net raw: ``imagesTr*``, ``unlabel*``, ``labelsTr*``, pseudo-labels in
          ``pseudo*/SOURCE/`` or ``pseudo*/``, optionally ``dataset.json``.

    A case with an unreadable header, a label map on another grid, or a name that was seen before
    is left out and named in :attr:`Index.rejected`.

    Raises:
        DatasetError: a folder has no known layout, or one of its tables makes no sense.
    """
    index = Index()
    seen: set[str] = set()
    for folder in folders:
        for case in read_folder(folder, index.rejected):
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
        grid = _header(case.image)
    except RuntimeError:
        return f"{case.image} cannot be read"
    if len(grid[0]) != 3:
        return f"{case.image} has {len(grid[0])} dimensions"
    for source, path in case.labels.items():
        try:
            other = _header(path)
        except RuntimeError:
            return f"{path} cannot be read"
        if grid[0] != other[0] or not np.allclose(grid[1], other[1], atol=GRID_TOLERANCE_MM):
            return f"the {source} labels lie on another grid than the image"
    return None


def _header(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Size in voxels, and spacing, origin and direction in one tuple."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader.GetSize(), (*reader.GetSpacing(), *reader.GetOrigin(), *reader.GetDirection())
