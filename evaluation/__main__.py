"""``python -m evaluation --pred DIR --ref DIR --out FILE.csv``: score a folder of label maps."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from evaluation.cases import find_cases, read_annotated, stem
from evaluation.reading import CaseError
from evaluation.results import CaseResult, score_cases
from evaluation.rules import MODES
from evaluation.summary import lesions_csv, lesions_markdown, summarise_cases, summary_json
from evaluation.table import cases_csv, summarise, summary_csv, summary_markdown
from inference.cli.argument_types import count
from inference.errors import AbdoboxError, OutputError
from inference.scan.atomic import write_atomically

MOST_DEFAULT_JOBS = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 1 where a case failed, 2 where an argument is wrong."""
    options = _parser().parse_args(arguments)
    try:
        annotated = read_annotated(options.classes) if options.classes else {}
        found = find_cases(options.pred, options.ref, annotated)
        _check_outputs(options)
    except AbdoboxError as error:
        _say(str(error), sys.stderr)
        return 2
    for note in found.notes:
        _say(note, sys.stderr)
    for unknown in sorted(set(annotated) - {stem(case.name) for case in found.cases}):
        _say(f"{options.classes}: {unknown} has no reference; left out", sys.stderr)
    results: list[CaseResult] = []
    lesions = options.lesions is not None or options.summary is not None
    for result in score_cases(found.cases, options.mode, options.jobs, lesions):
        results.append(result)
        _report(result, len(results), len(found.cases))
    results.sort(key=lambda result: result.name)
    files, table = _tables(options, results)
    try:
        for path, text in files.items():
            write_atomically(path, text.encode())
    except OutputError as error:
        _say(str(error), sys.stderr)
        return 1
    _say(table, sys.stdout, end="")
    return int(any(result.error is not None for result in results))


def _tables(
    options: argparse.Namespace, results: Sequence[CaseResult]
) -> tuple[dict[Path, str], str]:
    """The files to write, and what is printed of them."""
    rows = summarise(results, MODES[options.mode].decimals)
    table = summary_markdown(rows, options.mode, results)
    files = {options.out: cases_csv(results)}
    if options.lesions is not None or options.summary is not None:
        summary = summarise_cases(results, options.mode)
        table += lesions_markdown(summary)
        if options.lesions is not None:
            files[options.lesions] = lesions_csv(results)
        if options.summary is not None:
            files[options.summary] = summary_json(summary)
    files[options.out.with_name(f"{options.out.stem}_summary.csv")] = summary_csv(rows)
    files[options.out.with_name(f"{options.out.stem}_summary.md")] = table
    return files, table


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
        "--lesions",
        type=Path,
        metavar="FILE.csv",
        help="also the tumours one by one: detected, missed, false positive; size, IoU",
    )
    parser.add_argument(
        "--summary",
        type=Path,
        metavar="FILE.json",
        help="also DSC, NSD and, by size of the tumours, sensitivity, F1 and false positives per "
        "case, with 95%% intervals of a bootstrap over cases",
    )
    parser.add_argument(
        "--jobs",
        type=count,
        default=min(os.cpu_count() or 1, MOST_DEFAULT_JOBS),
        metavar="N",
        help="cases at a time, about 0.5 GB each for 512x512x300 voxels (default: %(default)s)",
    )
    return parser


def _check_outputs(options: argparse.Namespace) -> None:
    """Raise CaseError where it is plain before any work that a result cannot be written."""
    out: Path = options.out
    _check_output(out, ".csv")
    results = (out, *(out.with_name(f"{out.stem}_summary.{kind}") for kind in ("csv", "md")))
    taken = {os.path.realpath(path) for path in results}
    for path, suffix in ((options.lesions, ".csv"), (options.summary, ".json")):
        if path is None:
            continue
        _check_output(path, suffix)
        if os.path.realpath(path) in taken:
            raise CaseError(path, "is the name of another result, too", "choose another")
        if options.classes and os.path.realpath(path) == os.path.realpath(options.classes):
            raise CaseError(path, "is the file of --classes and would be lost", "choose another")
        taken.add(os.path.realpath(path))


def _check_output(path: Path, suffix: str) -> None:
    if path.suffix != suffix or path.is_dir():
        raise CaseError(path, "is no name for the result", f"give a file name ending in {suffix}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        cause = "its folder does not exist or may not be written to"
        raise CaseError(path, cause, "create the folder or choose another")


def _say(text: str, stream: TextIO, end: str = "\n") -> None:
    """Print, also where the terminal knows less letters than a name has."""
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("±", "+-").encode(encoding, "backslashreplace").decode(encoding)
    print(text, file=stream, end=end)


def _report(result: CaseResult, done: int, total: int) -> None:
    """The warnings and the error of a case at once; a running count where someone is watching."""
    watched = sys.stderr.isatty()
    lines = [f"warning: {warning}" for warning in result.warnings]
    for line in (*lines, *([] if result.error is None else [result.error])):
        _say(("\r\033[K" if watched else "") + line, sys.stderr)
    if watched:
        print(f"\r{done}/{total} cases", end="\n" if done == total else "", file=sys.stderr)
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
