"""Folders for results."""

from __future__ import annotations

import os
from pathlib import Path

from inference.errors import OutputError


def make_folder(path: Path) -> None:
    """Make a folder, where it is missing, before the work whose results it is for.

    Raises:
        OutputError: it cannot be made, or nothing can be written into it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            path, f"cannot be made ({error.strerror})", "name a folder in which you may write"
        ) from error
    check_writable(path)


def check_writable(folder: Path) -> None:
    """Raises OutputError where no file can be made in a folder."""
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            folder, "cannot be written to", "change its permissions, or name another folder"
        )
