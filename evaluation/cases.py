"""Cases on disk: which prediction belongs to which reference, and what it annotates."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from evaluation.reading import CaseError
from inference.errors import one_line
from inference.labels import NAMES
from inference.scan.names import (
    CHANNEL,
    SUFFIXES,
    counted,
    is_utf8,
    scan_stem,
    shown,
    unread_files,
)

# Slicer's segmentations may overlap, be cropped and number their segments as they like.
_SEGMENTATION = ".seg"


@dataclass(frozen=True)
class Case:
    """A reference and the prediction it is compared with.

    Attributes:
        reference: file of the reference label map; its name is the name of the case.
        prediction: file of the predicted label map; None where there is none.
        annotated: labels that the reference annotates.
        problem: why it cannot be scored, one line, where names alone say so.
    """

    reference: Path
    prediction: Path | None
    annotated: frozenset[int] = frozenset(NAMES)
    problem: str | None = None

    @property
    def name(self) -> str:
        """File name of the reference, as in the challenge's tables."""
        return shown(self.reference.name)


@dataclass(frozen=True)
class Found:
    """The cases of two folders, and a line about each kind of file that belongs to none."""

    cases: list[Case]
    notes: list[str]


def stem(name: str) -> str:
    """A file name without the suffix of its format, in capitals or not, its letters composed.

    macOS takes ``ü`` apart, other systems do not, and nobody sees the difference.
    """
    return unicodedata.normalize("NFC", scan_stem(name) or name)


def find_cases(
    predictions: Path, references: Path, annotated: Mapping[str, frozenset[int]] | None = None
) -> Found:
    """One case per reference, sorted by file name; ``X.nii.gz`` and ``X.nii`` match each other.

    So do all formats that are read. Two files of one case in a folder are that case's problem.

    Args:
        predictions: folder of predicted label maps.
        references: folder of reference label maps.
        annotated: labels that a reference annotates, by its name without suffix; all 14 for a case
            that it does not name.

    Raises:
        CaseError: a folder is missing or unreadable, or there is no reference.
    """
    predicted, reference = _Folder(predictions), _Folder(references)
    if not reference.maps:
        raise CaseError(references, "holds no label map", f"put {', '.join(SUFFIXES)} files there")
    every = frozenset(NAMES)
    cases, hinted = [], set()
    for key, files in reference.maps.items():
        mine = predicted.maps.get(key, [])
        problem = reference.twice(key) or predicted.twice(key)
        if not mine and problem is None:
            alike = predicted.alike(key, {*reference.maps})
            hinted.add(alike)
            problem = no_prediction(files[0], alike)
        of_case = (annotated or {}).get(key, every)
        line = None if problem is None else str(problem)
        cases.append(Case(files[0], mine[0] if mine else None, of_case, line))
    spare = [
        shown(files[0].name)
        for key, files in predicted.maps.items()
        if key not in reference.maps and files[0].name not in hinted
    ]
    notes = [
        f"{path}: its name is no UTF-8; the tables say {shown(path.name)}"
        for files in reference.maps.values()
        for path in files
        if not is_utf8(path.name)
    ]
    notes += [*reference.notes(), *predicted.notes(hinted)]
    if spare:
        left = f"{predictions}: {counted(spare, 'prediction')} without a reference left out"
        notes.append(f"{left}; name references and predictions alike")
    return Found(sorted(cases, key=lambda case: case.name), [one_line(note) for note in notes])


def read_annotated(path: Path) -> dict[str, frozenset[int]]:
    """Labels that each reference annotates, from a JSON object of lists.

    Args:
        path: a file like ``{"case_1": [1, 2, 3], "case_2.nii.gz": [14]}``.

    Returns:
        Labels by case name without suffix.

    Raises:
        CaseError: the file cannot be read, or is not such an object.
    """
    remedy = 'give a file like {"case_1": [1, 2, 14]}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(path, f"cannot be read ({error.strerror})", remedy) from error
    except ValueError as error:
        raise CaseError(path, f"is not JSON ({error})", remedy) from error
    if not isinstance(content, dict):
        raise CaseError(path, "is not a JSON object", remedy)
    annotated = {}
    for name, labels in content.items():
        known = isinstance(labels, list) and all(type(v) is int and v in NAMES for v in labels)
        if not known:
            cause = f"the entry of {name!r} is not a list of labels in 1..{max(NAMES)}"
            raise CaseError(path, cause, remedy)
        annotated[stem(name)] = frozenset(labels)
    return annotated


def no_prediction(reference: Path, alike: str | None) -> CaseError:
    name = shown(reference.name)
    if alike is None:
        return CaseError(name, "has no prediction", "segment it, or remove its reference")
    cause = f"has no prediction of its name, but there is {shown(alike)}"
    if scan_stem(alike) is None or stem(alike).endswith(_SEGMENTATION):
        return CaseError(name, cause, f"convert that to {stem(name)}.nii.gz")
    return CaseError(name, cause, f"if that is it, rename it to {stem(name)}.nii.gz")


class _Folder:
    """A folder's files by case: a stem, as tables show it. Hidden files are none.

    Attributes:
        maps: label maps of formats that are read, ascending; more than one is a mistake.
    """

    def __init__(self, folder: Path) -> None:
        try:
            names = sorted(entry.name for entry in folder.iterdir())
        except OSError as error:
            cause = f"cannot be listed ({error.strerror})"
            raise CaseError(folder, cause, "give an existing folder") from error
        self._folder = folder
        self._unread = unread_files(names)
        self._segmentations: list[str] = []
        self.maps: dict[str, list[Path]] = {}
        for name in names:
            if scan_stem(name) is None:
                continue
            key = stem(shown(name))
            if key.endswith(_SEGMENTATION):
                self._segmentations.append(name)
            else:
                self.maps.setdefault(key, []).append(folder / name)

    def twice(self, key: str) -> CaseError | None:
        """What is wrong where two files are one case."""
        files = self.maps.get(key, [])
        if len(files) < 2:
            return None
        names = " and ".join(shown(path.name) for path in files)
        return CaseError(self._folder, f"{names} are the same case", "keep one of them")

    def alike(self, key: str, taken: set[str]) -> str | None:
        """A file that may have been meant for the case ``key``: one that no case has, or none.

        Args:
            key: the case.
            taken: cases that have a prediction of their own name.
        """

        def bare(other: str) -> str:
            return stem(other).removesuffix(CHANNEL).removesuffix(_SEGMENTATION).casefold()

        free = [files[0].name for other, files in self.maps.items() if other not in taken]
        for name in (*free, *self._segmentations):
            if bare(shown(name)) == bare(key):
                return name
        beginning = f"{bare(key)}."
        return next((n for n in self._unread if shown(n).casefold().startswith(beginning)), None)

    def notes(self, but: Collection[str | None] = ()) -> list[str]:
        """A line about files of formats that are not read, but for those that are named already."""
        left = [shown(name) for name in self._unread if name not in but]
        if not left:
            return []
        what = f"{counted(left, 'file')} of formats that are not read left out"
        return [f"{self._folder}: {what}; convert to .nii.gz"]
