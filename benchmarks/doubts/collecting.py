"""Scans as they are, worse, without organs and as wrong inputs, each segmented and looked at."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from benchmarks.doubts.runs import Run
from benchmarks.no_abdomen import head, legs
from benchmarks.quality.absent import REMOVABLE, without
from benchmarks.quality.degrade import Degradation, degradations, more_degradations
from benchmarks.quality.scan import Scan
from benchmarks.quality.wrong_inputs import wrong_inputs
from inference.errors import AbdoboxError
from inference.findings.look import Look
from inference.labels import NAMES, ORGANS
from inference.scan.volume import Volume
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter


def removals() -> dict[str, Degradation]:
    """Organs taken away, one at a time."""
    return {f"without {NAMES[organ]}": _removal(organ) for organ in REMOVABLE}


def _removal(organ: int) -> Degradation:
    return lambda scan: without(scan, organ)


GROUPS = {
    "as they are": lambda: {"as it is": degradations()["as it is"]},
    "organs removed": removals,
    "wrong inputs": wrong_inputs,
    "degraded": lambda: {
        name: change
        for name, change in (degradations() | more_degradations()).items()
        if name != "as it is"
    },
}


def run_of(segmenter: Segmenter, scan: Scan, group: str, variant: str) -> Run:
    """Segment a scan and look at it."""
    result = segmenter.segment(scan.volume)
    scores = {label: dsc for label, (dsc, _) in scan.score(result.labels).items()}
    return _run(result, scan.name, group, variant, scores, scan.annotated)


def _run(
    result: Segmentation,
    scan: str,
    group: str,
    variant: str,
    dsc: dict[int, float],
    annotated: Sequence[int],
) -> Run:
    look = Look.at(result.labels, result.image, result.grid, result.evidence)
    dsc = {label: round(float(one), 4) for label, one in dsc.items() if label in ORGANS}
    organs = tuple(label for label in annotated if label in ORGANS)
    empty = not result.labels.any()
    return Run(scan, group, variant, look, dsc, result.warnings, empty, organs)


def collected(
    segmenter: Segmenter, scans: Sequence[Scan], done: set[tuple[str, str]]
) -> Iterator[Run]:
    """Every scan in every way, but for what is done; the most telling first."""
    for group, ways in GROUPS.items():
        for variant, change in ways().items():
            for scan in scans:
                if (scan.name, variant) in done:
                    continue
                try:
                    changed = change(scan)
                    yield run_of(segmenter, changed, group, variant)
                except (ValueError, IndexError) as error:  # there is no such organ to remove
                    print(f"{scan.name}, {variant}: left out ({error})", file=sys.stderr)
                except AbdoboxError as error:
                    print(f"{scan.name}, {variant}: refused ({error})", file=sys.stderr)
    others: dict[str, Volume] = {"head": head(), "legs": legs()}
    for name, volume in others.items():
        if (name, name) not in done:
            yield _run(segmenter.segment(volume), name, "wrong inputs", name, {}, ())
