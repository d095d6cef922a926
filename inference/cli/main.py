"""``python -m inference``, ``abdobox``: a thin layer over the batch runner."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .. import check_platform
from ..errors import AbdoboxError, ModelError, naming_flags
from ..labels import NAMES
from ..many.cases import output_problem
from ..many.progress import Progress
from ..model.folder import WEIGHTS, model_folder
from ..scan.formats import SEG_TYPES
from .lean_openvino import without_model_converter
from .parser import parser
from .signals import Terminated, leaving_on_signals, unheard


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0: all done. 1: some case failed, or the report could not be written. 120: standard output
        could not be written. 128 + n: ended by signal n. Wrong arguments leave with 2, by argparse.
    """
    p = parser()
    args = p.parse_args(argv)
    if args.list_labels or args.info:
        return _answer(args)
    if args.labels:
        args.labels = tuple(sorted(set(args.labels)))
    try:
        check_platform()
    except AbdoboxError as error:
        Progress().error(str(error))
        return 1
    with naming_flags(), without_model_converter():
        _check(p, args)
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        with leaving_on_signals() as at_once:
            # Only now the heavy imports: --help and wrong arguments answer at once.
            from .run import Run

            run = Run(args, Progress(args.quiet))
            at_once.append(run.at_once)
            return run()
    except Terminated as leaving:
        return leaving.status


def _answer(args: argparse.Namespace) -> int:
    """Print what was asked about the box itself."""
    if args.info:
        from .info import text

        said = text()
    else:
        said = "\n".join(f"{value}\t{name}" for value, name in NAMES.items())
    try:
        print(said)
    except OSError as error:
        return unheard(error)
    return 0


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Leave with 2 where arguments do not go together, or with what is there."""
    if args.input is None or args.output is None:
        p.error("-i INPUT and -o OUTPUT are needed")
    if not os.path.exists(args.input):  # noqa: PTH110 (False too where it must not be looked at)
        p.error(f"{args.input}: there is no such file or folder")
    if args.input.is_dir() and _same(args.input, args.output):
        p.error(f"{args.output}: is the input folder, too; name another output folder")
    if problem := output_problem(args.input, args.output):
        p.error(f"{args.output}: {problem}")
    if args.format is not None:
        for given, flag, form in (
            (args.seg_type != SEG_TYPES[0], f"--seg-type {args.seg_type}", "dicom-seg"),
            (not args.label_table, "--no-label-table", "nifti"),
        ):
            if given and form not in args.format:
                p.error(f"{flag}: is of {form}, which --format leaves out")
    if args.resampler == "cupy" and args.device == "cpu":
        p.error("--resampler cupy: works on a CUDA device only; leave it out")
    if args.model is not None:
        try:
            model_folder(WEIGHTS, args.model)
        except ModelError as error:
            p.error(str(error))
    if args.shard and not (args.input.is_dir() or args.input.suffix.lower() == ".zip"):
        p.error(f"--shard {args.shard}: shares are those of a folder, and {args.input} is none")
    if args.report is not None and not _can_hold_report(args.report.parent, args.output):
        p.error(f"--report {args.report}: its folder is not there, or may not be written to")


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one place."""
    return os.path.realpath(one) == os.path.realpath(other)


def _can_hold_report(folder: Path, output: Path) -> bool:
    """Whether it can be written to, or is the labels' folder, which the run makes."""
    if os.path.isdir(folder):  # noqa: PTH112
        return os.access(folder, os.W_OK | os.X_OK)
    return _same(folder, output.parent if output.name.lower().endswith(".nii.gz") else output)
