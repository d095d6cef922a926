"""The chosen label maps of a case become one, and the scan is looked at before it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.errors import AbdoboxError
from inference.labels import TUMOR
from inference.scan.volume import LabelMap, read_volume, write_labels
from training.data.case import DRAWN, SUFFIX, Case
from training.data.hounsfield import scale_problem
from training.fusion.agreement import GROUND_TRUTH, Choice, Judgement, read_flare_labels
from training.fusion.plausibility import clean

LIVER, CAVA = 1, 6


@dataclass
class Merged:
    """What has become of the chosen cases.

    Attributes:
        written: those whose labels are there.
        rejected: name -> why a case is left out after all.
        notes: oddities of files that were accepted, a line each.
    """

    written: list[Judgement] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def used_maps(case: Case, choices: Mapping[int, Choice]) -> dict[str, LabelMap]:
    """The label maps that the choices take from, by source; one at least, for its grid.

    Raises:
        AbdoboxError: one cannot be read.
    """
    wanted = {choice.source for choice in choices.values()}
    used = [source for source in case.labels if source in wanted] or list(case.labels)[:1]
    return {source: read_flare_labels(case.labels[source]) for source in used}


def merge(
    files: Mapping[str, LabelMap], choices: Mapping[int, Choice], per_class: bool
) -> npt.NDArray[np.uint8]:
    """One label map on the image's grid, in the file's axis order.

    Pseudo-labels are laid down first, then ground-truth organs, then the tumour, so that what
    people drew wins. Voxels of unannotated classes are 0, which means nothing for those classes.

    Args:
        files: of :func:`used_maps`.
        choices: for each label value the source; sources that the case lacks add nothing.
        per_class: organ by organ, keep only the main pieces of pseudo-labels, and give the vena
            cava back what a drawn liver has swallowed (LiTS's experts drew over its stretch in the
            liver, and a network cannot learn the cava from scans that call it liver).
    """
    filled = [v for v, c in choices.items() if c.rule != GROUND_TRUTH]
    drawn = [v for v, c in choices.items() if c.rule == GROUND_TRUTH and v != TUMOR]
    maps = {
        source: clean(found.labels_ZYX, tuple(v for v in filled if choices[v].source == source))
        if per_class and source not in DRAWN
        else found.labels_ZYX
        for source, found in files.items()
    }
    out = np.zeros_like(next(iter(maps.values())))
    for value in (*filled, *drawn):
        source = choices[value].source
        if source is not None and source in maps:
            out[maps[source] == value] = value
    source = choices[CAVA].source if CAVA in filled else None
    if per_class and LIVER in drawn and source is not None and source in maps:
        out[(maps[source] == CAVA) & (out == LIVER)] = CAVA
    source = choices[TUMOR].source
    if source is not None and source in maps:
        out[maps[source] == TUMOR] = TUMOR
    return out


def write_merged(judgements: Iterable[Judgement], folder: Path, per_class: bool) -> Merged:
    """Write ``NAME.nii.gz`` per case, unless its files are damaged or its scan is not in HU."""
    merged = Merged()
    for judgement in judgements:
        case = judgement.case
        try:
            # Also a check of the voxels: a truncated file has a sound header.
            volume = read_volume(case.image)
            files = used_maps(case, judgement.choices)
            labels = merge(files, judgement.choices, per_class)
        except AbdoboxError as error:
            merged.rejected[case.name] = str(error)
            continue
        if problem := scale_problem(volume.voxels_ZYX, labels):
            merged.rejected[case.name] = f"{case.image}: {problem}; store it as HU"
            continue
        merged.notes += [f"{case.image}: {warning}" for warning in volume.warnings]
        merged.notes += [
            f"{case.labels[source]}: {warning}"
            for source, found in files.items()
            for warning in found.warnings
        ]
        write_labels(folder / f"{case.name}{SUFFIX}", labels, volume.header)
        merged.written.append(judgement)
    return merged
