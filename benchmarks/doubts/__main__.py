"""Do the doubts catch bad labels, and leave good ones alone?

    python -m benchmarks.doubts collect --data FUSED --out EVIDENCE.jsonl [--cases CASE...]
    python -m benchmarks.doubts table EVIDENCE.jsonl
    python -m benchmarks.doubts labelled IMAGES=LABELS [IMAGES=LABELS...]

``collect`` segments validation scans as they are, degraded in twenty ways, after organs were taken
away, and as wrong inputs (mirrored, upside down, wrong spacing or values, no abdomen), and writes
for each what the doubts go by, and each organ's DSC; it goes on where it was stopped. ``table``
judges that anew, whatever the limits are by now: at several thresholds, how many organs with a DSC
below 0.7 are flagged and how many others are, and organ by organ at the threshold in use.
``labelled`` runs no network: it judges label maps of folders (NAME_0000.nii.gz, NAME.nii.gz), as
they are and mirrored, and prints the contrast phases.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.no_abdomen import head, legs
from benchmarks.quality.absent import REMOVABLE, without
from benchmarks.quality.degrade import Degradation, degradations, more_degradations
from benchmarks.quality.scan import Scan, named_scans, read_scan, validation_scans
from inference.errors import AbdoboxError
from inference.findings.doubts import THRESHOLD, Doubts, judged
from inference.findings.extents import Extent
from inference.findings.hounsfield import Hounsfield
from inference.findings.look import Look
from inference.findings.presence import CutOff, Present
from inference.grid import Grid
from inference.labels import NAMES, ORGANS
from inference.scan.volume import Volume
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from inference.steps.organs import Evidence

BAD_DSC = 0.7
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def wrong_inputs() -> dict[str, Degradation]:
    """Scans that say something else than they hold."""
    return {
        "mirrored": lambda scan: flipped(scan, 2),
        "front to back": lambda scan: flipped(scan, 1),
        "upside down": lambda scan: flipped(scan, 0),
        "slices of a third": lambda scan: spaced(scan, 1 / 3, 1.0),
        "slices of threefold": lambda scan: spaced(scan, 3.0, 1.0),
        "pixels of half": lambda scan: spaced(scan, 1.0, 0.5),
        "values of 0 to 1": lambda scan: valued(scan, 1 / 2000, 0.5),
        "values 1024 too high": lambda scan: valued(scan, 1.0, 1024.0),
        "chest only": chest,
    }


def flipped(scan: Scan, axis: int) -> Scan:
    """Stored the other way round along an axis (z, y, x), as a wrong header has it."""
    voxels, labels = (
        np.ascontiguousarray(np.flip(a, axis)) for a in (scan.voxels_ZYX, scan.labels_ZYX)
    )
    return replace(scan, voxels_ZYX=voxels, labels_ZYX=labels)


def spaced(scan: Scan, z_factor: float, in_plane: float) -> Scan:
    """With another spacing in the header."""
    z, y, x = scan.spacing
    return replace(scan, spacing=(z_factor * z, in_plane * y, in_plane * x))


def valued(scan: Scan, slope: float, intercept: float) -> Scan:
    """HU that went through another rescaling."""
    voxels = scan.voxels_ZYX.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return replace(scan, voxels_ZYX=voxels if slope < 1 else np.rint(voxels).astype(np.int16))


def chest(scan: Scan) -> Scan:
    """What lies above the lower fifth of the liver's height, counted from its top."""
    shown = np.flatnonzero((scan.labels_ZYX == 1).any(axis=(1, 2)))
    first = int(shown[0] + 0.8 * (shown[-1] - shown[0]))
    first = min(first, len(scan.labels_ZYX) - 8)
    return replace(scan, voxels_ZYX=scan.voxels_ZYX[first:], labels_ZYX=scan.labels_ZYX[first:])


def removals() -> dict[str, Degradation]:
    """Organs taken away, one at a time."""
    return {f"without {NAMES[organ]}": _removal(organ) for organ in REMOVABLE}


def _removal(organ: int) -> Degradation:
    return lambda scan: without(scan, organ)


