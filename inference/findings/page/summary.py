"""What the list of a folder's cases tells of one, held at the head of its page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...labels import KIDNEYS, TUMOR

# Goes up where a list could not read the pages of before.
SUMMARY = "abdobox-page-1"

_ELEMENT = re.compile(
    rb'<script type="application/json" id="abdobox-case">(.*?)</script>', re.DOTALL
)
_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]*")
_TEXTS = ("case", "made", "failed")
_NUMBERS = ("liver_ml", "spleen_ml", "kidneys_ml", "lesions", "lesions_ml")
# How far into a page it is looked for.
HEAD_BYTES = 1 << 16


def of_case(document: Mapping[str, Any], picture: str, made: str) -> dict[str, Any]:
    """Of a case's statistics and its small picture (a data URI).

    ``cut`` names the volumes of which the scan shows a part: they are at least so large.
    """
    by_label = {one["label"]: one for one in document["structures"]}

    def together(*labels: int) -> list[Mapping[str, Any]]:
        """Those that are there; none where one was not wanted: a part is not the whole."""
        if not by_label.keys() >= set(labels):
            return []
        return [by_label[label] for label in labels if by_label[label]["state"] != "absent"]

    found: dict[str, Sequence[Mapping[str, Any]]] = {
        "liver_ml": together(1),
        "spleen_ml": together(3),
        "kidneys_ml": together(*KIDNEYS),
        "lesions_ml": document["lesions"],
    }
    volumes = {
        key: round(sum(one["volume_ml"] for one in ones), 6) if ones else None
        for key, ones in found.items()
    }
    return {
        "schema": SUMMARY,
        "case": document["case"],
        "made": made,
        "failed": "",
        "picture": picture,
        **volumes,
        "lesions": len(document["lesions"]) if TUMOR in by_label else None,
        "cut": [k for k, ones in found.items() if any(one["state"] == "cut off" for one in ones)],
        "scan_doubts": list(document["scan"]["doubts"]),
        "organ_doubts": [
            f"{one['name']} {one['score']:.2f}" for one in document["structures"] if one["doubtful"]
        ],
    }


def of_failure(name: str, reason: str, made: str) -> dict[str, Any]:
    """Of a case without labels, and why there are none."""
    return {
        "schema": SUMMARY,
        "case": name,
        "made": made,
        "failed": reason,
        "picture": "",
        **dict.fromkeys(_NUMBERS),
        "cut": [],
        "scan_doubts": [],
        "organ_doubts": [],
    }


def of_page(head: bytes) -> dict[str, Any] | None:
    """That of a page, by its first bytes; None where it is no page of this program.

    Pages may have been changed since: what is of another kind than it should be is left out.
    """
    found = _ELEMENT.search(head)
    try:
        summary = json.loads(found.group(1)) if found else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(summary, dict) or summary.get("schema") != SUMMARY:
        return None
    checked: dict[str, Any] = {key: _text(summary.get(key)) for key in _TEXTS}
    checked |= {key: _number(summary.get(key)) for key in _NUMBERS}
    picture = summary.get("picture")
    checked["picture"] = picture if isinstance(picture, str) and _PICTURE.fullmatch(picture) else ""
    for key in ("scan_doubts", "organ_doubts", "cut"):
        said = summary.get(key)
        checked[key] = [_text(words) for words in said] if isinstance(said, list) else []
    return checked


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    # An int may be too large for a float; true is an int.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 1e15 and math.isfinite(value) else None
