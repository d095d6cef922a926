"""What a number on a command line may be, said in words where it is not."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """A whole number above 0. Raises argparse.ArgumentTypeError."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
