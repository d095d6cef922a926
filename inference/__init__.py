"""abdobox: abdominal CT in, 13 organs and tumours out.

From a wheel this package is ``abdobox``, in the repository and its images ``inference``::

    from abdobox import Segmenter

    segmenter = Segmenter.load()  # the default model, device="auto"
    result = segmenter.segment("scan_0000.nii.gz")  # or a SimpleITK image, or a Volume
    result.labels  # uint8 (z, y, x), on the scan's own grid; NAMES says what they are
    result.write("scan.nii.gz")

The public names are loaded on first use, so that ``import abdobox`` and ``abdobox --help`` import
no numerical library at all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "NAMES",
    "AbdoboxError",
    "Grid",
    "Segmentation",
    "Segmenter",
    "Volume",
    "__version__",
]

if TYPE_CHECKING:
    from .errors import AbdoboxError
    from .grid import Grid
    from .labels import NAMES
    from .scan.volume import Volume
    from .segmentation import Segmentation
    from .segmenter import Segmenter

_HOMES = {
    "NAMES": "labels",
    "AbdoboxError": "errors",
    "Grid": "grid",
    "Segmentation": "segmentation",
    "Segmenter": "segmenter",
    "Volume": "scan.volume",
}


def check_platform() -> None:
    """Raise AbdoboxError on Windows, before anything is imported that is not there."""
    if sys.platform == "win32":
        from .errors import AbdoboxError

        raise AbdoboxError("Windows", "is not supported", "run abdobox in Docker or in WSL2")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    check_platform()
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
