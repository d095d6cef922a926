"""One scan of a data set, and the classes that each source of labels annotates on it.

A *source* is one origin of labels: the ground truth of a FLARE23 case (``truth``), an expert, or
one pseudo-label network. A class that a source does not annotate is unknown there, not background
(paper section 2.2), so every source carries its list of annotated classes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.errors import AbdoboxError

TRUTH = "truth"
# Sources drawn by people; every other source is a pseudo-label network.
DRAWN: tuple[str, ...] = (TRUTH, "expert")
SUFFIX = ".nii.gz"

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
    """What a data folder holds, or several.

    Attributes:
        cases: the usable ones, ascending by name.
        rejected: name -> why a case is left out.
        notes: a line for each kind of file that is no case and should perhaps be one.
    """

    cases: list[Case] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def parse_classes(text: str) -> Classes:
    """Label values from a cell such as ``"1 14"``."""
    return tuple(sorted({int(value) for value in text.split()}))


def format_classes(classes: Iterable[int]) -> str:
    """The cell that :func:`parse_classes` reads."""
    return " ".join(str(value) for value in sorted(classes))


def read_annotated_table(path: Path) -> dict[tuple[str, str], Classes]:
    """(name, source) -> classes, from :func:`training.data.table.write_annotated_table`'s CSV."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["name"], row["source"]): parse_classes(row["classes"]) for row in rows}
