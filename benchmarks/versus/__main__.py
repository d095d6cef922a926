"""``python -m benchmarks.versus``: see the package."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from benchmarks.flare_harness.simulate import TABLE6_SLICES
from benchmarks.models import HELP, chosen
from benchmarks.versus import peers, repeat, runs, scaling, table
from benchmarks.versus.tools import BUILD, OWN_NETWORKS, TOOLS
from inference.scan.atomic import write_atomically

WORK = BUILD / "versus"
PHANTOMS = WORK / "phantoms"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    status: int = options.action(options)
    return status


def _setup(options: argparse.Namespace) -> int:
    print(peers.setup())
    return 0


def _phantoms(options: argparse.Namespace) -> int:
    for slices in options.sizes:
        print(scaling.phantom_scan(PHANTOMS, slices), flush=True)
    return 0


def _run(options: argparse.Namespace) -> int:
    scans = [*options.case, *(scaling.phantom_scan(PHANTOMS, n) for n in options.sizes)]
    plan = runs.Plan(
        scans, options.tools, chosen(options.model), options.runs, options.device,
        options.minutes, WORK, options.minutes_each,
    )  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = table.markdown(runs.run(plan, options.out))
    write_atomically(options.out.with_suffix(".md"), text.encode())
    print(text, end="")
    return 0


def _plot(options: argparse.Namespace) -> int:
    document = runs.load(options.file)
    scaling.plot(document, options.file.with_suffix(".png"))
    print(scaling.markdown(document), end="")
    return 0


def _repeat(options: argparse.Namespace) -> int:
    for path in options.files:
        if not path.is_file():
            sys.exit(f"error: {path}: there is no such file")
    try:
        found = repeat.pairs(*(runs.load(path) for path in options.files))
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(repeat.markdown(found), end="")
    return 0 if repeat.agree(found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versus")
    actions = parser.add_subparsers(required=True, metavar="setup|phantoms|run|plot|repeat")
    setup = actions.add_parser("setup", help="install the peers into build/peers/.venv")
    setup.set_defaults(action=_setup)
    phantoms = actions.add_parser("phantoms", help="write phantom scans, which run else does")
    phantoms.set_defaults(action=_phantoms)
    phantoms.add_argument("sizes", type=int, nargs="*", default=TABLE6_SLICES, metavar="SLICES")
    run = actions.add_parser("run", help="run the tools in turn and add to a JSON file")
    run.set_defaults(action=_run)
    run.add_argument(
        "--case", type=Path, nargs="+", default=[], metavar="X_0000.nii.gz", help="scans"
    )
    run.add_argument(
        "--sizes", type=int, nargs="+", default=[], metavar="SLICES",
        help=f"phantoms of 512x512xSLICES; the paper's Table 6: {TABLE6_SLICES}",
    )  # fmt: skip
    run.add_argument("--model", help=HELP)
    same_work = [tool for tool in TOOLS if tool not in OWN_NETWORKS]
    run.add_argument(
        "--tools", nargs="+", choices=TOOLS, default=same_work,
        help=f"default: those with this project's network: {' '.join(same_work)}",
    )  # fmt: skip
    run.add_argument("--runs", type=int, default=1, help="of each tool on each scan (default: 1)")
    run.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    run.add_argument("--minutes", type=float, default=8.5, help="for everything (default: 8.5)")
    run.add_argument(
        "--minutes-each", type=float, default=math.inf, help="for one run (default: no limit)"
    )
    run.add_argument("--out", type=Path, default=WORK / "versus.json", help="JSON to add to")
    plot = actions.add_parser("plot", help="time and memory against size, from a JSON file")
    plot.set_defaults(action=_plot)
    plot.add_argument("file", type=Path)
    again = actions.add_parser("repeat", help="do the ratios of two JSON files agree within 10 %%?")
    again.set_defaults(action=_repeat)
    again.add_argument("files", type=Path, nargs=2, metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
