"""Command line of the harness: see the package."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

from benchmarks.flare_harness.case import Result, run_case
from benchmarks.flare_harness.engine import Docker, Limits
from benchmarks.flare_harness.machine import Gpu, NoGpuError
from benchmarks.flare_harness.simulate import TABLE6_SLICES, write_scan
from benchmarks.flare_harness.tables import draw_curves, markdown, write_official_csv
from inference.machine.threads import processors


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.flare_harness", description=__doc__)
    p.add_argument("--image", required=True, help="the image to judge, as abdobox:latest")
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--cases", type=Path, metavar="DIR", help="folder of *_0000.nii.gz")
    source.add_argument(
        "--simulate", type=int, nargs="*", metavar="N",
        help="phantom scans of 512x512xN instead, kept in OUT/scans; without N the sizes of the "
        "paper's Table 6: " + " ".join(map(str, TABLE6_SLICES)),
    )  # fmt: skip
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    p.add_argument("--gpus", metavar="SPEC", help="docker's --gpus, as device=1; none by default")
    p.add_argument("--memory", default="28G", help="docker's -m (default: 28G)")
    p.add_argument("--shm-size", default="28gb", help="docker's --shm-size (default: 28gb)")
    p.add_argument("--timeout", type=float, default=600.0, metavar="S", help="seconds per case")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run all cases; returns 0 if every one was done, else 1."""
    args = parser().parse_args(argv)
    gpu = _gpu(args.gpus)
    docker = Docker()
    try:
        image = docker.image(args.image)
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
    limits = Limits(args.gpus, args.memory, args.shm_size, args.timeout)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.cases:
        scans = sorted(args.cases.glob("*_0000.nii.gz"))
    else:
        scans = [write_scan(args.out / "scans", n) for n in args.simulate or TABLE6_SLICES]
    if not scans:
        sys.exit(f"error: {args.cases}: holds no *_0000.nii.gz")
    results: list[Result] = []
    for index, scan in enumerate(scans, 1):
        result = run_case(scan, args.image, args.out, limits, gpu=gpu, docker=docker)
        results.append(result)
        line = "; ".join([result.state, *result.problems])
        print(
            f"[{index}/{len(scans)}] {result.name}: {result.outcome.seconds:.1f} s, {line}",
            file=sys.stderr,
        )
        # After every case, so that an interrupted evaluation keeps what it has.
        _write(args.out, result, results)
    about = {
        "image": image,
        "gpu": gpu.name if gpu else None,
        "machine": platform.machine(),
        "processors": processors(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cases": {r.name: r.state for r in results},
    }
    (args.out / "harness.json").write_text(json.dumps(about, indent=1) + "\n")
    print(markdown(results), end="")
    return 0 if all(r.state == "done" for r in results) else 1


def _gpu(gpus: str | None) -> Gpu | None:
    """The device to watch; without ``--gpus`` none, and without NVML that is an error."""
    if gpus is None:
        print("no --gpus: no device memory is watched, CPU columns only", file=sys.stderr)
        return None
    try:
        return Gpu(gpus)
    except NoGpuError as error:
        sys.exit(f"error: {error}")


def _write(out: Path, result: Result, results: list[Result]) -> None:
    # One line per entry: the samples are long.
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in result.document().items()]
    (out / f"{result.name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    draw_curves(out / f"{result.name}_memory.png", result)
    write_official_csv(out / "efficiency.csv", results)
    (out / "table6.md").write_text(markdown(results))


if __name__ == "__main__":
    sys.exit(main())
