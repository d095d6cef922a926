"""Where the time of one abdobox run goes, cold and warm, with the roofline beside the network.

    python -m benchmarks.stages --case X_0000.nii.gz --model NAME

Fresh processes, the median of ``--runs`` each:

- the interpreter's bare start (``python -c pass``);
- a probe that times importing, then loading the model;
- ``python -m inference --jobs 1`` on the scan (cold) and on a folder that holds it twice, whose
  second case (warm) finds everything loaded and the network compiled (cold, that is between the
  stages). Stages are those of ``--report``;
- ``-X importtime``, for the share of each package in importing (it slows importing down).

The first scan is read while the model is loaded: ``waited`` is what is left to wait for then.

What the stages leave of the wall time is given as it is: inside the case (work between the clocks)
and outside it (argument parsing, thread pools, the end of the process).
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import environment, roofline
from benchmarks.environment import ROOT, child
from benchmarks.models import HELP, How, chosen
from benchmarks.stages_table import markdown
from inference.scan.atomic import write_atomically

WORK = ROOT / "build" / "stages"
IN_CASE = ("waited", "organs", "organs network", "waiting", "resample", "body", "network",
           "accumulate", "decode", "agreement", "islands", "orient")  # fmt: skip
_IMPORTS = "import inference.many.batch, inference.many.run_report, inference.segmenter, {engine}"
_ENGINES = {
    "cpu": "inference.engines.openvino_network",
    "cuda": "inference.engines.torch_network",
}
_PROBE = """
import json, sys, time
start = time.perf_counter()
{imports}
imported = time.perf_counter()
inference.segmenter.Segmenter.load({model!r}, {device!r})
print(json.dumps([imported - start, time.perf_counter() - imported]))
"""

Seconds = dict[str, float]


def whole_run(
    scan: Path, model: Path, device: str, warm: bool, how: How
) -> tuple[float, dict[str, Any]]:
    """(wall seconds, report) of ``python -m inference`` on the scan, or on it twice."""
    shutil.rmtree(WORK / "in", ignore_errors=True)
    (WORK / "in").mkdir(parents=True)
    names = ("first_0000.nii.gz", "second_0000.nii.gz")[: 2 if warm else 1]
    for name in names:
        shutil.copyfile(scan, WORK / "in" / name)
    report = WORK / "report.json"
    command = [
        sys.executable, "-m", "inference", "--quiet", "-i", str(WORK / "in"),
        "-o", str(WORK / "out"), "--model", str(model), "--device", device,
        "--jobs", "1", "--report", str(report), *how.words,
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=child())
    return time.perf_counter() - start, json.loads(report.read_text())


def interpreter_start() -> float:
    """Wall seconds of a Python that does nothing."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, cwd=ROOT, env=child())
    return time.perf_counter() - start


def import_and_load(model: Path, device: str) -> tuple[float, float]:
    """Seconds of importing, and of loading the model, in a fresh process."""
    imports = _IMPORTS.format(engine=_ENGINES[device])
    code = _PROBE.format(imports=imports, model=str(model), device=device)
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        env=child(),
        capture_output=True,
        text=True,
    )
    imported, loaded = json.loads(result.stdout)
    return imported, loaded


def import_shares(device: str) -> Seconds:
    """Seconds of importing by top-level package, from ``-X importtime``, the largest first."""
    code = _IMPORTS.format(engine=_ENGINES[device])
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        check=True, cwd=ROOT, env=child(), capture_output=True, text=True,
    )  # fmt: skip
    return shares(result.stderr)


def shares(importtime: str) -> Seconds:
    """Own time of each top-level package, from the text that ``-X importtime`` prints."""
    found: Seconds = {}
    for own, name in re.findall(r"^import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)", importtime, re.M):
        package = name.split(".")[0]
        found[package] = found.get(package, 0.0) + int(own) / 1e6
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def breakdown(wall: float, start: Seconds, case: Seconds) -> Seconds:
    """The parts of one cold run, in order; they add up to ``wall``.

    Args:
        wall: of the whole process, seconds.
        start: ``interpreter``, ``import`` and ``load``.
        case: ``seconds`` of the case in the report.
    """
    inside = case["total"] - sum(case.get(stage, 0.0) for stage in IN_CASE)
    parts = {**start, **{stage: case.get(stage, 0.0) for stage in IN_CASE}}
    parts |= {"between stages": inside, "write": case["write"]}
    return {**parts, "rest of the process": wall - sum(parts.values())}


def medians(rows: list[Seconds]) -> Seconds:
    """Median of each entry."""
    return {name: median(row[name] for row in rows) for name in rows[0]}


def collect(scan: Path, model: Path, device: str, runs: int, how: How) -> dict[str, Any]:
    """All measurements, as JSON values. The first, uncounted run fills the disk cache."""
    machine = environment.describe()
    whole_run(scan, model, device, warm=False, how=how)
    cold, warm, walls, windows = [], [], [], 0
    for _ in range(runs):
        imported, loaded = import_and_load(model, device)
        start = {"interpreter": interpreter_start(), "import": imported, "load": loaded}
        wall, report = whole_run(scan, model, device, warm=False, how=how)
        case = report["cases"][0]
        windows = case["windows"]
        cold.append(breakdown(wall, start, case["seconds"]))
        both_wall, both = whole_run(scan, model, device, warm=True, how=how)
        second = both["cases"][1]["seconds"]
        warm.append(breakdown(second["total"] + second["write"], {}, second))
        walls.append({"one case": wall, "two cases": both_wall})
    document = {
        "machine": machine, "case": scan.name, "shape_zyx": case["shape"], "model": model.name,
        "step": how.step, "precision": how.precision, "device": device, "runs": runs,
        "windows": windows, "wall_s": medians(walls),
        "cold_s": medians(cold), "warm_s": medians(warm), "import_s": import_shares(device),
    }  # fmt: skip
    if device == "cpu":
        document["roofline"] = _roofline(
            scan, model, report["engine"], document["warm_s"]["network"], how
        )
    return document


def _roofline(scan: Path, model: Path, engine: str, network_s: float, how: How) -> dict[str, Any]:
    from inference.segmenter import Segmenter

    precision = next(kind for kind in roofline.FORMATS if engine.endswith(kind))
    segmenter = Segmenter.load(model, "cpu", precision=how.precision)
    run = segmenter.segment(scan, step=how.step)
    ceilings = roofline.measure_ceilings(precision)
    merged = roofline.merged_by_openvino(model, precision)
    work = roofline.layers(segmenter.description.architecture, run.window, merged)
    found = roofline.figures(work, run.windows, ceilings)
    return {
        **found,
        "precision": precision,
        "window_zyx": run.window,
        "measured_s": network_s,
        "reached_gflops_per_s": found["gflop"] / network_s,
        "share_of_roofline": found["least_s"] / network_s,
    }


def main() -> None:
    """Measure, write JSON and Markdown, print the Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--case", type=Path, required=True, metavar="X_0000.nii.gz")
    parser.add_argument("--model", help=HELP)
    How.add_to(parser)
    parser.add_argument("--device", choices=tuple(_ENGINES), default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=WORK / "stages.json")
    options = parser.parse_args()
    model = chosen(options.model)
    document = collect(options.case.resolve(), model, options.device, options.runs, How.of(options))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, json.dumps(document, indent=1).encode())
    text = markdown(document)
    write_atomically(options.out.with_suffix(".md"), text.encode())
    print(text, end="")


if __name__ == "__main__":
    main()
