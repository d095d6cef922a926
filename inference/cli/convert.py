"""``python -m inference.convert``: labels made or corrected elsewhere, onto a series' slices."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__, check_platform
from ..errors import AbdoboxError, HeaderError, OutputError, ScanError, one_line
from ..labels import STRUCTURES
from ..many.cases import case_name
from ..scan.formats import SEG_TYPES, files_of, formats_of
from ..scan.formats import SUFFIXES as FORMATS
from .signals import unheard

if TYPE_CHECKING:
    from ..scan.writing import LabelWriter

ALGORITHM_TYPES = ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL")  # DICOM PS3.3, C.8.20.2
_LONGEST_NAME = 64  # LO (PS3.5, 6.2)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m inference.convert",
        description="Write labels that were made or corrected elsewhere in other formats, on the "
        "slices of the DICOM series that they belong to.",
    )
    p.add_argument("labels", metavar="LABELS", type=Path, help="a label map, values 0 to 14")
    p.add_argument(
        "--source",
        metavar="SERIES",
        type=Path,
        required=True,
        help="the DICOM series: a folder, a .zip or a multi-frame file that holds it alone",
    )
    p.add_argument("-o", "--output", metavar="FOLDER", type=Path, required=True)
    p.add_argument(
        "--format",
        nargs="+",
        choices=tuple(FORMATS),
        default=["dicom-seg"],
        metavar="F",
        help=f"one or several of {', '.join(FORMATS)} (default: dicom-seg)",
    )
    p.add_argument("--seg-type", choices=SEG_TYPES, default="labelmap")
    p.add_argument(
        "--algorithm-type",
        choices=ALGORITHM_TYPES,
        default="SEMIAUTOMATIC",
        help="how the labels were made (default: SEMIAUTOMATIC, a machine's and corrected)",
    )
    p.add_argument(
        "--algorithm", metavar="NAME", type=_name, default="unknown", help="that made the labels"
    )
    p.add_argument("--algorithm-version", metavar="V", type=_name, default="unknown")
    p.add_argument("--version", action="version", version=f"abdobox {__version__}")
    return p


def _name(text: str) -> str:
    """What DICOM takes for a name, whatever a scan's character set. Raises ArgumentTypeError."""
    plain = text.isascii() and text.isprintable() and "\\" not in text
    if not (plain and len(text.strip()) >= 1 and len(text) <= _LONGEST_NAME):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name for DICOM: 1 to {_LONGEST_NAME} ASCII characters, no backslash"
        )
    return text


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0: written. 1: not, with one line why. 120: standard output could not be written. Wrong
        arguments leave with 2, by argparse.
    """
    p = parser()
    args = p.parse_args(argv)
    if args.seg_type != SEG_TYPES[0] and "dicom-seg" not in args.format:
        p.error(f"--seg-type {args.seg_type}: is of dicom-seg, which --format leaves out")
    # Its warnings name no file; what matters of them the reader says in its own words.
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        check_platform()
        result = _read(args)
        name = case_name(args.labels) or args.labels.stem
        files = files_of(args.output, name, formats_of(args.format, True))
        _prepare(args.output, args.labels, files.values())
        for form, path in files.items():
            result.write(form, path, seg_type=args.seg_type)
            if status := _say(path):
                return status
    except AbdoboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _say(path: Path) -> int:
    """Print a file's name, whatever it holds and the terminal takes. Returns the exit status."""
    encoding = sys.stdout.encoding or "utf-8"
    text = one_line(str(path)).encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, flush=True)
    except OSError as error:
        return unheard(error)
    return 0


def _read(args: argparse.Namespace) -> LabelWriter:
    """The labels on the series' grid. Raises ScanError."""
    import numpy as np

    from ..scan.dicom.derived import Algorithm
    from ..scan.dicom.reading import only_series
    from ..scan.dicom.stack import stack_of
    from ..scan.nifti_header import NiftiHeader
    from ..scan.same_grid import labels_on
    from ..scan.volume import read_label_map
    from ..scan.writing import LabelWriter

    found = read_label_map(args.labels)
    labels = found.labels_ZYX
    if int(labels.max()) > max(STRUCTURES):
        cause = f"holds the value {labels.max()}, which is no label"
        raise ScanError(args.labels, cause, "--list-labels of inference shows them")
    try:
        stack = stack_of(only_series(args.source))
    except HeaderError as error:
        raise ScanError(args.source, str(error), error.remedy) from error
    except OSError as error:
        cause = f"cannot be read ({error.strerror or error})"
        raise ScanError(args.source, cause, "check that it exists and may be read") from error
    source = stack.source
    try:
        on_source = np.ascontiguousarray(labels_on(labels, found.grid, source.grid))
    except HeaderError as error:
        raise ScanError(args.labels, str(error), error.remedy) from error
    for path, said in ((args.labels, found.warnings), (args.source, stack.notes)):
        for words in said:
            print(one_line(f"warning: {path}: {words}"), file=sys.stderr)
    algorithm = Algorithm(
        hashlib.sha256(on_source.data).hexdigest(),
        args.algorithm_type,
        args.algorithm,
        args.algorithm_version,
        made_by="labels",
    )
    header = NiftiHeader.of_grid(source.grid)
    return LabelWriter(on_source, source.grid, header, source, algorithm)


def _prepare(folder: Path, labels: Path, files: Iterable[Path]) -> None:
    """Make the folder, and see that nothing is written over the labels. Raises OutputError."""
    from ..scan.atomic import make_folder

    make_folder(folder)
    for path in files:
        if os.path.realpath(path) == os.path.realpath(labels):
            raise OutputError(path, "is the label map itself", "name another output folder")
