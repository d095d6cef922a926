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
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.doubts.collecting import collected
from benchmarks.doubts.runs import Run
from benchmarks.doubts.tables import details, labelled, tables
from benchmarks.quality.scan import named_scans, validation_scans
from inference.errors import AbdoboxError
from inference.segmenter import Segmenter


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
