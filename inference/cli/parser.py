"""The arguments of ``python -m inference`` and ``abdobox``."""

from __future__ import annotations

import argparse

from .. import __version__
from ..scan.formats import SEG_TYPES
from ..scan.formats import SUFFIXES as FORMATS
from . import argument_types as types

# As it was called: installed from a wheel this package is abdobox, and has a command of that name.
PROGRAM = "abdobox" if __name__.startswith("abdobox.") else "python -m inference"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Segment 13 abdominal organs and tumours in CT scans. Not a medical device.",
    )
    _labels(p.add_argument_group("scans and labels"))
    _beside(p.add_argument_group("beside the labels"))
    _network(p.add_argument_group("the network"))
    _folder(p.add_argument_group("a folder of scans"))
    _said(p.add_argument_group("the box itself"))
    return p


def _labels(p: argparse._ArgumentGroup) -> None:
    """What is read, and what is written of the labels."""
    p.add_argument(
        "-i",
        "--input",
        metavar="INPUT",
        type=types.path,
        help="a scan (.nii.gz, .nii, .nrrd, .nhdr, .mha, .mhd), a folder of scans, or DICOM: a "
        "folder of a series, a tree of studies, a .zip, a multi-frame file",
    )
    p.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        type=types.path,
        help="folder for the labels; for one scan also a name ending in .nii.gz",
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
        "--labels",
        nargs="+",
        type=types.label,
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
        "--no-label-table",
        dest="label_table",
        action="store_false",
        help="leave names and colours out of the NIfTI header",
    )


def _beside(p: argparse._ArgumentGroup) -> None:
    """What else is written."""
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
        type=types.report,
        help="write versions, stage times, memory and failures",
    )


def _network(p: argparse._ArgumentGroup) -> None:
    """How labels are found."""
    p.add_argument("--model", metavar="NAME", help="a folder under weights/, or a path to one")
    p.add_argument(
        "--device",
        type=types.device,
        default="auto",
        metavar="auto|cpu|cuda[:N]",
        help="auto takes CUDA where it is there, else the CPU (default: auto)",
    )
    p.add_argument(
        "--precision",
        choices=("auto", "int8", "f32"),
        default="auto",
        help="auto computes in half precision, else on a CPU in int8, where the device does so "
        "natively (default: auto)",
    )
    p.add_argument(
        "--decode",
        choices=("nearest", "linear"),
        help="enlarge labels (quick) or logits (smooth); default: the model's",
    )
    p.add_argument(
        "--step",
        type=types.step,
        metavar="F",
        help="window step as a fraction of the patch; default: the model's",
    )
    p.add_argument(
        "--resampler",
        choices=("torch", "cupy"),
        default="torch",
        help="for CUDA devices (default: torch)",
    )


def _folder(p: argparse._ArgumentGroup) -> None:
    """How it is worked through."""
    p.add_argument(
        "--jobs",
        type=types.count,
        metavar="N",
        help="scans worked on at a time; default: by processors, and as memory allows",
    )
    p.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave out scans of which every file that is asked for is there already",
    )
    p.add_argument(
        "--shard",
        type=types.shard,
        metavar="I/N|auto",
        help="take the I-th of N shares of a folder; auto: that of this task of a Slurm array or "
        "Kubernetes Indexed Job",
    )


def _said(p: argparse._ArgumentGroup) -> None:
    """What is said."""
    p.add_argument("--quiet", action="store_true", help="say nothing but errors")
    p.add_argument("--debug", action="store_true", help="show tracebacks")
    p.add_argument("--version", action="version", version=f"abdobox {__version__}")
    p.add_argument("--list-labels", action="store_true", help="print the label values and leave")
    p.add_argument(
        "--info",
        action="store_true",
        help="print version, models, labels and formats as JSON, and leave",
    )
