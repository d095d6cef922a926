"""``python -m evaluation --pred DIR --ref DIR --out FILE.csv``: score a folder of label maps."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.cases import CaseResult, find_cases, read_annotated, score_cases, stem
from evaluation.reading import CaseError
from evaluation.rules import MODES
from evaluation.table import cases_csv, summarise, summary_csv, summary_markdown
from inference.cli.parser import count
from inference.errors import AbdoboxError, OutputError
from inference.scan.atomic import write_atomically

MOST_DEFAULT_JOBS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 where a case failed, 2 where an argument is wrong."""
    options = _parser().parse_args(arguments)
    try:
        annotated = read_annotated(options.classes) if options.classes else {}
        cases = find_cases(options.pred, options.ref, annotated)
        _check_output(options.out)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 2
    for unknown in sorted(set(annotated) - {stem(case.name) for case in cases}):
        print(f"{options.classes}: {unknown} has no reference; left out", file=sys.stderr)
    results: list[CaseResult] = []
    for result in score_cases(cases, options.mode, options.jobs):
        results.append(result)
        _report(result, len(results), len(cases))
    results.sort(key=lambda result: result.name)
    rows = summarise(results, MODES[options.mode].decimals)
    table = summary_markdown(rows, options.mode, results)
    files = {
        options.out: cases_csv(results),
        options.out.with_name(f"{options.out.stem}_summary.csv"): summary_csv(rows),
        options.out.with_name(f"{options.out.stem}_summary.md"): table,
    }
    try:
        for path, text in files.items():
            write_atomically(path, text.encode())
    except OutputError as error:
        print(error, file=sys.stderr)
        return 1
    print(table, end="")
    return int(any(result.error is not None for result in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="DSC and NSD of label maps against references, per case and class. Writes "
        "FILE.csv (one row per case), FILE_summary.csv and FILE_summary.md (mean and standard "
        "deviation in percent), and prints the latter.",
        epilog="Exit: 0 all cases scored, 1 some case failed, 2 wrong arguments.",
    )
    parser.add_argument(
        "--pred", type=Path, required=True, metavar="DIR", help="predicted label maps, X.nii.gz"
    )
    parser.add_argument(
        "--ref", type=Path, required=True, metavar="DIR", help="references, X.nii.gz"
    )
    parser.add_argument(
        "--mode",
        choices=tuple(MODES),
        default="default",
        help="flare23: the official script of FLARE 2023 with its slips; default: without them",
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE.json",
        help="labels that a reference annotates, by case; the others get no score. "
        "A case that the file does not name annotates all",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="result")
    parser.add_argument(
        "--jobs",
        type=count,
        default=min(os.cpu_count() or 1, MOST_DEFAULT_JOBS),
        metavar="N",
        help="cases at a time, about 0.5 GB each for 512x512x300 voxels (default: %(default)s)",
    )
    return parser


def _check_output(path: Path) -> None:
    """Raise CaseError where it is plain before any work that ``path`` cannot be written."""
    if path.suffix != ".csv" or path.is_dir():
        raise CaseError(path, "is no name for the result", "give a file name ending in .csv")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        cause = "its folder does not exist or may not be written to"
        raise CaseError(path, cause, "create the folder or choose another")


def _report(result: CaseResult, done: int, total: int) -> None:
    """The error of a case at once; a running count where someone is watching."""
    watched = sys.stderr.isatty()
    if result.error is not None:
        print(("\r\033[K" if watched else "") + result.error, file=sys.stderr)
    if watched:
        print(f"\r{done}/{total} cases", end="\n" if done == total else "", file=sys.stderr)
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
