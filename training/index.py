"""The cases of a data set: images, label maps by source, and the classes each source annotates.

A *source* is one origin of labels: the ground truth of a FLARE23 case (``truth``), an expert, or
one pseudo-label network. A class that a source does not annotate is unknown there, not background
(paper section 2.2), so every source carries its list of annotated classes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from inference.errors import AbdoboxError
from inference.labels import NAMES, ORGANS, TUMOR
from inference.volume import read_labels

TRUTH = "truth"
# Sources drawn by people; every other source is a pseudo-label network.
DRAWN: tuple[str, ...] = (TRUTH, "expert")
SUFFIX = ".nii.gz"
CHANNEL = "_0000"
ANNOTATED_TABLE = "annotated_classes.csv"
# Grids are compared with the tolerance that float32 NIfTI headers need.
GRID_TOLERANCE_MM = 1e-3

Classes = tuple[int, ...]


class DatasetError(AbdoboxError):
    """A data folder that holds no known layout, or a table that contradicts itself."""


@dataclass(frozen=True)
class Case:
    """One CT scan and what is known about it.

    Attributes:
        name: stem of its files, without ``_0000``.
        patient: scans of one patient never lie on both sides of a split.
        split: ``train`` or ``validation``.
        image: CT in HU.
        labels: source -> label map with FLARE values on the image's grid.
        annotated: source -> label values that it annotates, ascending.
    """

    name: str
    patient: str
    split: str
    image: Path
    labels: Mapping[str, Path]
    annotated: Mapping[str, Classes]


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
        DatasetError: a folder has no known layout.
    """
    index = Index()
    seen: set[str] = set()
    for folder in folders:
        for case in _cases_of(folder, index):
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


def parse_classes(text: str) -> Classes:
    """Label values from a cell such as ``"1 14"``."""
    return tuple(sorted({int(value) for value in text.split()}))


def format_classes(classes: Iterable[int]) -> str:
    """The cell that :func:`parse_classes` reads."""
    return " ".join(str(value) for value in sorted(classes))


def write_annotated_table(path: Path, cases: Iterable[Case]) -> None:
    """CSV (name, source, classes): put it into the data folder to skip deriving it again."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("name", "source", "classes"))
        for case in cases:
            for source, classes in case.annotated.items():
                writer.writerow((case.name, source, format_classes(classes)))


def read_annotated_table(path: Path) -> dict[tuple[str, str], Classes]:
    """(name, source) -> classes, from :func:`write_annotated_table`'s CSV."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["name"], row["source"]): parse_classes(row["classes"]) for row in rows}


def present_classes(path: Path) -> Classes:
    """The rule where no table says which classes a truth map annotates: those it holds.

    A FLARE23 case annotates an organ or the tumour whenever it shows one. A class that was looked
    for and is absent (a scan without a tumour) is thereby treated as unknown, which loses some
    negatives and never supervises with a wrong label.
    """
    values = np.unique(read_labels(path)[0])
    unknown = [int(v) for v in values if v not in (0, *NAMES)]
    if unknown:
        raise DatasetError(path, f"holds the values {unknown}", "map its labels to FLARE's 1..14")
    return tuple(int(v) for v in values if v)


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


def _cases_of(folder: Path, index: Index) -> list[Case]:
    if (folder / "index.csv").is_file():
        return _listed_cases(folder)
    if (folder / "ct").is_dir() and (folder / "pseudo_labels").is_dir():
        return _teacher_cases(folder)
    if folder.is_dir() and _folders(folder, "imagestr", "unlabel"):
        return _flare_cases(folder, index)
    raise DatasetError(
        folder, "is no data set", "give a folder with index.csv, ct/ or imagesTr/ in it"
    )


def _listed_cases(folder: Path) -> list[Case]:
    cases = []
    with (folder / "index.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            columns = {key[: -len("_classes")]: text for key, text in row.items()
                       if key.endswith("_classes") and text}
            cases.append(Case(
                name=row["name"],
                patient=row["patient"],
                split=row["split"],
                image=folder / "images" / f"{row['name']}{CHANNEL}{SUFFIX}",
                labels={s: folder / s / f"{row['name']}{SUFFIX}" for s in columns},
                annotated={s: parse_classes(text) for s, text in columns.items()},
            ))
    return cases


def _teacher_cases(folder: Path) -> list[Case]:
    teachers = folder / "pseudo_labels"
    table = json.loads((teachers / "annotated_classes.json").read_text(encoding="utf-8"))
    annotated = {source: tuple(sorted(v)) for source, v in table["annotated_classes"].items()}
    cases = []
    for name, image in _images(folder / "ct").items():
        files = {source: teachers / source / f"{name}{SUFFIX}" for source in annotated}
        labels = {source: path for source, path in files.items() if path.exists()}
        classes = {source: annotated[source] for source in labels}
        cases.append(Case(name, name, "train", image, labels, classes))
    return cases


def _flare_cases(folder: Path, index: Index) -> list[Case]:
    _check_nnunet_labels(folder / "dataset.json")
    table_file = folder / ANNOTATED_TABLE
    table = read_annotated_table(table_file) if table_file.is_file() else {}
    sources = [(TRUTH, sub) for sub in _folders(folder, "labelstr")]
    for parent in _folders(folder, "pseudo"):
        inside = _folders(parent, "") or [parent]
        sources += [(sub.name, sub) for sub in inside]
    cases = []
    for images in _folders(folder, "imagestr", "unlabel"):
        for name, image in _images(images).items():
            files = [(source, sub / f"{name}{SUFFIX}") for source, sub in sources]
            labels = {source: path for source, path in files if path.exists()}
            # Pseudo-labels know the 13 organs and never the tumour (paper section 2.2).
            annotated: dict[str, Classes] = {source: ORGANS for source in labels if source != TRUTH}
            try:
                if TRUTH in labels:
                    listed = table.get((name, TRUTH))
                    annotated[TRUTH] = (
                        present_classes(labels[TRUTH]) if listed is None else listed
                    )
            except AbdoboxError as error:
                index.rejected[name] = str(error)
                continue
            cases.append(Case(name, name, "train", image, labels, annotated))
    return cases


def _check_nnunet_labels(path: Path) -> None:
    """Refuse an nnU-Net ``dataset.json`` whose label values are not FLARE's."""
    if not path.is_file():
        return
    labels = json.loads(path.read_text(encoding="utf-8")).get("labels", {})
    values = {int(value) for value in labels.values()}
    if not values <= {0, *range(1, TUMOR + 1)}:
        raise DatasetError(path, f"has labels {sorted(values)}", "map them to FLARE's 1..14")


def _folders(parent: Path, *beginnings: str) -> list[Path]:
    return sorted(
        sub for sub in parent.iterdir() if sub.is_dir() and sub.name.lower().startswith(beginnings)
    )


def _images(folder: Path) -> dict[str, Path]:
    return {
        path.name[: -len(SUFFIX)].removesuffix(CHANNEL): path
        for path in sorted(folder.glob(f"*{SUFFIX}"))
    }
