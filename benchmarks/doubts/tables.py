"""What the doubts catch of bad organs, and what they say of good ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.doubts.collecting import GROUPS
from benchmarks.doubts.runs import Run
from benchmarks.quality.scan import Scan, read_scan
from benchmarks.quality.wrong_inputs import flipped
from inference.findings.doubts import THRESHOLD, Doubts, judged
from inference.findings.look import Look
from inference.labels import NAMES, ORGANS
from inference.steps.organs import Evidence

BAD_DSC = 0.7
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def counts(runs: Sequence[Run], threshold: float, organ: int | None = None) -> tuple[int, ...]:
    """(bad, bad and flagged, good, good and flagged) organs.

    Bad: a DSC below 0.7, drawn or missed. An organ of a scan that was left empty with a warning
    counts as flagged.
    """
    bad = bad_flagged = good = good_flagged = 0
    for run in runs:
        judgements = judged(run.look).organs
        for label in run.annotated:
            if organ not in (None, label):
                continue
            dsc = run.dsc.get(label, 1.0)
            told = run.empty and any("abdomen" in warning for warning in run.warnings)
            flagged = told or (label in judgements and judgements[label].score < threshold)
            if dsc < BAD_DSC:
                bad, bad_flagged = bad + 1, bad_flagged + flagged
            else:
                good, good_flagged = good + 1, good_flagged + flagged
    return bad, bad_flagged, good, good_flagged


def tables(runs: Sequence[Run]) -> str:
    """Markdown: by threshold, by organ, by kind of scan; and what is said of wrong inputs."""
    text = "| threshold | caught | false alarms |\n|---|---|---|\n"
    for threshold in THRESHOLDS:
        text += f"| {threshold} | {_shares(counts(runs, threshold))} |\n"
    text += "\n| organ | caught | false alarms |\n|---|---|---|\n"
    for organ in ORGANS:
        text += f"| {NAMES[organ]} | {_shares(counts(runs, THRESHOLD, organ))} |\n"
    text += "\n| scans | runs | caught | false alarms |\n|---|---|---|---|\n"
    for group in GROUPS:
        some = [run for run in runs if run.group == group]
        text += f"| {group} | {len(some)} | {_shares(counts(some, THRESHOLD))} |\n"
    text += "\n| input | said aloud of the scan | of how many |\n|---|---|---|\n"
    for variant in dict.fromkeys(run.variant for run in runs if run.group == "wrong inputs"):
        some = [run for run in runs if run.variant == variant]
        aloud = sum(bool(run.warnings or judged(run.look).scan) for run in some)
        text += f"| {variant} | {aloud} | {len(some)} |\n"
    return text


def _shares(counted: tuple[int, ...]) -> str:
    bad, caught, good, wrongly = counted
    return " | ".join(
        f"{part} of {whole}" + (f" ({part / whole:.0%})" if whole else "")
        for part, whole in ((caught, bad), (wrongly, good))
    )


def labelled(folders: Sequence[tuple[Path, Path]]) -> str:
    """Markdown: what is doubted about label maps of scans, and about their mirror images."""
    text = "| scan | phase | liver-like, right : left | doubted | mirrored, of the scan |\n"
    text += "|---|---|---|---|---|\n"
    for images, labels in folders:
        for image in sorted(images.glob("*_0000.nii.gz")):
            label = labels / image.name.replace("_0000", "")
            if not label.exists():
                continue
            scan = read_scan(label.name.removesuffix(".nii.gz"), image, label, ())
            look, mirrored = _look(scan), _look(flipped(scan, 2))
            right, left = look.liver_like_ml
            said = judged(look)
            text += (
                f"| {scan.name} | {said.phase} | {right / max(left, 1):.2f} | "
                f"{'; '.join(said.lines())} | {'; '.join(judged(mirrored).scan)} |\n"
            )
    return text


def _look(scan: Scan) -> Look:
    volume = scan.volume
    return Look.at(scan.labels_ZYX, volume.voxels_ZYX, volume.grid, Evidence())


def details(runs: Sequence[Run]) -> Iterator[str]:
    """What is missed and what is flagged wrongly, and all that is said of scans as they are."""
    for run in runs:
        doubts: Doubts = judged(run.look)
        for label in run.annotated:
            dsc = run.dsc.get(label, 1.0)
            judgement = doubts.organs.get(label)
            score = judgement.score if judgement else 1.0
            if (dsc < BAD_DSC) != (score < THRESHOLD):
                kind = "missed" if dsc < BAD_DSC else "false alarm"
                why = judgement.reasons if judgement else ()
                agreed = run.look.evidence.agreement.get(label, -1)
                yield (
                    f"{kind}: {run.scan}, {run.variant}: {NAMES[label]} DSC {dsc:.2f}, score "
                    f"{score:.2f}, agreement {agreed:.2f} {why}"
                )
        if run.group == "wrong inputs" or doubts.scan:
            yield f"said: {run.scan}, {run.variant}: {run.warnings} {doubts.scan}"
