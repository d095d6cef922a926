"""How busy folder mode keeps the device: scans per minute against what the network alone allows.

    python -m benchmarks.folder --case X_0000.nii.gz [--model NAME] [--scans N]

The network alone: the warm network stage of the scan, read beforehand, with nothing beside it
(median of ``--runs``). Folder mode: ``python -m inference`` on a folder that holds the scan N
times, with the start of the process and without it (time of N scans less that of one, by N - 1).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import environment
from benchmarks.environment import ROOT, child
from benchmarks.models import HELP, chosen
from inference.segmenter import Segmenter
from inference.volume import read_volume

WORK = ROOT / "build" / "folder"
TARGET = 0.9


def network_alone(scan: Path, model: Path, device: str, runs: int) -> float:
    """Seconds of the warm networks, a crop's finder among them, undisturbed; median of ``runs``."""
    segmenter, volume = Segmenter.load(model, device), read_volume(scan)
    segmenter.segment(volume)
    runs_s = [segmenter.segment(volume).timings for _ in range(runs)]
    return median(s["network"] + s.get("organs network", 0.0) for s in runs_s)


def folder_run(scan: Path, model: Path, device: str, scans: int) -> float:
    """Wall seconds of ``python -m inference`` on a folder that holds the scan ``scans`` times."""
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "in").mkdir(parents=True)
    shutil.copyfile(scan, WORK / "scan.nii.gz")
    for i in range(scans):
        os.link(WORK / "scan.nii.gz", WORK / "in" / f"scan{i:04}_0000.nii.gz")
    command = [
        sys.executable, "-m", "inference", "--quiet", "-i", str(WORK / "in"),
        "-o", str(WORK / "out"), "--model", str(model), "--device", device,
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=child())
    return time.perf_counter() - start


def figures(scans: int, whole_s: float, one_s: float, network_s: float) -> dict[str, float]:
    """Scans per minute and the share of what the network alone allows.

    Args:
        scans: in the folder, at least 2.
        whole_s: wall seconds of the process for all of them.
        one_s: the same for one scan.
        network_s: of the network stage alone, per scan.
    """
    each = (whole_s - one_s) / (scans - 1)
    return {
        "network_alone_s": network_s,
        "allowed_per_minute": 60 / network_s,
        "whole_per_minute": 60 * scans / whole_s,
        "whole_share": network_s * scans / whole_s,
        "steady_per_minute": 60 / each,
        "steady_share": network_s / each,
    }


def markdown(document: dict[str, Any]) -> str:
    """The figures with their conditions."""
    found = document["figures"]
    lines = [
        environment.line(document["machine"]), "",
        f"{document['case']}, model {document['model']}, {document['device']}, "
        f"{document['scans']} scans in a folder, network {found['network_alone_s']:.2f} s a scan",
        "", "| | scans per minute | share of the network's |", "|---|---|---|",
        f"| network alone | {found['allowed_per_minute']:.1f} | 1 |",
        f"| folder, steady | {found['steady_per_minute']:.1f} | {found['steady_share']:.2f} |",
        f"| folder, whole process | {found['whole_per_minute']:.1f} | {found['whole_share']:.2f} |",
        "", f"Target: a steady share of {TARGET} or more.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Measure, write JSON and Markdown, print the Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folder", description=__doc__)
    parser.add_argument("--case", type=Path, required=True, metavar="X_0000.nii.gz")
    parser.add_argument("--model", help=HELP)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scans", type=int, default=8, metavar="N", help="2 or more (default: 8)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "folder.json")
    options = parser.parse_args(argv)
    if options.scans < 2:
        parser.error("--scans: 2 or more")
    model, scan, device = chosen(options.model), options.case.resolve(), options.device
    machine = environment.describe()
    network_s = network_alone(scan, model, device, options.runs)
    walls = {n: folder_run(scan, model, device, n) for n in (1, options.scans)}
    document = {
        "machine": machine, "case": scan.name, "model": model.name, "device": device,
        "scans": options.scans, "wall_s": walls,
        "figures": figures(options.scans, walls[options.scans], walls[1], network_s),
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(markdown(document), end="")


if __name__ == "__main__":
    main()
