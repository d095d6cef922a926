"""DICOM in and out. Its libraries are imported where a DICOM file is met, and may be missing."""

from __future__ import annotations

import importlib.util

from ...errors import HeaderError


def need(*libraries: str) -> None:
    """Raise HeaderError, with the remedy, where one of the libraries is not installed."""
    for name in libraries:
        if importlib.util.find_spec(name) is None:
            raise HeaderError(
                f"is DICOM, for which {name} is needed and not installed",
                f"pip install {name}, or abdobox with its extra: abdobox[dicom]",
            )
