"""``python -m inference``, ``abdobox``: a thin layer over the batch runner."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .. import __version__, check_platform
from ..engines.choice import HINT, is_device
from ..errors import AbdoboxError, ModelError, naming_flags
from ..labels import NAMES
from ..many.cases import output_problem
from ..many.progress import Progress
from ..many.shard import Shard, parse_shard
from ..model.folder import WEIGHTS, model_folder
from ..scan.formats import SEG_TYPES
from ..scan.formats import SUFFIXES as FORMATS
from .lean_openvino import without_model_converter
from .signals import Terminated, leaving_on_signals, unheard

# As it was called: installed from a wheel this package is abdobox, and has a command of that name.
PROGRAM = "abdobox" if __name__.startswith("abdobox.") else "python -m inference"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Segment 13 abdominal organs and tumours in CT scans. Not a medical device.",
    )
    p.add_argument(
        "-i",
        "--input",
        metavar="INPUT",
        type=_path,
        help="a scan (.nii.gz, .nii, .nrrd, .mha), a folder of scans, or DICOM series: a folder, a "
        "tree of studies, a .zip, a multi-frame file",
    )
    p.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        type=_path,
        help="folder for the labels; for one scan also a name ending in .nii.gz",
    )
    p.add_argument(
        "--device",
        type=_device,
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
        choices=("auto", "int8", "f32"),
        default="auto",
        help="auto computes in half precision, else on a CPU in int8, where the device does so "
        "natively (default: auto)",
    )
    p.add_argument(
        "--resampler",
        choices=("torch", "cupy"),
        default="torch",
        help="for CUDA devices (default: torch)",
    )
    p.add_argument(
        "--jobs",
        type=count,
        metavar="N",
        help="scans worked on at a time; default: by processors, and as memory allows",
    )
    p.add_argument(
        "--format",
        nargs="+",
        choices=tuple(FORMATS),
        metavar="F",
        help=f"one or several of {', '.join(FORMATS)}; default: nifti, and of a DICOM series also "
        "dicom-seg",
    )
    p.add_argument(
        "--seg-type",
        choices=SEG_TYPES,
        default="labelmap",
        help="of dicom-seg; binary is larger, for a PACS older than label maps (default: labelmap)",
    )
    p.add_argument(
        "--no-label-table",
        dest="label_table",
        action="store_false",
        help="leave names and colours out of the NIfTI header",
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
        "--labels",
        nargs="+",
        type=label,
        metavar="LABEL",
        help="write only these classes: names as --list-labels has them, with hyphens, underscores "
        "or in quotes, or numbers",
    )
    p.add_argument(
        "--split",
        action="store_true",
        help="write one file of 0 and 1 for each class, too: NAME/liver.nii.gz",
    )
    p.add_argument(
        "--statistics",
        action="store_true",
        help="write volume, HU, place and doubts of each organ: NAME.json, and statistics.csv",
    )
    p.add_argument(
        "--html",
        action="store_true",
        help="write a page to look at scan, labels, measures and doubts: NAME.html, and index.html",
    )
    p.add_argument(
        "--report",
        metavar="FILE.json",
        type=_report,
        help="write versions, stage times, memory and failures",
    )
    p.add_argument("--quiet", action="store_true", help="say nothing but errors")
    p.add_argument("--debug", action="store_true", help="show tracebacks")
    p.add_argument("--version", action="version", version=f"abdobox {__version__}")
    p.add_argument("--list-labels", action="store_true", help="print the label values and leave")
    p.add_argument(
        "--info",
        action="store_true",
        help="print version, models, labels and formats as JSON, and leave",
    )
    return p


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


def _path(text: str) -> Path:
    # Path("") is the current folder, and a script's unset variable is not meant so.
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; give one")
    return Path(text)


def _report(text: str) -> Path:
    """The report's place. It replaces what is there, which must be no scan, labels or device."""
    path = Path(text)
    if path.suffix != ".json":
        raise argparse.ArgumentTypeError(f"{text!r} is no name for a report: end it in .json")
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise argparse.ArgumentTypeError(f"{text!r} is there already, and is no file")
    return path


def _device(text: str) -> str:
    if not is_device(text):
        raise argparse.ArgumentTypeError(f"{text!r} is unknown: {HINT}")
    return text


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


def label(text: str) -> int:
    """A label's value, by number or name. Raises argparse.ArgumentTypeError."""
    plain = " ".join(text.casefold().replace("-", " ").replace("_", " ").split())
    for value, name in NAMES.items():
        if plain in (name, str(value)):
            return value
    names = ", ".join(name.replace(" ", "-") for name in NAMES.values())
    raise argparse.ArgumentTypeError(f"{text!r} is no label; use {names}")


def count(text: str) -> int:
    """A whole number above 0. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
