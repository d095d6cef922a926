"""Which model a benchmark runs: an installed one, or random weights of the paper's network."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

from benchmarks.environment import ROOT
from inference.engines.interface import Precision
from inference.model.description import ModelDescription
from inference.model.folder import WEIGHTS, model_folder

RANDOM = "random"
HELP = (
    "a folder under weights/, a path to one, or random: the paper's Small network with random "
    "weights, for times and memory (default: the default model)"
)


def chosen(name: str | None, folder: Path = ROOT / "build" / "models") -> Path:
    """The folder of the model ``name``; the random one is made below ``folder``.

    Raises:
        ModelError: there is no such model.
    """
    if name != RANDOM:
        return model_folder(WEIGHTS, name).resolve()
    from benchmarks.gpu.data import RANDOM as DESCRIPTION
    from benchmarks.gpu.data import write_random

    shutil.rmtree(folder / RANDOM, ignore_errors=True)
    random = write_random(folder / RANDOM, DESCRIPTION)
    _calibrate(random)
    return random


def _calibrate(model: Path) -> None:
    """Let a model compute in int8, as the installed ones can: by its ranges on a coarse phantom."""
    from inference.scan.volume import Volume
    from phantom import make_phantom
    from training.ship.calibrate import calibrate
    from training.ship.export import model_json

    phantom = make_phantom((24, 32, 32), (6.0, 6.0, 6.0), seed=1)
    description = ModelDescription.load(model)
    ranges = calibrate(model, [Volume.of_array(phantom.image_ZYX, phantom.grid)])
    (model / "model.json").write_text(model_json(replace(description, ranges=ranges)))


class How(NamedTuple):
    """How a model is to be run: options of ``python -m inference``."""

    step: float | None = None
    precision: Precision = "auto"

    @classmethod
    def of(cls, options: argparse.Namespace) -> How:
        """From what :meth:`add_to`'s options were given."""
        return cls(options.step, options.precision)

    @staticmethod
    def add_to(parser: argparse.ArgumentParser) -> None:
        """The options."""
        parser.add_argument("--step", type=float, metavar="F", help="default: the model's")
        parser.add_argument("--precision", choices=get_args(Precision), default="auto")

    @property
    def words(self) -> list[str]:
        """For the command line of ``python -m inference``."""
        words = [] if self.step is None else ["--step", str(self.step)]
        return [*words, "--precision", self.precision]

    @property
    def text(self) -> str:
        """How the windows are placed, in words, and the precision."""
        placed = "windows placed as the model says" if self.step is None else f"step {self.step:g}"
        return f"{placed}, precision {self.precision}"
