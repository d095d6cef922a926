"""One's own scans for fine-tuning: split by patient, and what nobody drew filled by a model.

What people drew anywhere in the data is learnt from people alone: the model is not asked about a
class that it is to be corrected in. Its labels of the other organs are taken where they are
anatomically plausible (:mod:`training.fusion.plausibility`), and of tumours never. Validation scans
hold what people drew and nothing else.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from inference.errors import one_line
from inference.labels import ORGANS
from training.data.case import DRAWN, SUFFIX, Case, Classes, DatasetError
from training.data.folders import make_folder
from training.data.index import build_index
from training.data.overrides import NO_OVERRIDES
from training.data.table import write_annotated_table
from training.fusion.agreement import Judgement, Settings
from training.fusion.fuse import judge_all, write_cases
from training.fusion.merge import write_merged
from training.fusion.report import write_report

TEACHER = "model"
# One patient in five is validated on, and no more than that: it takes time twice.
VALIDATED, MOST_VALIDATED = 0.2, 10


def own_cases(folder: Path, seen: Collection[str]) -> list[Case]:
    """The cases of a folder with what people drew on them, split by patient.

    A split that the folder's table makes stays.

    Args:
        folder: in a layout of :func:`training.data.index.build_index`.
        seen: names of scans that must not be validated on, as the model was trained on them.

    Raises:
        DatasetError: the folder has no known layout, or fewer than two patients with label maps.
    """
    index = build_index([folder])
    for note in index.notes:
        print(one_line(f"warning: {note}"), file=sys.stderr)
    for name, reason in index.rejected.items():
        print(one_line(f"left out {name}: {reason}"), file=sys.stderr)
    cases = [_drawn(case) for case in index.cases]
    if not any(case.split == "validation" for case in cases):
        chosen = _validation_patients(folder, cases, seen)
        cases = [
            replace(case, split="validation") if case.patient in chosen else case for case in cases
        ]
    # Nothing can be scored on a validation scan without label maps.
    return [case for case in cases if case.split == "train" or case.labels]


def fuse_own(cases: Sequence[Case], model: Path, out: Path, device: str, workers: int) -> None:
    """Write a data set as ``fuse`` does, taught by a model where nobody drew.

    Args:
        cases: of :func:`own_cases`.
        model: folder of the teacher.
        out: folder of the data set.
        device: that the teacher computes on.
        workers: processes.

    Raises:
        AbdoboxError: something cannot be written, or no case is left.
    """
    make_folder(out / "labels")
    train = [case for case in cases if case.split == "train"]
    drawn = {value for case in train for classes in case.annotated.values() for value in classes}
    asked = tuple(value for value in ORGANS if value not in drawn)
    taught = _taught(train, teach(train, model, out, device), asked) if asked else []
    names = {case.name for case in taught}
    others = [case for case in cases if case.name not in names]
    alone = [case for case in others if case.labels]
    settings = Settings(per_class=True, teachers=(TEACHER,))
    judgements, rejected = judge_all(taught, settings, NO_OVERRIDES, workers)
    more, unusable = judge_all(alone, replace(settings, teachers=DRAWN), NO_OVERRIDES, workers)
    kept = [j for j in (*judgements, *more) if j.annotated]
    rejected |= {
        j.case.name: "nobody drew on it, and none of the model's organs is plausible"
        for j in (*judgements, *more)
        if not j.annotated
    }
    # What people drew wins over whatever the model says, also about a neighbour.
    merged = write_merged(kept, out / "labels", per_class=False)
    rejected |= unusable | merged.rejected
    rejected |= {c.name: "has no labels, and the model gave none" for c in others if not c.labels}
    written: list[Judgement] = sorted(merged.written, key=lambda j: j.case.name)
    write_report(out, settings, [*judgements, *more], written, rejected, merged.notes)
    for name, reason in rejected.items():
        print(one_line(f"left out {name}: {reason}"), file=sys.stderr)
    if not written:
        raise DatasetError(out, "holds no usable case", "see the reasons above")
    write_annotated_table(out / "annotated_classes.csv", [j.case for j in written])
    write_cases(out / "cases.csv", written, out / "labels")


def teach(cases: Sequence[Case], model: Path, out: Path, device: str) -> Path:
    """Let a model label scans, as a user would; returns the folder of its labels.

    What it has labelled before is skipped. Scans that it cannot read are said by the command, and
    lack labels.
    """
    scans, labels = out / "scans", out / TEACHER
    make_folder(scans)
    for case in cases:
        suffix = case.image.name.lower().endswith(".gz")
        link = scans / f"{case.name}_0000{SUFFIX if suffix else '.nii'}"
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(case.image.resolve())
    words = ["-i", scans, "-o", labels, "--model", model.resolve(), "--device", device]
    command = [sys.executable, "-m", "inference", *map(str, words), "--skip-existing"]
    status = subprocess.run(command, check=False).returncode  # noqa: S603
    if status not in (0, 1):  # 1: some scan could not be labelled
        raise DatasetError(model, f"labelled no scans (status {status})", "see the reason above")
    return labels


def _taught(cases: Sequence[Case], labels: Path, asked: Classes) -> list[Case]:
    """The cases that the model has labelled, with the classes that it is asked about."""
    return [
        replace(
            case,
            labels={TEACHER: labels / f"{case.name}{SUFFIX}", **case.labels},
            annotated={TEACHER: asked, **case.annotated},
        )
        for case in cases
        if (labels / f"{case.name}{SUFFIX}").is_file()
    ]


def _drawn(case: Case) -> Case:
    """Without the label sets of other networks."""
    return replace(
        case,
        labels={source: path for source, path in case.labels.items() if source in DRAWN},
        annotated={s: classes for s, classes in case.annotated.items() if s in DRAWN},
    )


def _validation_patients(folder: Path, cases: Sequence[Case], seen: Collection[str]) -> set[str]:
    """Which patients to validate on: by a hash of their names, the same each time."""
    labelled = {case.patient for case in cases if any(case.annotated.values())}
    known = {case.patient for case in cases if case.name in seen}
    free = sorted(labelled - known, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if len(labelled) < 2 or not free:
        raise DatasetError(
            folder,
            f"has {len(labelled)} patients with label maps, {len(free)} of them new to the model",
            "give two at least, one of them new: one is trained on and one validated on",
        )
    wanted = min(max(1, round(VALIDATED * len(labelled))), MOST_VALIDATED, len(labelled) - 1)
    return {*free[:wanted]}
