"""What a run leaves of a case: classes, statistics, page, labels; NAME.nii.gz comes last."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError
from ..findings.page.assets import niivue
from ..findings.page.failure_page import failure_page
from ..labels import NAMES
from ..scan.atomic import make_folder, write_atomically
from ..scan.formats import SegType
from ..scan.remarks import Remarks
from ..scan.volume import write_labels
from ..segmentation import Segmentation
from ..types import Labels
from .cases import Case
from .folder_index import is_index


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        labels: classes that are written; the others become background.
        split: one file for each of them, too.
        statistics: NAME.json.
        formats: of the labels; None for the usual ones (:mod:`inference.scan.formats`).
        seg_type: of a DICOM SEG.
        label_table: whether NIfTI labels carry names and colours.
        html: NAME.html.
    """

    labels: tuple[int, ...] = tuple(NAMES)
    split: bool = False
    statistics: bool = False
    formats: Sequence[str] | None = None
    seg_type: SegType = "labelmap"
    label_table: bool = True
    html: bool = False

    def check(self) -> None:
        """Say at once, not after the first scan, where pages cannot be made. Raises ModelError."""
        if self.html:
            niivue()

    def files(self, case: Case) -> Iterator[Path]:
        """Every file of a case."""
        if self.split:
            for label in self.labels:
                yield split_folder(case) / f"{NAMES[label].replace(' ', '_')}.nii.gz"
        if self.statistics:
            yield statistics_file(case)
        if self.html:
            yield page_file(case)
        yield from case.files(self.formats).values()

    def there(self, case: Case) -> bool:
        """Whether every file of a case is."""
        # Unlike Path.exists, False where nobody may look: writing there says so.
        return all(os.path.exists(path) for path in self.files(case))  # noqa: PTH110

    def kept(self, labels: Labels) -> Labels:
        """The labels without classes that are not wanted."""
        if len(self.labels) == len(NAMES):
            return labels
        values = np.zeros(256, np.uint8)
        values[list(self.labels)] = self.labels
        return values[labels]


def split_folder(case: Case) -> Path:
    """Where a case's files of one class each lie."""
    return case.target.parent / case.name


def check_places(case: Case, wanted: Wanted) -> None:
    """Refuse files of one class in the folder of the scan itself, where people keep what they drew.

    A scan called as its folder has them there if the labels go beside that folder.

    Raises:
        OutputError: they would go there.
    """
    if not wanted.split:
        return
    source = case.source
    # Unlike Path.is_dir, False where nobody may look: its reader says so.
    folder = source if os.path.isdir(source) else source.parent  # noqa: PTH112
    if os.path.realpath(split_folder(case)) == os.path.realpath(folder):
        cause = "is the folder of the scan itself, and no place for files of single classes"
        raise OutputError(split_folder(case), cause, "name another output folder")


def statistics_file(case: Case) -> Path:
    """A case's statistics, beside its labels."""
    return case.target.parent / f"{case.name}.json"


def page_file(case: Case) -> Path:
    """A case's page, beside its labels."""
    return case.target.parent / f"{case.name}.html"


@dataclass(frozen=True, slots=True)
class Said:
    """What is said about a case's labels.

    Attributes:
        statistics: the JSON document, if wanted.
        page: the HTML file, if wanted.
        remarks: what is doubted, for formats that have room for it.
    """

    statistics: dict[str, Any] | None = None
    page: bytes | None = None
    remarks: Remarks = field(default_factory=Remarks)


def write_case(result: Segmentation, said: Said, case: Case, wanted: Wanted) -> None:
    """Write everything that is wanted of a case, NIfTI labels last: where they are, all else is.

    Args:
        result: its labels.
        said: about them.

    Raises:
        OutputError: a file cannot be written. Without one of the formats of the labels the others
            are there; without another file none of them is.
    """
    make_folder(case.target.parent)
    if wanted.split:
        make_folder(split_folder(case))
        for label, path in zip(wanted.labels, wanted.files(case), strict=False):
            mask = (result.labels == label).view(np.uint8)
            # Names belong to the values of the whole map; a mask has 1 alone.
            write_labels(path, mask, result.header, label_table=False)
    if said.statistics is not None:
        text = json.dumps(said.statistics, indent=1, allow_nan=False)
        write_atomically(statistics_file(case), text.encode() + b"\n")
    if said.page is not None:
        if is_index(case.name):
            cause = "is the place of the list of all pages"
            raise OutputError(page_file(case), cause, "rename the scan, or leave out --html")
        write_atomically(page_file(case), said.page)
    writer = replace(result, labels=wanted.kept(result.labels)).writer(said.remarks)
    files = case.files(wanted.formats)
    failures: list[Exception] = []
    for form in sorted(files, key=lambda form: form == "nifti"):
        try:
            writer.write(
                form, files[form], seg_type=wanted.seg_type, label_table=wanted.label_table
            )
        except Exception as error:  # one format's trouble is not the others'
            failures.append(error)
    if failures:
        raise failures[0]


def write_failure(case: Case, reason: str) -> None:
    """Write a case's page without labels, so that the list of cases has it. Raises OutputError."""
    if not is_index(case.name):
        make_folder(case.target.parent)
        write_atomically(page_file(case), failure_page(case.name, reason))
