"""Do two comparisons agree? Their ratios to the first tool, case by case, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.versus.table import ratio, rows

TOLERANCE = 0.1
_KINDS = {"wall s": "wall", "tree PSS GiB": "memory"}


@dataclass(frozen=True)
class Pair:
    """One ratio in two comparisons.

    Attributes:
        case, tool, kind: of what to the first tool; ``wall`` or ``memory``.
        first, second: the ratio in either.
    """

    case: str
    tool: str
    kind: str
    first: float
    second: float

    @property
    def deviation(self) -> float:
        """How much larger the larger one is, as a share of the smaller."""
        return max(self.first, self.second) / min(self.first, self.second) - 1


def pairs(one: dict[str, Any], other: dict[str, Any]) -> list[Pair]:
    """Every ratio that both documents of ``versus run`` hold.

    Raises:
        ValueError: they share none, or measured different models or devices.
    """
    for key in ("device", "model", "weights"):
        values = {run.get(key) for document in (one, other) for run in document["runs"]}
        if len(values) > 1:
            raise ValueError(f"the files differ in {key}: {', '.join(sorted(map(str, values)))}")
    found = []
    for case in dict.fromkeys(run["case"] for run in one["runs"]):
        tables = [rows(document["runs"], case) for document in (one, other)]
        reference = next(iter(tables[0]))
        for tool in list(tables[0])[1:]:
            for column, kind in _KINDS.items():
                values = [
                    ratio(table.get(tool, {}).get(column), table.get(reference, {}).get(column))
                    for table in tables
                ]
                if values[0] is not None and values[1] is not None:
                    found.append(Pair(case, tool, kind, values[0], values[1]))
    if not found:
        raise ValueError("the files have no finished case with the same two tools in common")
    return found


def markdown(found: list[Pair]) -> str:
    """A row per ratio, and whether all agree within :data:`TOLERANCE`."""
    lines = [
        "| case | tool | what | first | second | deviation |",
        "|---|---|---|---|---|---|",
        *(
            f"| {p.case} | {p.tool} | {p.kind} | {p.first:.3g}x | {p.second:.3g}x "
            f"| {p.deviation:.1%} |"
            for p in found
        ),
    ]
    worst = max(found, key=lambda pair: pair.deviation)
    verdict = "agree" if agree(found) else "do not agree"
    lines += ["", f"The runs {verdict} within {TOLERANCE:.0%}: worst {worst.deviation:.1%} "
              f"({worst.case}, {worst.tool}, {worst.kind})."]  # fmt: skip
    return "\n".join(lines) + "\n"


def agree(found: list[Pair]) -> bool:
    """Whether every ratio deviates by :data:`TOLERANCE` at most."""
    return all(pair.deviation <= TOLERANCE for pair in found)
