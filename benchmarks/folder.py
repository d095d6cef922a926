"""How busy folder mode keeps the device: scans per minute against what the network alone allows.

    python -m benchmarks.folder --case X_0000.nii.gz [--model NAME] [--scans N] [--jobs 1 2]

The network alone: the warm network stage of the scan, read beforehand, with nothing beside it.
Folder mode, for each number of jobs: ``python -m inference`` on a folder that holds the scan N
times, as a whole and steadily (time of N scans less that of half as many, by the difference). Both
take turns for so many ``--rounds``, since a shared machine changes its pace; medians of the rounds.
A steady share of 1 would need processors beside those of the network: what their seconds allow at
most is given, too. ``--network-threads 1`` leaves all others free.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import environment
from benchmarks.environment import ROOT, child
from benchmarks.models import HELP, How, chosen
from inference.engines import openvino_network
from inference.machine.threads import worker_count
from inference.scan.volume import read_volume
from inference.segmenter import Segmenter

WORK = ROOT / "build" / "folder"
TARGET = 0.9
RUNS = 3  # of the network alone, at a time
_CHILD = """
import sys
from benchmarks.folder import hold_network
from inference.cli.main import main
hold_network({threads})
sys.exit(main(sys.argv[1:]))
"""


def hold_network(threads: int) -> None:
    """Give OpenVINO, in this process, so many threads; 0 are as many as there are processors."""
    make = openvino_network.ov.Core

    def held() -> Any:
        core = make()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
        return core

    openvino_network.ov.Core = held


def network_alone(scan: Path, model: Path, device: str, how: How) -> Callable[[], float]:
    """Measures seconds of the warm networks, a crop's finder among them: median of a few runs."""
    segmenter = Segmenter.load(model, device, precision=how.precision)
    volume = read_volume(scan)
    segmenter.segment(volume, step=how.step)

    def measure() -> float:
        stages = [segmenter.segment(volume, step=how.step).timings for _ in range(RUNS)]
        return median(s["network"] + s.get("organs network", 0.0) for s in stages)

    return measure


def folder_run(scan: Path, scans: int, threads: int, words: list[str]) -> tuple[float, float]:
    """(wall, processor) seconds of a process that segments a folder with the scan many times.

    Args:
        scan: the file.
        scans: how many times the folder holds it.
        threads: of the network.
        words: more options of ``python -m inference``.
    """
    shutil.rmtree(WORK, ignore_errors=True)
    (WORK / "in").mkdir(parents=True)
    shutil.copyfile(scan, WORK / "scan.nii.gz")
    for i in range(scans):
        os.link(WORK / "scan.nii.gz", WORK / "in" / f"scan{i:04}_0000.nii.gz")
    program = ["-c", _CHILD.format(threads=threads)] if threads else ["-m", "inference"]
    folders = ["-i", str(WORK / "in"), "-o", str(WORK / "out")]
    command = [sys.executable, *program, "--quiet", *folders, *words]
    before, start = processor_s(), time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=child())
    return time.perf_counter() - start, processor_s() - before


def processor_s() -> float:
    """Processor seconds of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Round(NamedTuple):
    """One round's figures for one number of jobs.

    Attributes:
        whole, half: (wall, processor) seconds of the process for all scans, and for ``N // 2``.
        network_s: of the network alone, per scan, right before and right after.
    """

    whole: tuple[float, float]
    half: tuple[float, float]
    network_s: float


def figures(scans: int, rounds: Sequence[Round], processors: int) -> dict[str, float]:
    """Scans per minute, and the share of what the network alone allows; medians of the rounds.

    Args:
        scans: in the folder, at least 2.
        rounds: at least one.
        processors: that the process may run on.
    """
    more = scans - scans // 2
    found = []
    for whole, half, network_s in rounds:
        each, busy = ((a - b) / more for a, b in zip(whole, half, strict=True))
        found.append(
            {
                "whole_per_minute": 60 * scans / whole[0],
                "whole_share": network_s * scans / whole[0],
                "steady_per_minute": 60 / each,
                "steady_share": network_s / each,
                "processor_s": busy,
                "possible_share": min(1.0, network_s * processors / busy),
            }
        )
    return {name: median(one[name] for one in found) for name in found[0]}


def markdown(document: dict[str, Any]) -> str:
    """The figures with their conditions."""
    threads = document["network_threads"] or document["processors"]
    lines = [
        environment.line(document["machine"]), "",
        f"{document['case']}, model {document['model']}, "
        f"{How(document['step'], document['precision']).text}, {document['device']}, "
        f"{document['scans']} scans in a folder, {document['processors']} processors, {threads} "
        f"for the network, which alone takes {document['network_alone_s']:.2f} s a scan: "
        f"{60 / document['network_alone_s']:.1f} scans per minute; medians of {document['rounds']} "
        "rounds",
        "", "| jobs | scans per minute, steady | share of the network's | processor s a scan "
        "| share that they allow at most | whole process |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [
        f"| {jobs} | {found['steady_per_minute']:.1f} | {found['steady_share']:.2f} "
        f"| {found['processor_s']:.2f} | {found['possible_share']:.2f} "
        f"| {found['whole_per_minute']:.1f} |"
        for jobs, found in document["figures"].items()
    ]
    return "\n".join([*lines, "", f"Target: a steady share of {TARGET} or more."]) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Measure, write JSON and Markdown, print the Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.folder", description=__doc__)
    parser.add_argument("--case", type=Path, required=True, metavar="X_0000.nii.gz")
    parser.add_argument("--model", help=HELP)
    How.add_to(parser)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--scans", type=int, default=12, metavar="N", help="2 or more")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--network-threads", type=int, default=0, metavar="N", help="default: all")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "folder.json")
    options = parser.parse_args(argv)
    if options.scans < 2:
        parser.error("--scans: 2 or more")
    model, scan, threads = chosen(options.model), options.case.resolve(), options.network_threads
    how = How.of(options)
    words = ["--model", str(model), "--device", options.device, *how.words]
    machine = environment.describe()
    hold_network(threads)
    alone = network_alone(scan, model, options.device, how)
    rounds: dict[str, list[Round]] = {str(jobs): [] for jobs in options.jobs}
    networks_s = [alone()]
    for _, jobs in product(range(options.rounds), options.jobs):
        whole, half = (
            folder_run(scan, n, threads, [*words, "--jobs", str(jobs)])
            for n in (options.scans, options.scans // 2)
        )
        networks_s.append(alone())
        rounds[str(jobs)].append(Round(whole, half, sum(networks_s[-2:]) / 2))
    found = {jobs: figures(options.scans, some, worker_count()) for jobs, some in rounds.items()}
    document = {
        "machine": machine, "case": scan.name, "model": model.name, "step": how.step,
        "precision": how.precision,
        "device": options.device, "scans": options.scans, "processors": worker_count(),
        "network_threads": threads, "rounds": options.rounds, "network_alone_s": median(networks_s),
        "figures": found, "measured": rounds,
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(markdown(document), end="")


if __name__ == "__main__":
    main()
