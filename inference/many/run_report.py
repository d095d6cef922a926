"""The run report: what ran, on what, how long each stage took, what failed and why."""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..findings.doubts import Doubts
from ..labels import NAMES
from ..scan.atomic import write_atomically
from ..scan.names import shown
from ..segmenter import Segmenter

if TYPE_CHECKING:
    from ..scan.dicom.series import LeftOut

_PACKAGES = (
    "numpy", "SimpleITK", "openvino", "torch", "cupy-cuda13x", "safetensors", "isal", "pydicom",
)  # fmt: skip


@dataclass
class CaseReport:
    """One case: ``done``, ``failed`` or ``skipped``; seconds per stage; oddities; the cause.

    ``doubts`` as :func:`doubts_json` gives them; None where there are no labels.
    """

    name: str
    source: str
    state: str
    seconds: dict[str, float] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    windows: int = 0
    warnings: tuple[str, ...] = ()
    error: str | None = None
    doubts: dict[str, Any] | None = None


def doubts_json(doubts: Doubts, labels: Iterable[int]) -> dict[str, Any]:
    """The contrast phase and each organ's score and doubts, as far as the labels are wanted."""
    return {
        "contrast_phase": doubts.phase,
        "scan": list(doubts.scan),
        "organs": {
            NAMES[label]: {
                "score": doubts.organs[label].score,
                "doubtful": doubts.organs[label].doubtful,
                "doubts": list(doubts.organs[label].reasons),
            }
            for label in labels
            if label in doubts.organs
        },
    }


@dataclass
class RunReport:
    """All cases of a run, what was left out, and whether it came to its end. Axes: (z, y, x).

    ``left_out`` are DICOM files that were no part of any case, with the reason.
    """

    cases: list[CaseReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    complete: bool = False
    started: float = field(default_factory=time.time)
    _start: float = field(default_factory=time.perf_counter)  # unlike the clock, never set back

    def count(self, state: str) -> int:
        """How many cases are ``done``, ``failed`` or ``skipped``."""
        return sum(case.state == state for case in self.cases)

    @property
    def images_left_out(self) -> int:
        """How many DICOM images (files, or frames of them) were no part of any case."""
        return sum(out.images for out in self.left_out)

    def document(self, segmenter: Segmenter | None) -> dict[str, Any]:
        """The report as JSON values.

        Names are :func:`shown`: a lone surrogate, as Python has it for a byte that is no text, is
        no JSON to others.
        """
        model = None
        device_bytes = None
        if segmenter is not None:
            description = segmenter.description
            model = {
                "name": description.name,
                "version": description.version,
                "sha256": description.sha256,
            }
            device_bytes = segmenter.network.peak_memory()
        return {
            "abdobox": __version__,
            "python": platform.python_version(),
            "packages": _versions(),
            "machine": platform.machine(),
            "model": model,
            "engine": segmenter.network.name if segmenter else None,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "seconds": round(time.perf_counter() - self._start, 3),
            "peak_ram_bytes": _peak_ram_bytes(),
            "peak_device_bytes": device_bytes,
            "complete": self.complete,
            "warnings": [shown(warning) for warning in self.warnings],
            "done": self.count("done"),
            "failed": self.count("failed"),
            "skipped": self.count("skipped"),
            "cases": [
                {**asdict(case), "name": shown(case.name), "source": shown(case.source)}
                for case in self.cases
            ],
            "left_out": [
                {key: shown(v) if isinstance(v, str) else v for key, v in asdict(out).items()}
                for out in self.left_out
            ],
        }

    def write(self, path: Path, segmenter: Segmenter | None) -> None:
        """Write the report as JSON, whole or not at all. Raises OutputError."""
        text = json.dumps(self.document(segmenter), indent=1)
        write_atomically(path, text.encode() + b"\n")


def _peak_ram_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kilobytes


def _versions() -> dict[str, str]:
    from importlib import metadata  # slow, and only wanted here

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
