"""Which source each class of a case is taken from: agreement of teachers, plausibility, or by eye.

A *teacher* is a pseudo-label source. The first teacher fills the classes that no person drew; the
others only confirm it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.grid import Orientation
from inference.labels import NAMES, ORGANS, TUMOR
from inference.scan.volume import LabelMap, read_label_map
from inference.types import Labels, Triple
from training.data.case import DRAWN, Case, Classes, DatasetError
from training.data.overrides import NO_OVERRIDES, Override, Overrides
from training.fusion.plausibility import doubts

GROUND_TRUTH = "ground truth"
BY_EYE = "by eye"


@dataclass(frozen=True)
class Settings:
    """How label sets are judged.

    Attributes:
        per_class: decide organ by organ instead of case by case.
        teachers: pseudo-label sources; the first fills, the others confirm it.
        threshold: DSC above which two teachers agree.
    """

    per_class: bool
    teachers: tuple[str, ...]
    threshold: float = 0.85


@dataclass(frozen=True)
class Choice:
    """Where one class of one case comes from.

    Attributes:
        source: the label set, or None where the class stays unannotated.
        rule: why, in words.
        dice: DSC of the filling teacher with the one that agrees best, NaN where not comparable.
    """

    source: str | None
    rule: str
    dice: float = float("nan")


@dataclass(frozen=True)
class Judgement:
    """What was decided about one case.

    Attributes:
        agreement: mean DSC of the first two teachers over the classes that both annotate and at
            least one of them shows; NaN where there is none.
        choices: label value -> choice, for all 14 classes.
    """

    case: Case
    agreement: float
    choices: Mapping[int, Choice]

    @property
    def annotated(self) -> Classes:
        """Classes of which both presence and absence are known."""
        return tuple(v for v, choice in self.choices.items() if choice.source is not None)

    @property
    def partial(self) -> bool:
        """Whether people annotated at least one class (a partially labelled case)."""
        return any(choice.rule == GROUND_TRUTH for choice in self.choices.values())


def read_flare_labels(path: Path) -> LabelMap:
    """A label map (z, y, x) in the file's axis order, its grid, and what is odd about it.

    Raises:
        AbdoboxError: the file cannot be read or holds values beyond FLARE's.
    """
    found = read_label_map(path)
    highest = found.labels_ZYX.max()
    if highest > TUMOR:
        raise DatasetError(path, f"holds the value {highest}", "map it to FLARE's 0..14")
    return found


def dice_per_class(a: Labels, b: Labels) -> npt.NDArray[np.float64]:
    """DSC of each label value 0..14 of two maps of one shape; NaN where neither shows it."""
    size = TUMOR + 1
    joint = np.bincount(a.ravel() * np.uint8(size) + b.ravel(), minlength=size * size)
    joint = joint.reshape(size, size)
    total = (joint.sum(0) + joint.sum(1)).astype(float)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, 2 * joint.diagonal() / total, np.nan)


def judge(case: Case, settings: Settings, overrides: Overrides = NO_OVERRIDES) -> Judgement:
    """Decide where each class of a case comes from. Reads the teachers' label maps.

    Raises:
        AbdoboxError: a label map cannot be read, or a teacher that the mode needs is missing.
    """
    teachers = [source for source in settings.teachers if source in case.labels]
    needed = 1 if settings.per_class else 2
    if len(teachers) < needed:
        raise DatasetError(case.name, f"has {len(teachers)} pseudo-label sets", f"give {needed}")
    files = {source: read_flare_labels(case.labels[source]) for source in teachers}
    filler, grid = files[teachers[0]].labels_ZYX, files[teachers[0]].grid
    dice = {s: dice_per_class(filler, files[s].labels_ZYX) for s in teachers[1:]}
    choices = {value: Choice(None, "no source") for value in NAMES}
    for value in ORGANS:
        if value in case.annotated[teachers[0]]:
            compared = [dice[s][value] for s in teachers[1:] if value in case.annotated[s]]
            choices[value] = Choice(teachers[0], "pseudo-label", _highest(compared))
    if settings.per_class:
        orientation = Orientation.of(grid.direction)
        spacing = orientation.canonical(grid).spacing
        confirmed = {v for v in ORGANS if any(v in case.annotated[s] for s in teachers[1:])}
        choices = _per_class(choices, orientation.apply(filler), spacing, confirmed, settings)
    for source in (s for s in case.labels if s in DRAWN):
        for value in case.annotated[source]:
            choices[value] = Choice(source, GROUND_TRUTH, choices[value].dice)
    for value, choice in choices.items():
        if override := overrides.organs.get((case.name, value)):
            choices[value] = _overridden(override, choice)
    return Judgement(case, _agreement(case, teachers, dice), choices)


def _per_class(
    choices: Mapping[int, Choice],
    filler_ZYX: Labels,
    spacing: Triple,
    compared: set[int],
    settings: Settings,
) -> dict[int, Choice]:
    """Teachers agree, or, where the filler is alone, the organ is plausible.

    Args:
        filler_ZYX: the filler's labels in canonical axis order; ``spacing`` (z, y, x) in mm.
        compared: classes for which a second teacher has an opinion.
    """
    alone = tuple(v for v, c in choices.items() if c.source and v not in compared)
    reasons = doubts(filler_ZYX, spacing, alone)
    out = dict(choices)
    for value, choice in choices.items():
        if choice.source is None:
            continue
        if value in alone:
            reason = reasons.get(value)
            rule = f"implausible: {reason}" if reason else "plausible"
            out[value] = Choice(None if reason else choice.source, rule)
        elif np.isnan(choice.dice):
            out[value] = Choice(choice.source, "teachers agree: absent")
        else:
            agreed = choice.dice > settings.threshold
            rule = "teachers agree" if agreed else "teachers disagree"
            out[value] = Choice(choice.source if agreed else None, rule, choice.dice)
    return out


def _overridden(override: Override, before: Choice) -> Choice:
    source = {"drop": None, "absent": BY_EYE, "trust": override.source}[override.decision]
    return Choice(source, f"{BY_EYE}: {override.reason}", before.dice)


def _agreement(
    case: Case, teachers: list[str], dice: Mapping[str, npt.NDArray[np.float64]]
) -> float:
    if len(teachers) < 2:
        return float("nan")
    first, second = teachers[:2]
    shared = [v for v in case.annotated[first] if v in case.annotated[second]]
    values = dice[second][shared]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _highest(values: list[float]) -> float:
    known = [float(value) for value in values if not np.isnan(value)]
    return max(known, default=float("nan"))
