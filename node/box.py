"""What the node uses of the box, under either of its names.

In the repository and its images this package is ``node`` beside ``inference``; in the wheel it is
``abdobox.node`` within ``abdobox``, which is the same code. What is heavy is imported by those who
use it, in the working process: see :mod:`node.segmenting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__ == "node":
    from inference import __version__, check_platform
    from inference.errors import AbdoboxError, HeaderError, OutputError, one_line
    from inference.findings.page.assets import niivue
    from inference.model.folder import WEIGHTS, model_folder
    from inference.scan.atomic import remove_leftovers, write_atomically
    from inference.scan.dicom.files import DicomFile
    from inference.scan.formats import SEG_TYPES, SUFFIXES
else:
    from .. import __version__, check_platform
    from ..errors import AbdoboxError, HeaderError, OutputError, one_line
    from ..findings.page.assets import niivue
    from ..model.folder import WEIGHTS, model_folder
    from ..scan.atomic import remove_leftovers, write_atomically
    from ..scan.dicom.files import DicomFile
    from ..scan.formats import SEG_TYPES, SUFFIXES

__all__ = [
    "SEG_TYPES",
    "SUFFIXES",
    "WEIGHTS",
    "AbdoboxError",
    "DicomFile",
    "HeaderError",
    "OutputError",
    "__version__",
    "check_platform",
    "model_folder",
    "niivue",
    "one_line",
    "remove_leftovers",
    "write_atomically",
]