GROUPS = {
    "as they are": lambda: {"as it is": degradations()["as it is"]},
    "organs removed": removals,
    "wrong inputs": wrong_inputs,
    "degraded": lambda: {
        name: change
        for name, change in (degradations() | more_degradations()).items()
        if name != "as it is"
    },
}


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
            _by_label(seen["agreement"]), _by_label(seen["found_ml"]), tuple(seen["clipped"])
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


def run_of(segmenter: Segmenter, scan: Scan, group: str, variant: str) -> Run:
    """Segment a scan and look at it."""
    result = segmenter.segment(scan.volume)
    scores = {label: dsc for label, (dsc, _) in scan.score(result.labels).items()}
    return _run(result, scan.name, group, variant, scores, scan.annotated)


def _run(
    result: Segmentation,
    scan: str,
    group: str,
    variant: str,
    dsc: dict[int, float],
    annotated: Sequence[int],
) -> Run:
    look = Look.at(result.labels, result.image, result.grid, result.evidence)
    dsc = {label: round(float(one), 4) for label, one in dsc.items() if label in ORGANS}
    organs = tuple(label for label in annotated if label in ORGANS)
    empty = not result.labels.any()
    return Run(scan, group, variant, look, dsc, result.warnings, empty, organs)


def collected(
    segmenter: Segmenter, scans: Sequence[Scan], done: set[tuple[str, str]]
) -> Iterator[Run]:
    """Every scan in every way, but for what is done; the most telling first."""
    for group, ways in GROUPS.items():
        for variant, change in ways().items():
            for scan in scans:
                if (scan.name, variant) in done:
                    continue
                try:
                    changed = change(scan)
                    yield run_of(segmenter, changed, group, variant)
                except (ValueError, IndexError) as error:  # there is no such organ to remove
                    print(f"{scan.name}, {variant}: left out ({error})", file=sys.stderr)
                except AbdoboxError as error:
                    print(f"{scan.name}, {variant}: refused ({error})", file=sys.stderr)
    others: dict[str, Volume] = {"head": head(), "legs": legs()}
    for name, volume in others.items():
        if (name, name) not in done:
            yield _run(segmenter.segment(volume), name, "wrong inputs", name, {}, ())


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


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doubts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    collect = commands.add_parser("collect")
    collect.add_argument("--data", type=Path, required=True, help="written by fuse")
    collect.add_argument("--out", type=Path, required=True, metavar="EVIDENCE.jsonl")
    collect.add_argument("--cases", nargs="+", metavar="CASE", help="default: all for validation")
    collect.add_argument("--model")
    collect.add_argument("--device", default="cpu")
    table = commands.add_parser("table")
    table.add_argument("evidence", type=Path, metavar="EVIDENCE.jsonl")
    table.add_argument("--details", action="store_true", help="each miss and each false alarm")
    maps = commands.add_parser("labelled")
    maps.add_argument("folders", type=_folders, nargs="+", metavar="IMAGES=LABELS")
    options = parser.parse_args(argv)
    if options.command == "labelled":
        print(labelled(options.folders), end="")
        return 0
    if options.command == "table":
        runs = [Run.of_json(line) for line in options.evidence.read_text().splitlines()]
        print(tables(runs), end="")
        if options.details:
            print("\n".join(details(runs)))
        return 0
    return _collect(options)


def _folders(text: str) -> tuple[Path, Path]:
    images, _, labels = text.partition("=")
    if not labels:
        raise argparse.ArgumentTypeError("is not IMAGES=LABELS")
    return Path(images), Path(labels)


def _collect(options: argparse.Namespace) -> int:
    try:
        segmenter = Segmenter.load(device=options.device, model=options.model)
        named = named_scans(options.data, options.cases) if options.cases else None
        scans = list(named or validation_scans(options.data))
        options.out.parent.mkdir(parents=True, exist_ok=True)
        before = options.out.read_text().splitlines() if options.out.exists() else []
        done = {(run.scan, run.variant) for run in map(Run.of_json, before)}
        with options.out.open("a", encoding="utf-8") as file:
            for run in collected(segmenter, scans, done):
                file.write(run.json() + "\n")
                file.flush()
                print(f"{run.scan}, {run.variant}", file=sys.stderr)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
