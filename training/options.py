"""What the numbers on a command line may be, said in words where they are not."""

from __future__ import annotations

import argparse
import math


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """The option ``--tumor-threshold``."""
    parser.add_argument(
        "--tumor-threshold",
        type=probability,
        default=0.5,
        metavar="P",
        help="probability, between 0 and 1, from which a voxel is tumour",
    )


def probability(text: str) -> float:
    """A number between 0 and 1, neither of them. Raises argparse.ArgumentTypeError."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return value


def share(text: str) -> float:
    """A number from 0 to 1. Raises argparse.ArgumentTypeError."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} lies outside [0, 1]")
    return value


def minutes(text: str) -> float:
    """A time of 0 minutes or more, also without end. Raises argparse.ArgumentTypeError."""
    value = _number(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or more")
    return value


def length(text: str) -> float:
    """A time of more than 0 minutes, with an end. Raises argparse.ArgumentTypeError."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
