"""Folders for results."""

from __future__ import annotations

import os
from pathlib import Path

from inference.errors import OutputError
from inference.scan import atomic


def make_folder(path: Path) -> None:
    """Make a folder, where it is missing, before the work whose results it is for.

    Raises:
        OutputError: it cannot be made, or nothing can be written into it.
    """
    atomic.make_folder(path)
    check_writable(path)


def check_writable(folder: Path) -> None:
    """Raises OutputError where no file can be made in a folder."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            folder, "cannot be written to", "change its permissions, or name another folder"
        )
