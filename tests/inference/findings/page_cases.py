"""Cases for the tests of the pages: a phantom, its true labels, and their statistics."""

from __future__ import annotations

from typing import Any

from inference.findings.document import document
from inference.findings.doubts import doubts
from inference.findings.page.summary import SUMMARY
from inference.findings.statistics import statistics
from inference.steps.organs import Evidence
from phantom import Phantom

MODEL = {"name": "random", "version": "0", "sha256": "0" * 64}
# What names of files may hold.
HOSTILE = (
    "<img src=x onerror=window.hit=1>",
    "</script><script>window.hit=1</script>",
    "\"'><svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "{{niivue}} {{script}}",
    "<!-- <script>",
    "100% & #1?",
    "\u202egnp.exe",
    "\udcff",
)


def statistics_document(name: str, made: Phantom) -> dict[str, Any]:
    """As a run makes it."""
    measured = statistics(made.labels_ZYX, made.image_ZYX, made.grid)
    judged = doubts(made.labels_ZYX, made.image_ZYX, made.grid, Evidence())
    return document(name, measured, judged, made.grid, MODEL)


def summaries(count: int) -> list[dict[str, Any]]:
    """Made rows of a folder's page: every third one doubtful."""
    picture = "data:image/png;base64," + "A" * 4000
    return [
        {
            "schema": SUMMARY,
            "case": f"case_{index:05d}",
            "made": f"2026-11-29T20:{index // 60 % 60:02d}:{index % 60:02d}Z",
            "failed": "",
            "picture": picture,
            "liver_ml": 1000.0 + (index * 7919) % 1500,
            "spleen_ml": None if index % 10 == 0 else 200.0,
            "kidneys_ml": 300.0,
            "lesions": index % 4,
            "lesions_ml": None if index % 4 == 0 else 1.5,
            "cut": ["kidneys_ml"] if index % 2 else [],
            "scan_doubts": ["mirrored"] if index == 1234 else [],
            "organ_doubts": ["spleen 0.20"] if index % 3 == 0 else [],
        }
        for index in range(count)
    ]
