"""Decisions made by eye on single cases and organs, kept in a small CSV beside the code.

Columns: name, class (label value; empty for the whole case), decision, source, reason.
Decisions about an organ: ``drop`` (unannotated), ``absent`` (annotated, and the patient has none),
``trust`` (take ``source``'s label unchecked). About a whole case: ``validation``, ``exclude`` (left
out of the data set) and ``noncommercial`` (its licence, named in ``reason``, forbids commercial
use; ``fuse --commercial`` leaves it out).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.labels import NAMES
from training.data.case import Case, DatasetError
from training.data.index import keep_patients_together
from training.data.table import read_table

COLUMNS = ("name", "class", "decision", "source", "reason")
PER_CLASS = ("drop", "absent", "trust")
PER_CASE = ("validation", "exclude", "noncommercial")


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
        left_out: name of each case that is no part of the data set -> the reason.
        noncommercial: name of each case whose licence forbids commercial use -> the licence.
    """

    organs: dict[tuple[str, int], Override]
    validation: frozenset[str]
    left_out: dict[str, str] = field(default_factory=dict)
    noncommercial: dict[str, str] = field(default_factory=dict)

    def kept(
        self, cases: Iterable[Case], commercial: bool = False
    ) -> tuple[list[Case], dict[str, str]]:
        """The cases that are part of the data set, and why the others are not, by name.

        Args:
            cases: all there are.
            commercial: leave out those whose licence forbids commercial use.
        """
        out = {name: f"excluded: {reason}" for name, reason in self.left_out.items()}
        if commercial:
            out |= {name: f"licence: {text}" for name, text in self.noncommercial.items()}
        kept, reasons = [], {}
        for case in cases:
            if case.name in out:
                reasons[case.name] = out[case.name]
            else:
                kept.append(case)
        return kept, reasons

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
    cases: dict[str, dict[str, str]] = {decision: {} for decision in PER_CASE}
    for number, row in enumerate(read_table(path, COLUMNS, "name a table of decisions"), start=2):
        decision, value = row["decision"], row["class"]
        if decision in PER_CASE and not value:
            cases[decision][row["name"]] = row["reason"]
        elif decision in PER_CLASS and value.isdigit() and int(value) in NAMES:
            entry = Override(decision, row["source"], row["reason"])
            organs[row["name"], int(value)] = entry
        else:
            raise DatasetError(
                f"{path}, line {number}",
                f"decision {decision!r} for class {value!r}",
                f"use {', '.join(PER_CLASS)} with a class, or {', '.join(PER_CASE)} without one",
            )
    return Overrides(
        organs, frozenset(cases["validation"]), cases["exclude"], cases["noncommercial"]
    )
