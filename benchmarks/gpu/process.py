"""Whole processes, as a user starts them: cold start, folders, and nnU-Net beside them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.flare_harness.curve import Sampler
from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.data import usual_scan, write_scan
from inference.many.batch import usual_jobs

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 120.0
# 0.1 s is the challenge's interval; peaks are looked for ten times as often.
_FINE_S = 0.01


def watched(command: list[str], bench: Bench) -> Row:
    """Run ``command`` from the repository's root: wall clock, and device memory over time.

    Memory is the whole device's, as the challenge counts it: whatever else runs is in it, and was
    there before as ``idle_mb``. This process must hold nothing on the device yet.
    """
    log = bench.work / "log"
    coarse = Sampler(bench.gpu.used_mb) if bench.gpu else None
    fine = Sampler(bench.gpu.used_mb, _FINE_S) if bench.gpu else None
    row: Row = {"idle_mb": bench.gpu.used_mb() if bench.gpu else None}
    with open(log, "wb") as sink:
        for sampler in (coarse, fine):
            if sampler:
                sampler.__enter__()
        start = time.perf_counter()
        try:
            code: int | str = subprocess.run(
                command, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_S, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = f"killed after {_TIMEOUT_S:.0f} s"
        row["seconds"] = time.perf_counter() - start
        for sampler in (coarse, fine):
            if sampler:
                sampler.__exit__(None, None, None)
    if coarse and fine:
        curve = coarse.curve(float)
        row["max_mb"] = max(curve.peak, fine.curve(float).peak)
        row["official_mb_s"], row["area_mb_s"] = curve.official_area, curve.area
    if code != 0:
        row |= {"ok": False, "exit": code, "log": log.read_text(errors="replace")[-500:]}
    return row


def cli(bench: Bench, source: Path, target: Path, *more: str) -> list[str]:
    """The command line of the box."""
    return [
        sys.executable, "-m", "inference", "-i", str(source), "-o", str(target),
        "--model", str(bench.model), "--device", bench.device, "--quiet", *more,
    ]  # fmt: skip


def cold(bench: Bench) -> Iterator[Row]:
    """One scan, one process: the challenge's way, less the container."""
    context = f"import torch; torch.zeros(1, device='{bench.device}')"
    for what, code in (("import torch", "import torch"), ("one tensor on the device", context)):
        for run in (1, 2):
            yield {"what": what, "run": run, **watched([sys.executable, "-c", code], bench)}
    slices, in_plane = (40, 128) if bench.quick else (300, 512)
    scan = write_scan(usual_scan(slices, in_plane), bench.work / "cold" / "scan_0000.nii.gz")
    variants: list[tuple[str, ...]] = [(), (), (), ("--decode", "nearest")]
    if bench.cuda and importlib.util.find_spec("cupy"):
        # The first compiles its kernel, the second finds it in CuPy's cache.
        variants += [("--resampler", "cupy"), ("--resampler", "cupy")]
    for run, more in enumerate(variants, 1):
        report = bench.work / "report.json"
        out = bench.work / "cold_out"
        row = watched(cli(bench, scan, out, "--report", str(report), *more), bench)
        if row.get("ok") is not False:
            row |= _stage_seconds(report)
        what = f"{in_plane}x{in_plane}x{slices} {' '.join(more)}".strip()
        yield {"what": what, "run": run, **row}


def folder(bench: Bench) -> Iterator[Row]:
    """Several scans in one process, one at a time and side by side: seconds for each further one.

    ``network_share`` of them is the network's, as one scan at a time measures it.
    """
    slices, in_plane, count = (40, 128, 2) if bench.quick else (100, 512, 16)
    first = write_scan(usual_scan(slices, in_plane), bench.work / "one" / "scan0_0000.nii.gz")
    many = bench.work / "many"
    many.mkdir()
    for index in range(count):
        shutil.copyfile(first, many / f"scan{index}_0000.nii.gz")
    report = bench.work / "report.json"
    alone = watched(cli(bench, first.parent, bench.work / "one_out"), bench)
    yield {"what": f"1 scan of {in_plane}x{in_plane}x{slices}", **alone}
    network_s = 0.0
    for jobs in (1, usual_jobs()):
        more = ("--jobs", str(jobs), "--report", str(report))
        row = watched(cli(bench, many, bench.work / "many_out", *more), bench)
        each = row["per_further_scan_s"] = (row["seconds"] - alone["seconds"]) / (count - 1)
        stages = _stage_seconds(report)
        if jobs == 1:
            network_s = sum(stages.get(f"{s}_s", 0.0) for s in ("network", "organs network"))
        row["network_share"] = network_s / each
        yield {"what": f"{count} scans, {jobs} at a time", **row, **stages}


def nnunet(bench: Bench) -> Iterator[Row]:
    """nnU-Net on the same scan, weights and device, step 0.5, without mirroring."""
    if importlib.util.find_spec("nnunetv2") is None:
        yield {"what": "nnunetv2 is not installed: no comparison"}
        return
    from benchmarks.versus.nnunet_model import write_model

    slices, in_plane = (40, 128) if bench.quick else (300, 512)
    inputs, model = bench.work / "nnunet_in", bench.work / "nnunet_model"
    write_scan(usual_scan(slices, in_plane), inputs / "scan_0000.nii.gz")
    write_model(bench.model, model)
    entry = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder"
    command = [
        sys.executable, "-c", f"{entry}; predict_entry_point_modelfolder()", "-i", str(inputs),
        "-o", str(bench.work / "nnunet_out"), "-m", str(model), "-f", "0", "-step_size", "0.5",
        "--disable_tta", "-device", bench.device.partition(":")[0], "--disable_progress_bar",
    ]  # fmt: skip
    yield {"what": f"nnU-Net {in_plane}x{in_plane}x{slices}", **watched(command, bench)}
    target = bench.work / "reference_out"
    same = cli(bench, inputs, target, "--decode", "linear", "--step", "0.5")
    yield {"what": "abdobox, the same work", **watched(same, bench)}


def _stage_seconds(report: Path) -> Row:
    """Seconds per stage of the last case of a run's report, not synchronised with the device."""
    if not report.is_file():
        return {}
    seconds = json.loads(report.read_text())["cases"][-1]["seconds"]
    return {f"{stage}_s": value for stage, value in seconds.items()}
