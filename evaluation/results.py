"""What comes of cases: scores, or why there are none; one case, or many at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from evaluation.cases import Case, no_prediction
from evaluation.lesions import Lesion, find_lesions
from evaluation.reading import check_grids, read_case_labels
from evaluation.rules import MODES
from evaluation.scoring import Score, evaluate_case
from inference.errors import AbdoboxError, one_line
from inference.grid import Orientation
from inference.labels import TUMOR
from inference.scan.limits import unset_geometry


@dataclass(frozen=True)
class CaseResult:
    """What came of a case.

    Attributes:
        name: file name of the reference.
        scores: (DSC, NSD) by annotated label; empty where the case failed.
        error: why it failed, one line; None where it did not.
        warnings: what was odd about its files and was accepted, a line each.
        lesions: of both label maps; None where they were not asked for or are not annotated.
    """

    name: str
    scores: Mapping[int, Score] = field(default_factory=dict)
    error: str | None = None
    warnings: tuple[str, ...] = ()
    lesions: tuple[Lesion, ...] | None = None


def score_case(case: Case, mode: str, lesions: bool = False) -> CaseResult:
    """Read and score one case; whatever is wrong with it ends up in ``error``.

    Args:
        case: its files.
        mode: of the scoring, see :mod:`evaluation.rules`.
        lesions: find the tumours, too, where the reference annotates them.
    """
    if case.problem is not None:
        return CaseResult(case.name, error=case.problem)
    try:
        if case.prediction is None:
            raise no_prediction(case.reference, None)
        reference, prediction = read_case_labels(case.reference), read_case_labels(case.prediction)
        ref, pred, grid = reference.labels_ZYX, prediction.labels_ZYX, reference.grid
        check_grids(case.prediction, prediction.grid, grid)
        if MODES[mode].canonical_axes:
            orientation = Orientation.of(grid.direction)
            ref, pred = orientation.apply(ref), orientation.apply(pred)
            grid = orientation.canonical(grid)
        found = None
        if lesions and TUMOR in case.annotated:
            found = tuple(find_lesions(pred == TUMOR, ref == TUMOR, grid.spacing))
        return CaseResult(
            case.name,
            evaluate_case(pred, ref, grid.spacing, case.annotated, mode),
            warnings=tuple(
                one_line(f"{path}: {warning}")
                for path, labels in ((case.reference, reference), (case.prediction, prediction))
                for warning in (
                    *labels.warnings,
                    # The prediction lies on the same grid: said once.
                    *(unset_geometry(labels.grid) if labels is reference else ()),
                )
            ),
            lesions=found,
        )
    except AbdoboxError as error:
        return CaseResult(case.name, error=str(error))
    except ValueError as error:
        cause = one_line(f"{case.name}: {error}; correct the file's header")
        return CaseResult(case.name, error=cause)
    except MemoryError:
        return CaseResult(case.name, error=f"{case.name}: not enough memory; give more")


def score_cases(
    cases: Sequence[Case], mode: str, jobs: int, lesions: bool = False
) -> Iterator[CaseResult]:
    """Results of all cases as they are finished, from ``jobs`` processes.

    A process holds one case at a time: two label maps and the boxes of one class, about 0.5 GB for
    512x512x300 voxels of uint8. Where one is killed, most likely for its memory, the cases that it
    took with it are scored again, one at a time and each in a process of its own.
    """
    jobs = min(jobs, len(cases))
    if jobs <= 1:
        yield from (score_case(case, mode, lesions) for case in cases)
        return
    lost = yield from _scored(cases, mode, jobs, lesions)
    for case in lost:
        if (yield from _scored([case], mode, 1, lesions)):
            cause = "its process died, perhaps for want of memory; give more"
            yield CaseResult(case.name, error=f"{case.name}: {cause}")


def _scored(
    cases: Sequence[Case], mode: str, jobs: int, lesions: bool
) -> Generator[CaseResult, None, list[Case]]:
    """Results as they are finished; returns the cases that a process's death has left without."""
    context = multiprocessing.get_context("spawn")
    lost: list[Case] = []
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(score_case, case, mode, lesions): case for case in cases}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                lost.append(futures[future])
    return lost
