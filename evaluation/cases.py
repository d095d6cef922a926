"""Cases on disk: pairing predictions with references, and scoring many at once."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.reading import CaseError, check_grids, read_case_labels
from evaluation.rules import MODES
from evaluation.scoring import Score, evaluate_case
from inference.errors import AbdoboxError
from inference.grid import Orientation
from inference.labels import NAMES

SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Case:
    """A reference and the prediction it is compared with.

    Attributes:
        reference: file of the reference label map; its name is the name of the case.
        prediction: file of the predicted label map; None where there is none.
        annotated: labels that the reference annotates.
    """

    reference: Path
    prediction: Path | None
    annotated: frozenset[int] = frozenset(NAMES)

    @property
    def name(self) -> str:
        """File name of the reference, as in the challenge's tables."""
        return self.reference.name


@dataclass(frozen=True)
class CaseResult:
    """What came of a case.

    Attributes:
        name: file name of the reference.
        scores: (DSC, NSD) by annotated label; empty where the case failed.
        error: why it failed, one line; None where it did not.
    """

    name: str
    scores: Mapping[int, Score] = field(default_factory=dict)
    error: str | None = None


def stem(name: str) -> str:
    """A file name without ``.nii.gz`` or ``.nii``."""
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def find_cases(
    predictions: Path, references: Path, annotated: Mapping[str, frozenset[int]] | None = None
) -> list[Case]:
    """One case per reference, sorted by file name; ``X.nii.gz`` and ``X.nii`` match each other.

    Args:
        predictions: folder of predicted label maps.
        references: folder of reference label maps.
        annotated: labels that a reference annotates, by its name without suffix; all 14 for a case
            that it does not name.

    Raises:
        CaseError: a folder is missing or unreadable, there is no reference, or two files of a
            folder belong to one case.
    """
    predicted, reference = _label_maps(predictions), _label_maps(references)
    if not reference:
        raise CaseError(references, "holds no label map", "put X.nii.gz or X.nii files there")
    every = frozenset(NAMES)
    return [
        Case(path, predicted.get(key), (annotated or {}).get(key, every))
        for key, path in sorted(reference.items(), key=lambda item: item[1].name)
    ]


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


def score_case(case: Case, mode: str) -> CaseResult:
    """Read and score one case; whatever is wrong with it ends up in ``error``."""
    try:
        if case.prediction is None:
            raise CaseError(case.name, "has no prediction", "segment it, or remove its reference")
        ref, grid = read_case_labels(case.reference)
        pred, grid_pred = read_case_labels(case.prediction)
        check_grids(case.prediction, grid_pred, grid)
        if MODES[mode].canonical_axes:
            orientation = Orientation.of(grid.direction)
            ref, pred = orientation.apply(ref), orientation.apply(pred)
            grid = orientation.canonical(grid)
        return CaseResult(case.name, evaluate_case(pred, ref, grid.spacing, case.annotated, mode))
    except AbdoboxError as error:
        return CaseResult(case.name, error=str(error))
    except ValueError as error:
        return CaseResult(case.name, error=f"{case.name}: {error}; correct the file's header")
    except MemoryError:
        return CaseResult(case.name, error=f"{case.name}: not enough memory; use fewer --jobs")


def score_cases(cases: Sequence[Case], mode: str, jobs: int) -> Iterator[CaseResult]:
    """Results of all cases as they are finished, from ``jobs`` processes.

    A process holds one case at a time: two label maps and the boxes of one class, about 0.5 GB for
    512x512x300 voxels of uint8.
    """
    jobs = min(jobs, len(cases))
    if jobs <= 1:
        yield from (score_case(case, mode) for case in cases)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(score_case, case, mode): case for case in cases}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                name = futures[future].name
                cause = "a worker process died, perhaps for want of memory; use fewer --jobs"
                yield CaseResult(name, error=f"{name}: {cause}")


def _label_maps(folder: Path) -> dict[str, Path]:
    """The label maps of a folder, by name without suffix; hidden files are none."""
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(SUFFIXES))
    except OSError as error:
        cause = f"cannot be listed ({error.strerror})"
        raise CaseError(folder, cause, "give an existing folder") from error
    found: dict[str, Path] = {}
    for name in names:
        if name.startswith("."):
            continue
        if stem(name) in found:
            cause = f"{found[stem(name)].name} and {name} are the same case"
            raise CaseError(folder, cause, "keep one of them")
        found[stem(name)] = folder / name
    return found
