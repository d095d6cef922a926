"""What this box and nnU-Net's predictor do with the same bad files.

    python -m benchmarks.bad_input

Each bad scan stands between two good ones in a folder of its own, and each tool is run on the
folder once, with the same small random network. Then all of them stand in one folder. The bad files
are those of the tests (tests.bad_kinds). The peers' environment must be there: ``python -m
benchmarks.versus setup``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.environment import ROOT, child, describe, line
from benchmarks.versus.nnunet_model import write_model as write_nnunet
from benchmarks.versus.tools import PEERS, fresh
from inference.scan.atomic import write_atomically
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from phantom import make_phantom
from tests.bad_kinds import BAD
from tests.random_model import write_model

WORK = ROOT / "build" / "bad_input"
GOOD = ("a", "z")
TOGETHER = "all of them"
KINDS = (
    "gzip cut in the middle", "gzip cut before the trailer", "gzip data corrupt", "gzip bomb",
    "empty file", "text named .nii.gz", "a link to nothing", "wrong magic",
    "header larger than the data", "2D", "4D with two frames", "one slice", "zero spacing",
    "NaN spacing", "spacing in metres", "gantry tilt of 15 degrees", "RGB", "NaN voxel",
    "infinite voxel", "constant", "more voxels than memory", "slope NaN",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One run of one tool on a folder.

    Attributes:
        tool: ``abdobox`` or ``nnU-Net``.
        kind: the bad scan, or TOGETHER.
        good: good scans that have labels, of two.
        bad: bad scans that have labels.
        said: what it said about the bad scan; empty where it said nothing.
        named: whether that names the file.
    """

    tool: str
    kind: str
    good: int
    bad: int
    said: str
    named: bool


def prepare(folder: Path, kind: str) -> None:
    """Two good scans and the bad ones between them by name, in ``folder/in``."""
    source = fresh(folder) / "in"
    source.mkdir()
    (folder / "out").mkdir()
    for seed, name in enumerate(GOOD):
        phantom = make_phantom((20, 40, 44), (8.0, 8.0, 8.0), seed=seed)
        header = NiftiHeader.of_grid(phantom.grid)
        write_image(source / f"{name}_0000.nii.gz", phantom.image_ZYX, header)
    for bad in KINDS if kind == TOGETHER else (kind,):
        BAD[bad].make(source / f"{bad_name(bad)}_0000")


def bad_name(kind: str) -> str:
    """The case's name of a bad scan: after the first good one's, before the second's."""
    return f"k{KINDS.index(kind):02}"


def environment() -> dict[str, str]:
    """One thread: the network is small, and on a busy machine threads wait for each other."""
    return {**child(), "OMP_NUM_THREADS": "1"}


def outcome(tool: str, kind: str, folder: Path, said: str) -> Outcome:
    """What lies in the output folder after a run."""
    names = [bad_name(bad) for bad in (KINDS if kind == TOGETHER else (kind,))]
    there = {path.name.removesuffix(".nii.gz") for path in (folder / "out").glob("*.nii.gz")}
    return Outcome(
        tool, kind, len(there.intersection(GOOD)), len(there.intersection(names)), said,
        all(f"{name}_0000" in said for name in names),
    )  # fmt: skip


def abdobox(kinds: list[str], device: str) -> list[Outcome]:
    """One process per folder."""
    found = []
    for kind in kinds:
        folder = WORK / "abdobox" / kind.replace("/", "-")
        prepare(folder, kind)
        words = [sys.executable, "-m", "inference", "-i", folder / "in", "-o", folder / "out",
                 "--model", WORK / "model", "--device", device]  # fmt: skip
        result = subprocess.run(
            [str(word) for word in words], cwd=ROOT, env=environment(), capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        errors = [row for row in result.stderr.splitlines() if row.startswith("error: ")]
        found.append(outcome("abdobox", kind, folder, "\n".join(errors)))
    return found


def nnunet(kinds: list[str], device: str) -> list[Outcome]:
    """One process for all folders: see benchmarks.bad_input_peer."""
    folders = {kind: WORK / "nnunet" / kind.replace("/", "-") for kind in kinds}
    for kind, folder in folders.items():
        prepare(folder, kind)
    words = [PEERS / "python", "-m", "benchmarks.bad_input_peer", WORK / "nnunet_model", device,
             *folders.values()]  # fmt: skip
    with open(WORK / "nnunet.log", "wb") as log:
        result = subprocess.run(
            [str(word) for word in words], cwd=ROOT, env=environment(), stdout=subprocess.PIPE,
            stderr=log, text=True, check=False,
        )  # fmt: skip
    rows = [json.loads(row) for row in result.stdout.splitlines() if row.startswith('{"folder"')]
    said = {row["folder"]: row["error"] or "" for row in rows}
    return [
        outcome("nnU-Net", kind, folder, said.get(folder.name, f"ended, {result.returncode}"))
        for kind, folder in folders.items()
    ]


def markdown(outcomes: list[Outcome]) -> str:
    """A row per kind."""
    kinds = dict.fromkeys(outcome.kind for outcome in outcomes)
    text = "| bad scan between two good ones | abdobox | nnU-Net |\n|---|---|---|\n"
    for kind in kinds:
        cells = [in_words(outcome) for outcome in outcomes if outcome.kind == kind]
        text += f"| {kind} | {' | '.join(cells)} |\n"
    return text


def in_words(outcome: Outcome) -> str:
    """A cell of the table."""
    bad = f"labels for {outcome.bad} bad" if outcome.bad else "none for the bad"
    if outcome.tool == "abdobox" or not outcome.said:
        said = "one line that names it" if outcome.named else "nothing said"
    else:
        first = outcome.said.splitlines()[0][:60].replace("|", "/")
        said = f"stops: `{first}`" + ("" if outcome.named else ", not named")
    return f"good {outcome.good} of 2, {bad}, {said}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bad_input")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--kinds", nargs="+", choices=(*KINDS, TOGETHER))
    options = parser.parse_args()
    kinds = options.kinds or [*KINDS, TOGETHER]
    fresh(WORK)
    write_model(WORK / "model")
    write_nnunet(WORK / "model", WORK / "nnunet_model")
    machine = describe()
    outcomes = [*abdobox(kinds, options.device), *nnunet(kinds, options.device)]
    document = {"machine": machine, "runs": [asdict(outcome) for outcome in outcomes]}
    write_atomically(WORK / "bad_input.json", json.dumps(document, indent=1).encode())
    text = f"{line(machine)}\n\n{markdown(outcomes)}"
    write_atomically(WORK / "bad_input.md", text.encode())
    print(text, end="")


if __name__ == "__main__":
    main()
