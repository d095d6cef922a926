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
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.environment import ROOT, child, describe, line
from benchmarks.process import measure
from benchmarks.versus.nnunet_model import write_model as write_nnunet
from benchmarks.versus.tools import PEERS, fresh
from examples.phantom import make_phantom
from inference.atomic import write_atomically
from inference.nifti import NiftiHeader
from inference.volume import write_image
from tests.bad_kinds import BAD
from tests.random_model import write_model

WORK = ROOT / "build" / "bad_input"
GOOD = ("a", "z")
LIMIT_S, LIMIT_BYTES = 150.0, 6 << 30
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
        tool: ``abdobox`` or ``nnunet``.
        kind: the bad scan, or ``all of them``.
        ended: ``done``, ``failed``, ``time`` or ``memory`` (stopped at a limit).
        status: exit status.
        good: good scans that have labels, of two.
        bad: bad scans that have labels.
        named: whether some line of its output names the bad file and is no part of a traceback.
        traceback: whether it printed one.
    """

    tool: str
    kind: str
    ended: str
    status: int
    good: int
    bad: int
    named: bool
    traceback: bool


def command(tool: str, source: Path, target: Path, device: str) -> list[str]:
    """The command line of a tool on a folder."""
    if tool == "abdobox":
        return ["python", "-m", "inference", "-i", str(source), "-o", str(target), "--model",
                str(WORK / "model"), "--device", device]  # fmt: skip
    return [str(PEERS / "nnUNetv2_predict_from_modelfolder"), "-i", str(source), "-o", str(target),
            "-m", str(WORK / "nnunet"), "-f", "0", "--disable_tta", "-device", device,
            "--disable_progress_bar"]  # fmt: skip


def run(tool: str, kind: str, device: str) -> Outcome:
    """Make the folder and run a tool on it."""
    source, target = fresh(WORK / "in"), fresh(WORK / "out")
    for seed, name in enumerate(GOOD):
        phantom = make_phantom((20, 40, 44), (8.0, 8.0, 8.0), seed=seed)
        header = NiftiHeader.of_grid(phantom.grid)
        write_image(source / f"{name}_0000.nii.gz", phantom.image_ZYX, header)
    kinds = KINDS if kind == "all of them" else (kind,)
    names = [f"k{KINDS.index(kind):02}" for kind in kinds]
    for name, bad in zip(names, kinds, strict=True):
        BAD[bad].make(source / f"{name}_0000")
    words = command(tool, source, target, device)
    if tool == "abdobox":
        words[0] = str(ROOT / ".venv" / "bin" / "python")
    log = WORK / "log.txt"
    usage = measure(
        words, log, cwd=ROOT, env={**child(), "OMP_NUM_THREADS": "1"}, limit_s=LIMIT_S,
        limit_bytes=LIMIT_BYTES,
    )  # fmt: skip
    text = log.read_text(errors="replace")
    plain = [row for row in text.splitlines() if not re.match(r"\s|Traceback|\w*Error", row)]
    return Outcome(
        tool, kind, usage.ended, usage.status,
        sum((target / f"{name}.nii.gz").exists() for name in GOOD),
        sum((target / f"{name}.nii.gz").exists() for name in names),
        any(f"{name}_0000" in row and "error" in row.lower() for name in names for row in plain),
        "Traceback" in text,
    )  # fmt: skip


def markdown(outcomes: list[Outcome]) -> str:
    """A row per kind."""
    kinds = dict.fromkeys(outcome.kind for outcome in outcomes)
    rows = {kind: {o.tool: o for o in outcomes if o.kind == kind} for kind in kinds}
    text = "| bad scan between two good ones | abdobox | nnU-Net |\n|---|---|---|\n"
    for kind, tools in rows.items():
        cells = [in_words(tools[tool]) for tool in ("abdobox", "nnunet") if tool in tools]
        text += f"| {kind} | {' | '.join(cells)} |\n"
    return text


def in_words(outcome: Outcome) -> str:
    """A cell of the table."""
    count = len(KINDS) if outcome.kind == "all of them" else 1
    how = {
        "time": f"stopped after {LIMIT_S:.0f} s",
        "memory": f"stopped at {LIMIT_BYTES >> 30} GiB",
    }
    parts = [
        how.get(outcome.ended, f"exit {outcome.status}"),
        f"good {outcome.good} of 2",
        f"labels for {outcome.bad} of {count} bad" if outcome.bad else "",
        "traceback" if outcome.traceback else "",
        "" if outcome.named else "bad file not named",
    ]
    return ", ".join(part for part in parts if part)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bad_input")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--kinds", nargs="+", choices=(*KINDS, "all of them"))
    options = parser.parse_args()
    write_model(WORK / "model")
    write_nnunet(WORK / "model", WORK / "nnunet")
    machine, outcomes = describe(), []
    for kind in options.kinds or (*KINDS, "all of them"):
        for tool in ("abdobox", "nnunet"):
            outcomes.append(run(tool, kind, options.device))
            print(kind, "|", tool, "|", in_words(outcomes[-1]), flush=True)
    document = {"machine": machine, "runs": [asdict(outcome) for outcome in outcomes]}
    write_atomically(WORK / "bad_input.json", json.dumps(document, indent=1).encode())
    text = f"{line(machine)}\n\n{markdown(outcomes)}"
    write_atomically(WORK / "bad_input.md", text.encode())
    print(text, end="")


if __name__ == "__main__":
    main()
