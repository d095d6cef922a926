"""Many scans in one process for a long time: do memory, open files or speed creep?

    python -m benchmarks.soak --minutes 30

Eight phantoms of different shapes stand in a folder under very many names; one ``python -m
inference`` works through them and is asked to leave when the time is up. Every second its resident
memory and open files are read, and its finished labels counted. At the end all labels of one
phantom must be the same bytes. Slopes are least-squares lines over the cases, the first tenth left
out (caches fill then).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.environment import ROOT, child, describe, line
from benchmarks.models import HELP, chosen
from inference.scan.atomic import write_atomically
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from phantom import make_phantom

WORK = ROOT / "build" / "soak"
PHANTOMS = 8


@dataclass(frozen=True)
class Sample:
    """One look at the process: seconds since its start, labels on disk, bytes, open files."""

    seconds: float
    done: int
    resident_bytes: int
    files: int


@dataclass(frozen=True)
class Soak:
    """One run and how it went.

    Attributes:
        samples: in order.
        status: the process's exit status: 0, or 143 where the time was up.
        differing: labels that are not the bytes of the first of their phantom.
        strays: files in the output folder that are no labels.
    """

    samples: list[Sample]
    status: int
    differing: int
    strays: int

    def settled(self) -> list[Sample]:
        """The samples after the first tenth of the cases, while cases came."""
        last = self.samples[-1].done
        return [s for s in self.samples if last / 10 <= s.done < last]

    def slope(self, name: str) -> float:
        """Growth of an attribute of the samples per case."""
        samples = self.settled()
        done = [s.done for s in samples]
        return float(np.polyfit(done, [getattr(s, name) for s in samples], 1)[0])

    def lows(self, parts: int = 5) -> list[int]:
        """The lowest resident memory while each fifth of the cases was done, bytes.

        Within a case memory rises and falls by far more than it may creep from case to case; its
        low mark does not.
        """
        last = self.samples[-1].done
        edges = [last * part / parts for part in range(parts + 1)]
        return [
            min((s.resident_bytes for s in self.samples if a < s.done <= b), default=0)
            for a, b in pairwise(edges)
        ]

    def throughput(self) -> tuple[float, float]:
        """Cases per minute in the first and in the second half of the settled time."""
        samples = self.settled()
        first, middle, last = samples[0], samples[len(samples) // 2], samples[-1]
        return (_rate(first, middle), _rate(middle, last))


def _rate(start: Sample, stop: Sample) -> float:
    return 60.0 * (stop.done - start.done) / (stop.seconds - start.seconds)


def write_scans(folder: Path, count: int, shape_ZYX: tuple[int, int, int], mm: float) -> None:
    """``count`` scans: hard links to PHANTOMS files, whose shapes differ by a few voxels."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    z, y, x = shape_ZYX
    for number in range(count):
        path = folder / f"case{number:06}_0000.nii.gz"
        if number < PHANTOMS:
            shape = (z + number, y + 2 * (number % 3), x + 2 * (number % 4))
            phantom = make_phantom(shape, (mm, mm, mm), seed=number)
            write_image(path, phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
        else:
            os.link(folder / f"case{number % PHANTOMS:06}_0000.nii.gz", path)


def run(scans: Path, target: Path, model: Path, seconds: float, log: Path) -> Soak:
    """Segment a folder in one process, for so many seconds at most."""
    shutil.rmtree(target, ignore_errors=True)
    words = [sys.executable, "-m", "inference", "-i", str(scans), "-o", str(target),
             "--model", str(model), "--device", "cpu"]  # fmt: skip
    start, samples = time.monotonic(), []
    with open(log, "wb") as output:
        process = subprocess.Popen(words, cwd=ROOT, env=child(), stderr=output)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            now = time.monotonic() - start
            try:
                memory, files = watched.memory_info().rss, watched.num_fds()
            except psutil.Error:  # it has just ended
                break
            samples.append(Sample(now, _count(target), memory, files))
            if now > seconds:
                process.terminate()
                break
            time.sleep(1.0)
        status = process.wait(30)
    names = sorted(path.name for path in target.iterdir())
    labels = [name for name in names if name.endswith(".nii.gz") and name[0] != "."]
    firsts = [(target / f"case{i:06}.nii.gz").read_bytes() for i in range(PHANTOMS)]
    differing = sum(
        (target / name).read_bytes() != firsts[int(name[4:10]) % PHANTOMS] for name in labels
    )
    return Soak(samples, status, differing, len(names) - len(labels))


def _count(folder: Path) -> int:
    try:
        return sum(path.name.endswith(".nii.gz") for path in folder.iterdir())
    except FileNotFoundError:
        return 0


def document(soak: Soak) -> dict[str, Any]:
    """The figures and all samples, as JSON values."""
    first, second = soak.throughput()
    files = [s.files for s in soak.settled()]
    return {
        "machine": describe(),
        "minutes": soak.samples[-1].seconds / 60,
        "status": soak.status,
        "cases": soak.samples[-1].done,
        "differing": soak.differing,
        "strays": soak.strays,
        "resident_bytes": [soak.settled()[0].resident_bytes, soak.settled()[-1].resident_bytes],
        "lowest_bytes": soak.lows(),
        "bytes_per_case": soak.slope("resident_bytes"),
        "files": [min(files), max(files)],
        "cases_per_minute": [first, second],
        "samples": [asdict(sample) for sample in soak.samples],
    }


def markdown(figures: dict[str, Any]) -> str:
    """A table of one run."""
    first, last = (value / 1e6 for value in figures["resident_bytes"])
    rows = (
        ("minutes", f"{figures['minutes']:.1f}"),
        ("cases done; exit status", f"{figures['cases']}; {figures['status']}"),
        ("labels that differ from their phantom's first", figures["differing"]),
        ("stray files", figures["strays"]),
        ("resident memory, after a tenth and at the end", f"{first:.0f} MB, {last:.0f} MB"),
        ("its low mark, fifth by fifth", ", ".join(
            f"{low / 1e6:.0f}" for low in figures["lowest_bytes"]) + " MB"),
        ("its slope", f"{figures['bytes_per_case'] / 1e3:+.2f} kB per case"),
        ("open files, least and most", "{}, {}".format(*figures["files"])),
        ("cases per minute, first and second half", "{:.0f}, {:.0f}".format(
            *figures["cases_per_minute"])),
    )  # fmt: skip
    body = "".join(f"| {name} | {value} |\n" for name, value in rows)
    return f"{line(figures['machine'])}\n\n| soak | |\n|---|---|\n{body}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--cases", type=int, default=20_000, help="at most (default: 20000)")
    parser.add_argument("--shape", type=int, nargs=3, default=(40, 96, 96), metavar=("Z", "Y", "X"))
    parser.add_argument("--spacing", type=float, default=4.0, help="mm (default: 4)")
    parser.add_argument("--model", help=HELP)
    options = parser.parse_args()
    write_scans(WORK / "scans", options.cases, tuple(options.shape), options.spacing)
    soak = run(
        WORK / "scans", WORK / "out", chosen(options.model), 60 * options.minutes, WORK / "log.txt"
    )
    figures = document(soak)
    write_atomically(WORK / "soak.json", json.dumps(figures, indent=1).encode())
    print(markdown(figures), end="")


if __name__ == "__main__":
    main()
