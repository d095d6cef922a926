"""What this box and its peers make of the same DICOM series, sound and faulty: places, not speed.

    python -m benchmarks.dicom_peers [--kinds NAME ...]

The peers' environment, once (no torch, no weights):
    python3.11 -m venv build/dicom_peers/.venv
    build/dicom_peers/.venv/bin/pip install --no-deps -r benchmarks/requirements-dicom-peers.txt

A volume is right if its tissue lies within 1 mm of where its geometry says, written labels if they
have a DSC of 0.97 with what belongs on the source's own slices (0.85 where slices are resampled for
the network, since labels then keep to its grid). Leaves dicom_peers.json and .md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.dicom_peers.judge import seg_dice, structure_set_dice, wanted_planes
from benchmarks.dicom_peers.kinds import KINDS, VOLUMES, make
from benchmarks.dicom_peers.scene import labels_at, misplaced_mm
from benchmarks.environment import ROOT, child, describe, line
from inference.errors import ScanError
from inference.scan.atomic import write_atomically
from inference.scan.dicom.candidates import candidates
from inference.scan.dicom.derived import Algorithm
from inference.scan.dicom.series import find_series
from inference.scan.volume import Volume, read_series, read_volume
from inference.scan.writing import LabelWriter
from tests.inference.scan.dicom.scans import grid_points

WORK = ROOT / "build" / "dicom_peers"
READERS = ("SimpleITK", "dicom2nifti", "dicom2nifti, folder", "dcm2niix", "highdicom")
WRITER = "TotalSegmentator"
RIGHT_MM, RIGHT_DICE, RESAMPLED_DICE = 1.0, 0.97, 0.85
PATIENT_MM = 80.0
RESAMPLED = ("uneven", "tilt")
_OURS = Algorithm("0" * 64)


@dataclass(frozen=True)
class Outcome:
    """One tool on one series.

    Attributes:
        tool, kind: which.
        misplaced_mm: of each volume that it read: see ``scene.misplaced_mm``.
        seg_dice, structure_set_dice: of the labels that it wrote; None where it wrote none.
        error: what it stopped with, or nothing.
    """

    tool: str
    kind: str
    misplaced_mm: tuple[float, ...] = ()
    seg_dice: float | None = None
    structure_set_dice: float | None = None
    error: str = ""


def ours(kind: str, folder: Path) -> Outcome:
    """This box: read as a case of a run is, labels by the writers of a run."""
    found, _ = find_series(candidates(folder / "in"), folder / "in")
    try:
        volumes = [read_series(series) for series in found]
    except ScanError as error:
        return Outcome("abdobox", kind, error=str(error).replace(f"{ROOT}/", ""))
    misplaced = tuple(
        misplaced_mm(volume.voxels_ZYX, grid_points(volume.grid)) for volume in volumes
    )
    if kind in VOLUMES:
        return Outcome("abdobox", kind, misplaced)
    return Outcome("abdobox", kind, misplaced, *_written_by_us(read_volume(folder / "in"), folder))


def _written_by_us(volume: Volume, folder: Path) -> tuple[float, float]:
    labels = labels_at(grid_points(volume.grid).round(3))
    writer = LabelWriter(labels, volume.grid, volume.header, volume.source, _OURS)
    writer.write("dicom-seg", folder / "seg.dcm", seg_type="binary")
    writer.write("rtstruct", folder / "rtstruct.dcm")
    wanted = wanted_planes(folder / "in")
    return seg_dice(folder / "seg.dcm", wanted), structure_set_dice(folder / "rtstruct.dcm", wanted)


def theirs(tool: str, kinds: list[str]) -> list[Outcome]:
    """One process of a peer for all series; what it does not live to answer has ended with it."""
    folders = {kind: WORK / "series" / kind for kind in kinds}
    for folder in folders.values():
        shutil.rmtree(folder / "out", ignore_errors=True)
        (folder / "out").mkdir()
    command = [WORK / ".venv" / "bin" / "python", "-m", "benchmarks.dicom_peers.peer", tool,
               *folders.values()]  # fmt: skip
    with open(WORK / "peers.log", "ab") as log:
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, env=child(), stdout=subprocess.PIPE, stderr=log,
            text=True, check=False,
        )  # fmt: skip
    answers = {answer["folder"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    outcomes = []
    for kind, folder in folders.items():
        answer = answers.get(kind)
        if answer is None:
            outcomes.append(Outcome(tool, kind, error=f"ended with status {done.returncode}"))
            continue
        dice: list[float | None] = [None, None]
        for k, (name, judge) in enumerate(
            {"seg.dcm": seg_dice, "rtstruct.dcm": structure_set_dice}.items()
        ):
            if (folder / "out" / name).exists():
                dice[k] = judge(folder / "out" / name, wanted_planes(folder / "in"))
        outcomes.append(Outcome(tool, kind, tuple(answer["misplaced_mm"]), *dice, answer["error"]))
    return outcomes


def read_in_words(outcome: Outcome) -> str:
    """A cell of the table of readers."""
    if outcome.error and not outcome.misplaced_mm:
        return _stop(outcome)
    if not outcome.misplaced_mm:
        return "nothing, without an error"
    wanted = VOLUMES.get(outcome.kind, 1)
    off = sorted(outcome.misplaced_mm)
    worst = max(off[:wanted])
    if worst > RIGHT_MM:
        # Beyond the patient it is no distance any more: air lies where tissue should.
        return "**mixed up**" if worst > PATIENT_MM else f"**{worst:.1f} mm off**"
    if len(off) < wanted:
        return f"**{len(off)} of {wanted} volumes**"
    return "right" + (f", and {len(off) - wanted} more" if len(off) > wanted else "")


def _stop(outcome: Outcome) -> str:
    said = outcome.error.partition(": ")[2] or outcome.error
    if outcome.tool == "abdobox":
        return f"refused: {said.partition(';')[0][:100]}"
    return f"stops: `{outcome.error[:60]}`"


def written_in_words(outcome: Outcome, dice: float | None) -> str:
    """A cell of the table of writers."""
    if dice is None:
        return _stop(outcome) if outcome.error else "none"
    least = RESAMPLED_DICE if any(word in outcome.kind for word in RESAMPLED) else RIGHT_DICE
    return f"{dice:.3f}" if dice >= least else f"**{dice:.3f}**"


def markdown(outcomes: list[Outcome]) -> str:
    """Two tables: what is read, what is written."""
    by = {(outcome.tool, outcome.kind): outcome for outcome in outcomes}
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    tools = ("abdobox", *READERS)
    text = f"| series | {' | '.join(tools)} |\n|{'---|' * (len(tools) + 1)}\n"
    for kind in kinds:
        cells = [read_in_words(by[tool, kind]) for tool in tools]
        text += f"| {kind} | {' | '.join(cells)} |\n"
    text += (
        f"\n| series | abdobox SEG | abdobox RTSTRUCT | {WRITER} SEG | {WRITER} RTSTRUCT |\n"
        f"|{'---|' * 5}\n"
    )
    for kind in (kind for kind in kinds if kind not in VOLUMES):
        cells = [
            written_in_words(by[tool, kind], dice)
            for tool in ("abdobox", WRITER)
            for dice in (by[tool, kind].seg_dice, by[tool, kind].structure_set_dice)
        ]
        text += f"| {kind} | {' | '.join(cells)} |\n"
    return text


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dicom_peers", description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="NAME")
    kinds = parser.parse_args().kinds
    if not (WORK / ".venv" / "bin" / "python").exists():
        raise SystemExit(f"no peers: {__doc__}")
    shutil.rmtree(WORK / "series", ignore_errors=True)
    machine = describe()
    outcomes: list[Outcome] = []

    def keep(more: list[Outcome]) -> None:
        outcomes.extend(more)
        document = {"machine": machine, "runs": [asdict(outcome) for outcome in outcomes]}
        write_atomically(WORK / "dicom_peers.json", json.dumps(document, indent=1).encode())

    for kind in kinds:
        make(kind, WORK / "series" / kind / "in")
        keep([ours(kind, WORK / "series" / kind)])
    for tool in READERS:
        keep(theirs(tool, kinds))
    keep(theirs(WRITER, [kind for kind in kinds if kind not in VOLUMES]))
    text = f"{line(machine)}\n\n{markdown(outcomes)}"
    write_atomically(WORK / "dicom_peers.md", text.encode())
    print(text, end="")


if __name__ == "__main__":
    main()
