"""The folder layouts in which data sets come.

Readers take a folder and give its cases, without opening scans; what cannot be understood is put
into ``rejected`` (name -> reason) or, where it concerns the whole folder, raised.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from inference.errors import AbdoboxError
from inference.labels import NAMES, ORGANS, TUMOR
from inference.scan.volume import read_labels
from inference.steps.threads import worker_count
from training.data.case import (
    SUFFIX,
    TRUTH,
    Case,
    Classes,
    DatasetError,
    parse_classes,
    read_annotated_table,
)

CHANNEL = "_0000"
ANNOTATED_TABLE = "annotated_classes.csv"


def read_folder(folder: Path, rejected: dict[str, str]) -> list[Case]:
    """The cases of a folder, whichever layout it has; see :func:`training.data.index.build_index`.

    Raises:
        DatasetError: it has none of them, or one of its tables makes no sense.
    """
    try:
        if (folder / "index.csv").is_file():
            return _listed_cases(folder)
        if (folder / "ct").is_dir() and (folder / "pseudo_labels").is_dir():
            return _teacher_cases(folder)
        if folder.is_dir() and _folders(folder, "imagestr", "unlabel"):
            return _flare_cases(folder, rejected)
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            folder,
            f"has a table that cannot be understood ({error!r})",
            "compare it with docs/training_data.md",
        ) from error
    raise DatasetError(
        folder, "is no data set", "give a folder with index.csv, ct/ or imagesTr/ in it"
    )


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


def _listed_cases(folder: Path) -> list[Case]:
    cases = []
    with (folder / "index.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            columns = {
                key[: -len("_classes")]: text
                for key, text in row.items()
                if key.endswith("_classes") and text
            }
            cases.append(
                Case(
                    name=row["name"],
                    patient=row["patient"],
                    split=row["split"],
                    image=folder / "images" / f"{row['name']}{CHANNEL}{SUFFIX}",
                    labels={s: folder / s / f"{row['name']}{SUFFIX}" for s in columns},
                    annotated={s: parse_classes(text) for s, text in columns.items()},
                )
            )
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


def _flare_cases(folder: Path, rejected: dict[str, str]) -> list[Case]:
    _check_nnunet_labels(folder / "dataset.json")
    table_file = folder / ANNOTATED_TABLE
    table = read_annotated_table(table_file) if table_file.is_file() else {}
    sources = [(TRUTH, sub) for sub in _folders(folder, "labelstr")]
    for parent in _folders(folder, "pseudo"):
        sources += [(sub.name, sub) for sub in _folders(parent, "") or [parent]]
    images: dict[str, Path] = {}
    for sub in _folders(folder, "imagestr", "unlabel"):
        images |= _images(sub)
    labels = {}
    for name in images:
        files = [(source, sub / f"{name}{SUFFIX}") for source, sub in sources]
        labels[name] = {source: path for source, path in files if path.exists()}
    derived = _derived_classes(
        {
            name: paths[TRUTH]
            for name, paths in labels.items()
            if TRUTH in paths and (name, TRUTH) not in table
        }
    )
    cases = []
    for name, image in images.items():
        truth = table.get((name, TRUTH), derived.get(name))
        if isinstance(truth, str):
            rejected[name] = truth
            continue
        # Pseudo-labels know the 13 organs and never the tumour (paper section 2.2).
        annotated = {
            source: truth if source == TRUTH and truth is not None else ORGANS
            for source in labels[name]
        }
        cases.append(Case(name, name, "train", image, labels[name], annotated))
    return cases


def _derived_classes(truths: Mapping[str, Path]) -> dict[str, Classes | str]:
    """Name -> :func:`present_classes`, or the reason why the map cannot be read."""

    def attempt(path: Path) -> Classes | str:
        try:
            return present_classes(path)
        except AbdoboxError as error:
            return str(error)

    with ThreadPoolExecutor(worker_count()) as pool:
        return dict(zip(truths, pool.map(attempt, truths.values()), strict=True))


def _check_nnunet_labels(path: Path) -> None:
    """Refuse an nnU-Net ``dataset.json`` whose labels are not FLARE's."""
    if not path.is_file():
        return
    labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    wanted = {"".join(sorted(name.split())): value for value, name in NAMES.items()}
    for name, value in labels.items():
        # "Kidney_Right", "right kidney" and the like are one name.
        key = "".join(sorted(str(name).lower().replace("_", " ").split()))
        if not 0 <= int(value) <= TUMOR or wanted.get(key, value) != value:
            raise DatasetError(path, f"calls {value} {name!r}", "map its labels to FLARE's 1..14")


def _folders(parent: Path, *beginnings: str) -> list[Path]:
    return sorted(
        sub for sub in parent.iterdir() if sub.is_dir() and sub.name.lower().startswith(beginnings)
    )


def _images(folder: Path) -> dict[str, Path]:
    return {
        path.name[: -len(SUFFIX)].removesuffix(CHANNEL): path
        for path in sorted(folder.glob(f"*{SUFFIX}"))
    }
