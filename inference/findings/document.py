"""Statistics and doubts of a scan as JSON (docs/statistics.schema.json) and as rows of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .. import __version__
from ..grid import Grid
from ..labels import NAMES, TUMOR
from ..scan.names import shown
from ..types import Triple
from .doubts import THRESHOLD, Doubts
from .hounsfield import Hounsfield
from .lesions import Lesion
from .presence import CutOff, Presence, name
from .statistics import Region, Statistics

# Goes up where a reader of the former would be misled; new entries do not count.
SCHEMA = "abdobox-statistics-1"

_PLACES = tuple(
    f"{axis}_{what}_mm" for what in ("min", "max", "centroid") for axis in ("x", "y", "z")
)
_MEASURES = ("volume_ml", "mean_hu", "sd_hu", "p5_hu", "p50_hu", "p95_hu", *_PLACES)
# Columns of statistics.csv, and the entries of a structure in the JSON but for the first.
COLUMNS: tuple[str, ...] = (
    "case", "label", "name", "state", "faces", *_MEASURES, "pieces", "largest_piece_ml",
    "lesions", "longest_axial_mm", "score", "doubtful", "doubts",
)  # fmt: skip


def document(
    case: str,
    statistics: Statistics,
    doubts: Doubts,
    grid: Grid,
    model: Mapping[str, str],
    labels: Iterable[int] = tuple(NAMES),
) -> dict[str, Any]:
    """JSON values.

    Args:
        case: its name.
        statistics, doubts: of its labels.
        grid: of the scan.
        model: name, version and sha256.
        labels: those that are wanted.
    """
    wanted = tuple(labels)
    return {
        "schema": SCHEMA,
        "abdobox": __version__,
        "model": dict(model),
        "case": shown(case),
        "scan": {
            "shape_zyx": list(grid.shape),
            "spacing_zyx_mm": [_rounded(s, 6) for s in grid.spacing],
            "contrast_phase": doubts.phase,
            "doubts": list(doubts.scan),
        },
        "coordinates": "mm, LPS: x to the patient's left, y to the back, z to the head",
        "doubtful_below": THRESHOLD,
        "structures": [_structure(label, statistics, doubts) for label in wanted],
        "lesions": [_lesion(one) for one in statistics.lesions] if TUMOR in wanted else [],
    }


def _structure(label: int, statistics: Statistics, doubts: Doubts) -> dict[str, Any]:
    judgement = doubts.organs.get(label)
    diameters = [one.longest_axial_mm for one in statistics.lesions]
    of_tumor = label == TUMOR
    return {
        "label": label,
        "name": NAMES[label],
        **_state(statistics.states[label]),
        **_measures(statistics.regions[label]),
        "lesions": len(diameters) if of_tumor else None,
        "longest_axial_mm": _rounded(max(diameters), 2) if of_tumor and diameters else None,
        "score": judgement.score if judgement else None,
        "doubtful": judgement.doubtful if judgement else None,
        "doubts": list(judgement.reasons) if judgement else [],
    }


def _state(state: Presence) -> dict[str, Any]:
    return {"state": name(state), "faces": list(state.faces) if isinstance(state, CutOff) else []}


def _measures(region: Region | None) -> dict[str, Any]:
    if region is None:
        return {**dict.fromkeys(_MEASURES), "pieces": 0, "largest_piece_ml": None}
    places = (*region.low_mm, *region.high_mm, *region.centroid_mm)
    values = (_millilitres(region.ml), *_hounsfield(region.hu), *(_rounded(p, 2) for p in places))
    return {
        **dict(zip(_MEASURES, values, strict=True)),
        "pieces": region.pieces,
        "largest_piece_ml": _millilitres(region.largest_ml),
    }


def _hounsfield(hu: Hounsfield) -> Iterator[float]:
    for value in (hu.mean, hu.sd, hu.p5, hu.p50, hu.p95):
        yield _rounded(value, 2)


def _lesion(lesion: Lesion) -> dict[str, Any]:
    def point(place: Triple) -> list[float]:
        return [_rounded(part, 2) for part in place]

    return {
        **_state(lesion.state),
        "volume_ml": _millilitres(lesion.ml),
        "longest_axial_mm": _rounded(lesion.longest_axial_mm, 2),
        "longest_axial_ends_xyz_mm": [point(end) for end in lesion.ends_mm],
        "centroid_xyz_mm": point(lesion.centroid_mm),
        "host": None if lesion.host is None else NAMES[lesion.host],
        "host_share": _rounded(lesion.host_share, 3),
    }


def _rounded(value: float, digits: int) -> float:
    """JSON knows neither infinity nor NaN; -0.0 would read as another number."""
    if not math.isfinite(value):
        raise ValueError(f"{value} in statistics")
    return round(value, digits) + 0.0


def _millilitres(value: float) -> float:
    """To 0.0001 ml, but never to 0: even one small voxel that is there has a volume."""
    return _rounded(value, 4) or float(f"{value:.2g}")


def rows(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row of :data:`COLUMNS` for each structure; lists are joined, what is unknown is empty."""
    for structure in document["structures"]:
        row = {"case": document["case"], **structure}
        row["faces"] = " ".join(structure["faces"])
        row["doubts"] = "; ".join(structure["doubts"])
        row["doubtful"] = {None: None, True: "yes", False: "no"}[structure["doubtful"]]
        yield {column: "" if row[column] is None else row[column] for column in COLUMNS}
