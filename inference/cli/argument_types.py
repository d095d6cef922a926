"""Types of the command line's arguments: what argparse calls on a word."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..engines.choice import HINT, is_device
from ..labels import NAMES
from ..many.shard import Shard, parse_shard


def path(text: str) -> Path:
    """A file or folder. Raises argparse.ArgumentTypeError."""
    # Path("") is the current folder, and a script's unset variable is not meant so.
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; give one")
    return Path(text)


def report(text: str) -> Path:
    """The report's place. It replaces what is there, which must be no scan, labels or device.

    Raises argparse.ArgumentTypeError.
    """
    place = Path(text)
    if place.suffix != ".json":
        raise argparse.ArgumentTypeError(f"{text!r} is no name for a report: end it in .json")
    if os.path.exists(place) and not os.path.isfile(place):  # noqa: PTH110, PTH113
        raise argparse.ArgumentTypeError(f"{text!r} is there already, and is no file")
    return place


def device(text: str) -> str:
    """A device's name. Raises argparse.ArgumentTypeError."""
    if not is_device(text):
        raise argparse.ArgumentTypeError(f"{text!r} is unknown: {HINT}")
    return text


def step(text: str) -> float:
    """A fraction of the patch. Raises argparse.ArgumentTypeError."""
    try:
        fraction = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not 0 < fraction <= 1:
        raise argparse.ArgumentTypeError(f"{text} lies outside (0, 1]")
    return fraction


def shard(text: str) -> Shard:
    """A share of a folder. Raises argparse.ArgumentTypeError."""
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
