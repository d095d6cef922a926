"""Pseudo-label fusion and selection (paper section 2.2): several label sets become one.

``paper`` mode keeps a case when the mean DSC of two pseudo-label sets exceeds 0.85, takes the first
200 partially labelled and the first 100 unlabelled cases by ID, and fills the classes that the
ground truth does not annotate from one of the sets. ``per-class`` mode decides organ by organ.
In both, the tumour comes from ground truth alone, and wins where it is annotated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from inference.cli.argument_types import count
from inference.errors import AbdoboxError, one_line
from training.data.case import (
    DRAWN,
    SUFFIX,
    Case,
    DatasetError,
    format_classes,
)
from training.data.folders import make_folder
from training.data.index import build_index
from training.data.overrides import NO_OVERRIDES, Overrides, read_overrides
from training.data.table import CASE_COLUMNS, write_annotated_table, write_table
from training.fusion.agreement import (
    Judgement,
    Settings,
    judge,
)
from training.fusion.merge import write_merged
from training.fusion.report import write_report

COLUMNS = (*CASE_COLUMNS, "agreement")


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m training fuse``. Returns the exit status."""
    arguments = _parser().parse_args(argv)
    settings = Settings(
        arguments.mode == "per-class", tuple(arguments.teachers), arguments.threshold
    )
    try:
        overrides = read_overrides(arguments.overrides) if arguments.overrides else NO_OVERRIDES
        index = build_index(arguments.data)
        check_teachers(index.cases, settings.teachers)
        make_folder(arguments.out / "labels")
    except (AbdoboxError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    kept, left_out = overrides.kept(index.cases, arguments.commercial)
    cases = overrides.apply_split(kept)
    judgements, rejected = judge_all(cases, settings, overrides, arguments.workers)
    chosen = (
        judgements
        if settings.per_class
        else select(judgements, settings.threshold, arguments.partial, arguments.unlabelled)
    )
    write_annotated_table(arguments.out / "annotated_classes.csv", cases)
    merged = write_merged(chosen, arguments.out / "labels", settings.per_class)
    written = merged.written
    write_cases(arguments.out / "cases.csv", written, arguments.out / "labels")
    rejected |= index.rejected | left_out | merged.rejected
    notes = [one_line(note) for note in (*index.notes, *merged.notes)]
    write_report(arguments.out, settings, judgements, written, rejected, notes)
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    for name, reason in rejected.items():
        print(one_line(f"left out {name}: {reason}"), file=sys.stderr)
    print(f"{len(written)} of {len(cases)} cases fused into {arguments.out}", file=sys.stderr)
    return 0 if written else 1


def check_teachers(cases: Sequence[Case], teachers: Sequence[str]) -> None:
    """Whether some case has each of the teachers' label sets; without cases nobody can tell.

    What people drew is no teacher, but may be named alone: there are no pseudo-labels then.

    Raises:
        DatasetError: none has.
    """
    sources = {source for case in cases for source in case.labels} - {*DRAWN}
    unknown = [teacher for teacher in teachers if teacher not in sources]
    if cases and unknown and not {*teachers} <= {*DRAWN}:
        known = f"take some of {', '.join(sorted(sources))}" if sources else "add pseudo-labels"
        raise DatasetError(f"--teachers {' '.join(unknown)}", "no case has such labels", known)


def judge_all(
    cases: Iterable[Case], settings: Settings, overrides: Overrides, workers: int
) -> tuple[list[Judgement], dict[str, str]]:
    """Judge every case; the second value names those that cannot be, with the reason."""
    judgements: list[Judgement] = []
    rejected: dict[str, str] = {}
    attempt = partial(_judge_or_reason, settings=settings, overrides=overrides)
    with ProcessPoolExecutor(workers) as pool:
        for case, result in zip(cases, pool.map(attempt, cases), strict=True):
            if isinstance(result, str):
                rejected[case.name] = result
            else:
                judgements.append(result)
    return judgements, rejected


def select(
    judgements: Iterable[Judgement], threshold: float, partial_count: int, unlabelled_count: int
) -> list[Judgement]:
    """The paper's choice: agreement above the threshold, sorted by ID, the first of each kind.

    Validation cases pass the same threshold but do not count towards the numbers.
    """
    left = {True: partial_count, False: unlabelled_count}
    chosen = []
    for judgement in sorted(judgements, key=lambda j: j.case.name):
        if not judgement.agreement > threshold:
            continue
        if judgement.case.split == "train":
            if left[judgement.partial] <= 0:
                continue
            left[judgement.partial] -= 1
        chosen.append(judgement)
    return chosen


def write_cases(path: Path, judgements: Iterable[Judgement], labels: Path) -> None:
    """The table from which training reads its cases (columns :data:`COLUMNS`)."""
    rows = [
        (
            judgement.case.name,
            judgement.case.patient,
            judgement.case.split,
            judgement.case.image.resolve(),
            (labels / f"{judgement.case.name}{SUFFIX}").resolve(),
            format_classes(judgement.annotated),
            f"{judgement.agreement:.4f}",
        )
        for judgement in judgements
    ]
    write_table(path, COLUMNS, rows)


def _judge_or_reason(case: Case, settings: Settings, overrides: Overrides) -> Judgement | str:
    try:
        return judge(case, settings, overrides)
    except AbdoboxError as error:
        # Whoever prints the reason names the case.
        own = error.subject == case.name
        return one_line(f"{error.cause}; {error.remedy}") if own else str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training fuse", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        required=True,
        help="data folder; repeat for more than one",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the fused data set")
    parser.add_argument("--mode", choices=("paper", "per-class"), default="paper")
    parser.add_argument(
        "--teachers",
        nargs="+",
        required=True,
        metavar="SOURCE",
        help="pseudo-label sets; the first fills, the others confirm",
    )
    parser.add_argument("--threshold", type=float, default=0.85, metavar="DSC")
    parser.add_argument(
        "--partial",
        type=int,
        default=200,
        metavar="N",
        help="partially labelled cases to take (paper mode)",
    )
    parser.add_argument(
        "--unlabelled",
        type=int,
        default=100,
        metavar="N",
        help="unlabelled cases to take (paper mode)",
    )
    parser.add_argument("--overrides", type=Path, metavar="CSV", help="decisions made by eye")
    parser.add_argument(
        "--commercial",
        action="store_true",
        help="leave out the cases that the overrides call noncommercial",
    )
    parser.add_argument("--workers", type=count, default=2)
    return parser
