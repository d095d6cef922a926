"""The node's proof at full size: a real Orthanc, DCMTK's senders, kills, and many small studies.

    python -m benchmarks.node [--studies 100] [--kills 30] [--small 1000] [--minutes M] [--out DIR]

Needs Debian's orthanc and dcmtk. Four parts, each with a node, an Orthanc and a spool of its own:

1. Seconds from the last slice's acknowledgement until the PACS has the result.
2. So many studies, real ones among them where ../shared is, from four associations at once; every
   result is looked for by C-FIND and read by highdicom and dcmqi, voxel for voxel.
3. So many SIGKILLs while four senders go on.
4. So many small studies, and the node's memory and open files meanwhile.

A part that fails says what was wrong, the others go on, and the run ends with status 1; the logs of
each part's node and Orthanc lie in ``DIR/PART``. With --minutes the last two parts end early
where time is short, and no part begins after it. Figures go to ``node.json`` after each part, a
table for RESULTS.md is printed. Times and rates are to be told from an idle machine only.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.environment import ROOT, describe, line
from inference.model.folder import model_folder
from inference.scan.atomic import write_atomically
from tests.node.hospital.flood import flood, many_small, seconds_to_result
from tests.node.hospital.kills import QUIET_SECONDS, kill_often
from tests.node.hospital.studies import Study, real_studies, write_studies
from tests.node.hospital.world import scratch_world
from tests.random_model import write_model

_LAST_S = 60.0  # for the results of what was sent last
_LOOKS = 100  # at most, at the memory, that node.json keeps
SHARED = ROOT.parent / "shared" / "data"
Figures = dict[str, Any]


def _model(options: argparse.Namespace, folder: Path) -> Path | str:
    """What --model names, or random weights: quick, and labels everywhere that can be compared."""
    return options.model or write_model(folder / "random")


def _studies(folder: Path, count: int) -> list[Study]:
    real = real_studies(SHARED, folder / "real") if (SHARED / "dicom").is_dir() else []
    real = real[:count]
    return [*write_studies(folder / "made", count - len(real)), *real]


def part_result(options: argparse.Namespace, model: Path | str, logs: Path) -> Figures:
    """From the last slice to the result, with the default model unless another is named."""
    del model
    name = options.model or model_folder(ROOT / "weights").name
    with scratch_world(name, logs, study={"on_release": True}) as world:
        studies = _studies(world.folder / "studies", options.timed)
        return seconds_to_result(world, studies) | {"studies": len(studies), "model": name}


def part_flood(options: argparse.Namespace, model: Path | str, logs: Path) -> Figures:
    """Studies of four associations at once."""
    with scratch_world(model, logs, study={"quiet_seconds": 10}) as world:
        studies = _studies(world.folder / "studies", options.studies)
        figures = flood(world, studies).figures()
    return figures | {"real": sum(isinstance(study.kind, str) for study in studies)}


def part_kills(options: argparse.Namespace, model: Path | str, logs: Path) -> Figures:
    """SIGKILL at random moments."""
    # Of what is left for this part and the next one, two fifths.
    until = time.monotonic() + 0.4 * max(0.0, options.until - time.monotonic())
    with scratch_world(model, logs, study={"quiet_seconds": QUIET_SECONDS}) as world:
        return kill_often(world, options.kills, options.seed, until).figures()


def part_memory(options: argparse.Namespace, model: Path | str, logs: Path) -> Figures:
    """Many small studies."""
    with scratch_world(model, logs, study={"on_release": True}) as world:
        memory, looks = many_small(world, options.small, options.until - _LAST_S)
    some = looks[:: -(-len(looks) // _LOOKS)]
    return memory.figures() | {"looks": [asdict(look) for look in some]}


PARTS: dict[str, Callable[[argparse.Namespace, Path | str, Path], Figures]] = {
    "result": part_result,
    "flood": part_flood,
    "kills": part_kills,
    "memory": part_memory,
}


def markdown(figures: Figures) -> str:
    """The tables of a run."""
    rows: list[tuple[str, str]] = []
    if part := figures.get("flood"):
        rows += [
            (f"studies from {part['associations']} associations at once (real CT among them)",
             f"{part['studies']} ({part['real']})"),
            ("of them with one result, found by C-FIND, each voxel as it should be",
             f"{part['studies']}"),
            ("minutes until the last was acknowledged, until the PACS had all results",
             f"{part['sending_seconds'] / 60:.1f}, {part['seconds'] / 60:.1f}"),
        ]  # fmt: skip
    if part := figures.get("kills"):
        held = ", ".join(f"{place} {n}" for place, n in sorted(part["held"].items()))
        rows += [
            ("SIGKILLs", f"{part['kills']}"),
            ("studies in these places at the moment of a kill, times", held),
            ("acknowledged studies, all with one result (sent in more than one association)",
             f"{part['studies']} ({part['interrupted']})"),
        ]  # fmt: skip
    if part := figures.get("memory"):
        lows = ", ".join(f"{low / 1e6:.0f}" for low in part["low_bytes"])
        rows += [
            ("small studies through one process", f"{part['studies']}"),
            ("its memory's low mark, fifth by fifth", f"{lows} MB"),
            ("slope", f"{part['bytes_per_study'] / 1e3:+.1f} kB per study"),
            ("open files, least and most", "{}, {}".format(*part["files"])),
            ("studies per minute", f"{part['studies_per_minute']:.0f}"),
        ]
    if part := figures.get("result"):
        rows.append(
            (f"seconds from the last slice to the result in the PACS, model {part['model']}, "
             f"{part['studies']} studies: median, most",
             f"{part['median']:.1f}, {part['most']:.1f}")
        )  # fmt: skip
    body = "".join(f"| {name} | {value} |\n" for name, value in rows)
    return f"{line(figures['machine'])}\n\n| node | |\n|---|---|\n{body}"


def main() -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    p.add_argument("--studies", type=int, default=100, help="of the flood (default: 100)")
    p.add_argument("--kills", type=int, default=30, help="default: 30")
    p.add_argument("--small", type=int, default=1000, help="small studies (default: 1000)")
    p.add_argument("--timed", type=int, default=12, help="studies that are timed (default: 12)")
    p.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    p.add_argument("--model", help="a folder under weights/ (default: random weights, quick)")
    p.add_argument("--minutes", type=float, default=float("inf"), help="for all of it")
    p.add_argument("--out", type=Path, default=ROOT / "build" / "node")
    options = p.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    options.until = time.monotonic() + 60 * options.minutes
    # So that what was started is ended, too, by whoever ends this one, such as timeout(1).
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    figures: Figures = {"machine": describe()}
    model = _model(options, options.out)
    failed = []
    for name in options.parts:
        began = time.monotonic()
        if began > options.until:
            print(f"{name}: not begun, the time is over", flush=True)
            failed.append(name)
            continue
        try:
            figures[name] = PARTS[name](options, model, options.out / name)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        except Exception:
            failed.append(name)
            print(f"{name}: FAILED after {time.monotonic() - began:.0f} s", flush=True)
            traceback.print_exc()
        write_atomically(options.out / "node.json", json.dumps(figures, indent=1).encode())
    print(f"\n{markdown(figures)}", end="")
    if failed:
        sys.exit(f"failed or left out: {', '.join(failed)}; logs: {options.out}")


if __name__ == "__main__":
    main()
