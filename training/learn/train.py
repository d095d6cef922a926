"""``python -m training train``: train a network as a recipe says."""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from inference.errors import AbdoboxError
from training.data.folders import make_folder
from training.data.store import Store
from training.learn import checkpoint
from training.learn.limits import Limits
from training.learn.memory import keep_freed_memory
from training.learn.processes import Processes
from training.learn.report import Emissions, write_report
from training.learn.trainer import Trainer
from training.options import length, minutes
from training.recipe import Recipe, load_recipe
from training.synthesis.anatomy import Anatomy
from training.synthesis.source import load_anatomies


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    try:
        complete, step = sitting(argv)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    state = "complete" if complete else "stopped; go on with --resume"
    print(f"training {state} at step {step}", file=sys.stderr)
    return 0


def sitting(argv: Sequence[str] | None = None) -> tuple[bool, int]:
    """Train as the command line says, until the end, a limit, SIGINT or SIGTERM.

    Returns:
        Whether the training is complete, and its last step.

    Raises:
        AbdoboxError: recipe, data or run are not what is needed.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.label_maps and not arguments.structures:
        parser.error("--label-maps needs --structures")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    processes = Processes.join(arguments.device)
    keep_freed_memory()
    try:
        return _train(arguments, processes)
    finally:
        processes.leave()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _train(arguments: argparse.Namespace, processes: Processes) -> tuple[bool, int]:
    """Train as the options say. Returns whether the training is complete, and its last step."""
    recipe = load_recipe(arguments.recipe)
    store = Store(arguments.data, arguments.hold_out)
    make_folder(arguments.out)
    with claim(arguments.out) if processes.rank == 0 else nullcontext():
        if not arguments.resume and (arguments.out / checkpoint.LAST).exists():
            raise checkpoint.CheckpointError(
                arguments.out, "holds a training already", "add --resume or take another folder"
            )
        trainer = _trainer(arguments, recipe, store, processes)
        if processes.rank == 0:
            text = json.dumps(recipe.to_dict(), indent=1)
            (arguments.out / "recipe.json").write_text(text, encoding="utf-8")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: trainer.stop())
        emissions, before = Emissions(), trainer.position.step
        # One process measures the whole machine.
        with emissions.measured() if processes.rank == 0 else nullcontext():
            complete = trainer.train(Limits(arguments.max_minutes, arguments.schedule_minutes))
        if processes.rank == 0 and trainer.position.step > before:
            if emissions.kilograms is not None:
                step = trainer.position.step
                trainer.journal.write("emissions", step, kilograms=emissions.kilograms)
            write_report(arguments.out, recipe)
    return complete, trainer.position.step


def _trainer(
    arguments: argparse.Namespace, recipe: Recipe, store: Store, processes: Processes
) -> Trainer:
    """With its first weights, or as far as an earlier sitting has brought it."""
    anatomies: list[Anatomy] = []
    if arguments.label_maps:
        anatomies = load_anatomies(
            arguments.label_maps,
            arguments.structures,
            arguments.anatomies or arguments.out / "anatomies",
        )
    further = {
        "schedule_minutes": arguments.schedule_minutes,
        "label_maps": [path.name for path in arguments.label_maps],
    }
    trainer = Trainer(recipe, store, arguments.out, processes, anatomies, further)
    if arguments.resume:
        last = arguments.out / checkpoint.LAST
        trainer.restore(checkpoint.load(last, processes.device, "train without --resume"))
    elif arguments.start_from:
        trainer.start_from(arguments.start_from)
    return trainer


def claim(folder: Path) -> IO[str]:
    """A lock on a run's folder, held until it is closed or the process ends.

    Raises:
        CheckpointError: another training is going on there; two would overwrite each other.
    """
    lock = (folder / "lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise checkpoint.CheckpointError(
            folder, "is in use by another training", "stop that one first"
        ) from error
    return lock


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training train", description=__doc__)
    parser.add_argument("--recipe", required=True, help="name or TOML file")
    parser.add_argument("--data", type=Path, required=True, help="folder written by preprocess")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--hold-out",
        nargs="+",
        default=[],
        metavar="PATIENT",
        help="validate on these patients instead of training on them (cross-validation)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="CHECKPOINT",
        help="first weights: another run's, or a model's folder (weights/small), widened where "
        "this network is wider",
    )
    parser.add_argument(
        "--max-minutes",
        type=minutes,
        default=math.inf,
        metavar="M",
        help="stop cleanly after so long, with a checkpoint",
    )
    parser.add_argument(
        "--schedule-minutes",
        type=length,
        metavar="M",
        help="let the learning rate follow the time trained out of so long",
    )
    parser.add_argument(
        "--label-maps",
        type=Path,
        nargs="+",
        default=[],
        metavar="NIFTI",
        help="label maps without scans, for the recipe's synthetic patches",
    )
    parser.add_argument(
        "--structures", type=Path, metavar="JSON", help="names of the label maps' values"
    )
    parser.add_argument(
        "--anatomies",
        type=Path,
        metavar="DIR",
        help="folder that keeps what is built from the label maps",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda[:N]")
    return parser
