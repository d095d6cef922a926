"""One segmentation and what is known of it, as a line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from inference.findings.extents import Extent
from inference.findings.hounsfield import Hounsfield
from inference.findings.look import Look
from inference.findings.presence import CutOff, Present
from inference.grid import Grid
from inference.steps.organs import Evidence


@dataclass(frozen=True)
class Run:
    """One segmentation, and what is known of it.

    Attributes:
        scan, group, variant: which.
        look: what the doubts go by.
        dsc: by organ that reference or labels show.
        warnings: of the run.
        empty: no organ was drawn.
        annotated: organs that the reference knows of; where neither it nor the labels show one,
            there is no DSC and the labels are right.
    """

    scan: str
    group: str
    variant: str
    look: Look
    dsc: dict[int, float]
    warnings: tuple[str, ...]
    empty: bool
    annotated: tuple[int, ...]

    def json(self) -> str:
        """One line."""
        look = asdict(self.look)
        for label, extent in self.look.found.items():
            faces = extent.state.faces if isinstance(extent.state, CutOff) else ()
            look["found"][label]["state"] = faces
        return json.dumps({**asdict(replace(self, look=None)), "look": look})  # type: ignore

    @classmethod
    def of_json(cls, line: str) -> Run:
        """The inverse of :meth:`json`."""
        document = json.loads(line)
        look = document["look"]
        found = {}
        for label, values in look["found"].items():
            state = CutOff(tuple(values["state"])) if values["state"] else Present()
            places = {key: tuple(values[key]) for key in ("low", "high", "centroid")}
            found[int(label)] = Extent(**{**values, **places, "state": state})
        seen = look["evidence"]
        evidence = Evidence(
            _by_label(seen["agreement"]),
            _by_label(seen["found_ml"]),
            tuple(seen["clipped"]),
            _by_label(seen["left_out_ml"]),
        )
        hu = {int(label): Hounsfield(**values) for label, values in look["hu"].items()}
        grid = Grid(**{key: tuple(value) for key, value in look["grid"].items()})
        return cls(
            document["scan"],
            document["group"],
            document["variant"],
            Look(found, hu, grid, evidence, tuple(look["liver_like_ml"])),
            _by_label(document["dsc"]),
            tuple(document["warnings"]),
            document["empty"],
            tuple(document["annotated"]),
        )


def _by_label(values: dict[str, Any]) -> dict[int, float]:
    return {int(label): float(value) for label, value in values.items()}
