"""``python -m inference``: a thin layer over the batch runner."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from inference import __version__
from inference.cases import find_cases
from inference.errors import AbdoboxError
from inference.labels import NAMES
from inference.progress import Progress
from inference.shard import WHOLE, Shard, parse_shard

if TYPE_CHECKING:
    from inference.report import RunReport
    from inference.segmenter import Segmenter

DONE, FAILED = 0, 1  # wrong arguments leave with 2, by argparse


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m inference",
        description="Segment 13 abdominal organs and tumours in CT scans. Not a medical device.",
    )
    p.add_argument(
        "-i",
        "--input",
        metavar="INPUT",
        type=Path,
        help="a scan (.nii.gz, .nii, .nrrd, .mha) or a folder of scans",
    )
    p.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        type=Path,
        help="folder for the labels; for one scan also a name ending in .nii.gz",
    )
    p.add_argument(
        "--device",
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        help="auto takes CUDA where it is there, else the CPU (default: auto)",
    )
    p.add_argument("--model", metavar="NAME", help="a folder under weights/, or a path to one")
    p.add_argument(
        "--decode",
        choices=("nearest", "linear"),
        help="enlarge labels (quick) or logits (smooth); default: the model's",
    )
    p.add_argument(
        "--step",
        type=_step,
        metavar="F",
        help="window step as a fraction of the patch; default: the model's",
    )
    p.add_argument(
        "--precision",
        choices=("auto", "f32"),
        default="auto",
        help="auto computes in half precision where the device does so natively (default: auto)",
    )
    p.add_argument(
        "--resampler",
        choices=("torch", "cupy"),
        default="torch",
        help="for CUDA devices (default: torch)",
    )
    p.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out scans whose labels are there already",
    )
    p.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N|auto",
        help="take the I-th of N shares of a folder; auto: that of this task of a Slurm array or "
        "Kubernetes Indexed Job",
    )
    p.add_argument(
        "--report",
        metavar="FILE.json",
        type=Path,
        help="write versions, stage times, memory and failures",
    )
    p.add_argument("--quiet", action="store_true", help="say nothing but errors")
    p.add_argument("--debug", action="store_true", help="show tracebacks")
    p.add_argument("--version", action="version", version=f"abdobox {__version__}")
    p.add_argument("--list-labels", action="store_true", help="print the label values and leave")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns 0 (all done), 1 (some case failed) or 2 (wrong arguments)."""
    p = parser()
    args = p.parse_args(argv)
    if args.list_labels:
        print("\n".join(f"{value}\t{name}" for value, name in NAMES.items()))
        return DONE
    if args.input is None or args.output is None:
        p.error("-i INPUT and -o OUTPUT are needed")
    if not args.input.exists():
        p.error(f"{args.input}: there is no such file or folder")
    if args.shard and not args.input.is_dir():
        p.error(f"--shard {args.shard}: shares are those of a folder, and {args.input} is none")
    signal.signal(signal.SIGTERM, _terminated)
    return _segment(args)


def _segment(args: argparse.Namespace) -> int:
    progress = Progress(args.quiet)
    try:
        cases, problems = find_cases(args.input, args.output, args.shard or WHOLE)
    except OSError as error:
        progress.error(f"{args.input}: cannot be read ({error.strerror}); check its permissions")
        return FAILED
    # Only now the heavy imports: --help and wrong arguments answer at once.
    from inference.batch import Batch, BatchOptions
    from inference.report import CaseReport, RunReport
    from inference.segmenter import WEIGHTS, Segmenter

    report = RunReport()
    for problem in problems:
        progress.error(str(problem))
        report.cases.append(
            CaseReport(Path(problem.subject).name, problem.subject, "failed", error=str(problem))
        )

    def load() -> Segmenter:
        return Segmenter.load(
            WEIGHTS,
            args.device,
            model=args.model,
            resampler=args.resampler,
            precision=args.precision,
        )

    options = BatchOptions(args.decode, args.step, args.skip_existing, args.debug)
    batch = Batch(load, options, progress, report)
    try:
        batch.run(cases)
    except AbdoboxError as error:
        if args.debug:
            raise
        progress.error(str(error))
        return FAILED
    finally:
        if args.report:
            _write_report(report, args.report, batch.segmenter, progress)
    failed = report.count("failed")
    share = f" (share {args.shard})" if args.shard else ""
    skipped = f", {report.count('skipped')} skipped" if report.count("skipped") else ""
    progress.summary(f"{report.count('done')} done{skipped}, {failed} failed{share}: {args.output}")
    return FAILED if failed else DONE


def _write_report(
    report: RunReport, path: Path, segmenter: Segmenter | None, progress: Progress
) -> None:
    try:
        report.write(path, segmenter)
    except AbdoboxError as error:
        progress.error(str(error))


def _step(text: str) -> float:
    try:
        step = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not 0 < step <= 1:
        raise argparse.ArgumentTypeError(f"{text} lies outside (0, 1]")
    return step


def _shard(text: str) -> Shard:
    try:
        return parse_shard(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _terminated(signum: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM: abandon the current case, finish the file being written, write the report, leave."""
    sys.stderr.write("error: terminated\n")
    sys.exit(128 + signum)
