"""The folder layouts in which data sets come.

Readers take a folder and give its cases, without opening scans, and what cannot be understood or
belongs to none, by name; what concerns the whole folder is raised.
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
from inference.machine.threads import worker_count
from inference.scan.names import CHANNEL, counted, is_utf8
from inference.scan.volume import read_labels
from training.data.case import (
    DRAWN,
    SUFFIX,
    TRUTH,
    Case,
    Classes,
    DatasetError,
    Index,
    parse_classes,
    read_annotated_table,
)
from training.data.listing import Listing, list_labels, list_pairs, list_scans, without_scan

ANNOTATED_TABLE = "annotated_classes.csv"


def read_folder(folder: Path) -> Index:
    """The cases of a folder, whichever layout it has; see :func:`training.data.index.build_index`.

    Raises:
        DatasetError: it has none of them, one of its tables makes no sense, or its own name is no
            UTF-8, which no table of cases could hold.
    """
    if not is_utf8(str(folder.resolve())):
        raise DatasetError(folder, "lies where a name is no UTF-8", "rename that folder")
    try:
        if (folder / "index.csv").is_file():
            return _listed_cases(folder)
        if (folder / "ct").is_dir() and (folder / "pseudo_labels").is_dir():
            return _teacher_cases(folder)
        if folder.is_dir() and _folders(folder, "imagestr", "unlabel"):
            return _flare_cases(folder)
        if (folder / "images").is_dir() and (folder / "labels").is_dir():
            return _pair_cases(
                folder, list_scans([folder / "images"]), list_labels([folder / "labels"])
            )
        scans, labels = list_pairs(folder)
        if scans.files:
            return _pair_cases(folder, scans, labels)
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(
            folder,
            f"has a table that cannot be understood ({error!r})",
            "compare it with docs/training_data.md",
        ) from error
    raise DatasetError(
        folder,
        "is no data set",
        "give a folder with index.csv, ct/, imagesTr/ or NAME_0000.nii.gz in it",
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


def _listed_cases(folder: Path) -> Index:
    scans = list_scans([folder / "images"])
    with (folder / "index.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    columns = [key for key in (rows[0] if rows else ()) if key and key.endswith("_classes")]
    sources = {c.removesuffix("_classes"): c for c in columns}
    maps = {source: list_labels([folder / source]) for source in sources}
    index = _begun(scans, maps)
    for row in rows:
        name = row["name"]
        given = {source: row[column] for source, column in sources.items() if row[column]}
        case = Case(
            name=name,
            patient=row["patient"],
            split=row["split"],
            # What is not there is named by whoever opens it.
            image=scans.files.get(name, folder / "images" / f"{name}{CHANNEL}{SUFFIX}"),
            labels={s: maps[s].files.get(name, folder / s / f"{name}{SUFFIX}") for s in given},
            annotated={source: parse_classes(text) for source, text in given.items()},
        )
        _add(index, case, scans, {source: maps[source] for source in given})
    unlisted = sorted({*scans.files} - {row["name"] for row in rows})
    if unlisted:
        index.notes.append(f"{folder}: {counted(unlisted, 'scan')} without a row in index.csv")
    return index


def _teacher_cases(folder: Path) -> Index:
    teachers = folder / "pseudo_labels"
    table = json.loads((teachers / "annotated_classes.json").read_text(encoding="utf-8"))
    annotated = {source: tuple(sorted(v)) for source, v in table["annotated_classes"].items()}
    scans = list_scans([folder / "ct"])
    maps = {source: list_labels([teachers / source]) for source in annotated}
    index = _begun(scans, maps)
    for name, image in scans.files.items():
        labels = {source: m.files[name] for source, m in maps.items() if name in m.files}
        classes = {source: annotated[source] for source in labels}
        _add(index, Case(name, name, "train", image, labels, classes), scans, maps)
    return index


def _flare_cases(folder: Path) -> Index:
    _check_nnunet_labels(folder / "dataset.json")
    scans = list_scans(_folders(folder, "imagestr", "unlabel"))
    maps = {TRUTH: list_labels(_folders(folder, "labelstr"))}
    for parent in _folders(folder, "pseudo"):
        maps |= {sub.name: list_labels([sub]) for sub in _folders(parent, "") or [parent]}
    return _indexed(folder, scans, maps)


def _pair_cases(folder: Path, scans: Listing, labels: Listing) -> Index:
    return _indexed(folder, scans, {TRUTH: labels})


def _indexed(folder: Path, scans: Listing, maps: Mapping[str, Listing]) -> Index:
    """Cases whose truth annotates what a table in the folder says, else what it holds."""
    table_file = folder / ANNOTATED_TABLE
    table = read_annotated_table(table_file) if table_file.is_file() else {}
    index = _begun(scans, maps)
    truths = {name: path for name, path in maps[TRUTH].files.items() if name in scans.files}
    unknown = {name: path for name, path in truths.items() if (name, TRUTH) not in table}
    derived = _derived_classes(unknown)
    for name, image in scans.files.items():
        labels = {source: m.files[name] for source, m in maps.items() if name in m.files}
        truth = table.get((name, TRUTH), derived.get(name))
        if isinstance(truth, str):
            index.rejected[name] = truth
            continue
        # Pseudo-labels know the 13 organs and never the tumour (paper section 2.2).
        annotated = {
            source: truth if source == TRUTH and truth is not None else ORGANS for source in labels
        }
        _add(index, Case(name, name, "train", image, labels, annotated), scans, maps)
    return index


def _begun(scans: Listing, maps: Mapping[str, Listing]) -> Index:
    """An index that names what belongs to no case: one by one what people drew, others counted."""
    index = Index(rejected=dict(scans.rejected), notes=list(scans.notes))
    for source, labels in maps.items():
        index.notes += labels.notes
        spare = without_scan(labels, scans)
        if source in DRAWN:
            for name, path in spare.items():
                index.rejected[name] = f"{path} is a label map without a scan; name both alike"
        elif spare:
            what = counted(sorted(spare), "label map")
            index.notes.append(f"{source}: {what} without a scan; name both alike")
    return index


def _add(index: Index, case: Case, scans: Listing, maps: Mapping[str, Listing]) -> None:
    """Take a case up, unless files of one name leave open which are its own."""
    for listing in (scans, *maps.values()):
        if case.name in listing.rejected:
            index.rejected[case.name] = listing.rejected[case.name]
            return
    index.cases.append(case)


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
