"""Everything that a GPU has to show: correctness, speed, memory, and what happens without enough.

    python3 -m benchmarks.gpu [--out FILE.json] [--quick] [--device cuda:N|cpu] [--only SECTION ...]

Needs torch, numpy, scipy, safetensors, isal, psutil and nvidia-ml-py; CuPy and nnU-Net are measured
where they are installed. Takes weights/small where it is there, else seeded random weights of the
same network: times and memory are the same, accuracies say nothing. Sections are independent: one
that fails is recorded and the others go on, and the JSON file is rewritten after each.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("torch", "numpy", "scipy", "safetensors", "isal", "psutil")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--out", type=Path, default=Path("gpu.json"), metavar="FILE.json")
    p.add_argument("--quick", action="store_true", help="small scans and few repetitions")
    p.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script")
    p.add_argument("--model", type=Path, metavar="DIR", help="default: weights/small, or random")
    p.add_argument("--only", nargs="+", metavar="SECTION", help="only these sections")
    p.add_argument(
        "--limit", type=float, default=290.0, metavar="S",
        help="stop the script after so many seconds, whatever hangs (default: 290)",
    )  # fmt: skip
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the sections; returns 1 if one of them failed or a check did not hold."""
    args = parser().parse_args(argv)
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(
            f"error: {', '.join(missing)} not installed: python3 -m pip install {' '.join(missing)}"
            " (without a network: from a wheel)"
        )
    from benchmarks.gpu.bench import Bench, run_sections, within
    from benchmarks.gpu.data import model_folder
    from benchmarks.gpu.sections import SECTIONS

    known = [section.name for section in SECTIONS]
    if unknown := set(args.only or ()) - set(known):
        sys.exit(f"error: no section {', '.join(unknown)}; there are {', '.join(known)}")
    faulthandler.dump_traceback_later(args.limit, exit=True)
    try:
        with tempfile.TemporaryDirectory(prefix="gpu_bench_") as folder:
            work = Path(folder)
            # CuPy's first use is only a first use with an empty cache.
            os.environ["CUPY_CACHE_DIR"] = str(work / "cupy")
            bench = Bench(args.device, args.quick, work, args.model or model_folder(work))
            chosen = [s for s in SECTIONS if args.only is None or s.name in args.only]
            document = run_sections(bench, within(chosen, args.limit), args.out)
    finally:
        faulthandler.cancel_dump_traceback_later()
    failed = any("error" in s for s in document["sections"].values())
    return 1 if failed or document["failed_checks"] else 0


if __name__ == "__main__":
    # Instead of this file's own folder, whose modules are not meant to be found by bare names.
    sys.path[0] = str(ROOT)
    sys.exit(main())
