"""Decisions made by eye on single cases and organs, kept in a small CSV beside the code.

Columns: name, class (label value; empty for the whole case), decision, source, reason.
Decisions: ``drop`` (unannotated), ``absent`` (annotated, and the patient has none), ``trust``
(take ``source``'s label unchecked), ``validation`` (whole case).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from inference.labels import NAMES
from training.case import Case, DatasetError
from training.index import keep_patients_together
from training.table import read_table

COLUMNS = ("name", "class", "decision", "source", "reason")
PER_CLASS = ("drop", "absent", "trust")


@dataclass(frozen=True)
class Override:
    """One decision about one organ of one case; ``source`` is set for ``trust`` alone."""

    decision: str
    source: str
    reason: str


@dataclass(frozen=True)
class Overrides:
    """All decisions of one CSV.

    Attributes:
        organs: (case name, label value) -> decision.
        validation: names of cases that are held out.
    """

    organs: dict[tuple[str, int], Override]
    validation: frozenset[str]

    def apply_split(self, cases: Iterable[Case]) -> list[Case]:
        """The cases with the held-out ones, and all scans of their patients, in validation."""
        return keep_patients_together(
            [
                replace(case, split="validation") if case.name in self.validation else case
                for case in cases
            ]
        )


NO_OVERRIDES = Overrides({}, frozenset())


def read_overrides(path: Path) -> Overrides:
    """Read the CSV. Raises DatasetError, naming the row where one makes no sense."""
    organs: dict[tuple[str, int], Override] = {}
    validation: set[str] = set()
    for number, row in enumerate(read_table(path, COLUMNS, "name a table of decisions"), start=2):
        decision, value = row["decision"], row["class"]
        if decision == "validation" and not value:
            validation.add(row["name"])
        elif decision in PER_CLASS and value.isdigit() and int(value) in NAMES:
            entry = Override(decision, row["source"], row["reason"])
            organs[row["name"], int(value)] = entry
        else:
            raise DatasetError(
                f"{path}, line {number}",
                f"decision {decision!r} for class {value!r}",
                f"use {', '.join(PER_CLASS)} with a class, or validation without one",
            )
    return Overrides(organs, frozenset(validation))
