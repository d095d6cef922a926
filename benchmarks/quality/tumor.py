"""Tumours: overlap where a person drew them, drawn volume where nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.scan import Scan, segment
from inference.labels import TUMOR
from inference.segmenter import Segmenter


@dataclass(frozen=True)
class TumorResult:
    """One scan's tumours.

    Attributes:
        drawn_ml: predicted volume.
        reference_ml: volume that the reference holds; None where it does not annotate tumours.
        dsc: None likewise.
    """

    scan: str
    drawn_ml: float
    reference_ml: float | None
    dsc: float | None


def tumor_results(segmenter: Segmenter, scans: Iterable[Scan]) -> list[TumorResult]:
    """Segment each scan and look at the tumour alone."""
    results = []
    for scan in scans:
        predicted = segment(segmenter, scan)
        ml = float(np.prod(scan.spacing)) / 1000
        drawn = ml * np.count_nonzero(predicted == TUMOR)
        if TUMOR in scan.annotated:
            reference = ml * np.count_nonzero(scan.labels_ZYX == TUMOR)
            dsc = scan.score(predicted).get(TUMOR, (1.0, 1.0))[0]
            results.append(TumorResult(scan.name, drawn, reference, dsc))
        else:
            results.append(TumorResult(scan.name, drawn, None, None))
    return results


def tumor_table(results: Iterable[TumorResult]) -> str:
    """Markdown."""
    lines = ["| scan | drawn, ml | reference, ml | DSC |", "|---|---|---|---|"]
    for r in results:
        known = "unknown" if r.reference_ml is None else f"{r.reference_ml:.1f}"
        dsc = "-" if r.dsc is None else f"{r.dsc:.2f}"
        lines.append(f"| {r.scan} | {r.drawn_ml:.1f} | {known} | {dsc} |")
    return "\n".join(lines) + "\n"
