"""``--info``: what this box is, as JSON, without any library beyond Python's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import __version__
from ..labels import STRUCTURES, Code
from ..model.folder import WEIGHTS
from ..scan.formats import SUFFIXES as FORMATS
from ..scan.names import DICOM_SUFFIXES, SUFFIXES

SCHEMA = "abdobox-info-1"
# As far as they are there: what a caller may want to know before it chooses a model.
_OF_MODEL = ("version", "sha256", "spacing_mm", "patch", "decode", "licence", "error")


def text() -> str:
    """The JSON document of docs/info.schema.json."""
    return json.dumps(document(), indent=1)


def document() -> dict[str, Any]:
    """Its values."""
    return {
        "schema": SCHEMA,
        "abdobox": __version__,
        "models": [*_models(WEIGHTS)],
        "labels": [
            {
                "value": value,
                "name": one.name,
                "rgb": list(one.rgb),
                "category": _code(one.category),
                "type": _code(one.type),
                "modifier": _code(one.modifier),
            }
            for value, one in STRUCTURES.items()
        ],
        "formats_in": [*SUFFIXES, *DICOM_SUFFIXES],
        "formats_out": [*FORMATS],
    }


def _code(code: Code | None) -> dict[str, str] | None:
    if code is None:
        return None
    return {"scheme": code.scheme, "value": code.value, "meaning": code.meaning}


def _models(weights: Path) -> Iterator[dict[str, Any]]:
    """What each model's model.json says of it; the weights themselves are not looked at."""
    try:
        default = (weights / "default").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        default = ""
    for path in sorted(weights.glob("*/model.json")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            said = {"error": str(error)}
        known = {key: said[key] for key in _OF_MODEL if key in said}
        # As --model takes it: the folder's.
        yield {**known, "name": path.parent.name, "default": path.parent.name == default}
