"""Fixtures of the reliability tests: sound scans, and the command line as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.phantom import make_phantom
from inference.nifti import NiftiHeader
from inference.volume import write_image

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., list[str]]


def contents(folder: Path) -> dict[str, bytes]:
    """Name to bytes of every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three sound scans: b, m and y, so that bad ones stand before and between."""
    folder = tmp_path_factory.mktemp("sound")
    for seed, name in enumerate("bmy"):
        phantom = make_phantom((10 + seed, 20, 22), (14.0, 14.0, 14.0), seed=seed)
        header = NiftiHeader.of_grid(phantom.grid)
        write_image(folder / f"{name}_0000.nii.gz", phantom.image_ZYX, header)
    return folder


@pytest.fixture(scope="session")
def command(tiny_model: Path) -> Command:
    """A function that gives the words of the command line, with the tiny model on the CPU."""

    def words(source: Path, target: Path, *more: object) -> list[str]:
        paths = ["-i", source, "-o", target, "--device", "cpu", "--model", tiny_model, *more]
        return [sys.executable, "-m", "inference", *map(str, paths)]

    return words


@pytest.fixture(scope="session")
def call(command: Command) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs the command line to its end."""

    def run(source: Path, target: Path, *more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(source, target, *more),
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def clean(sound: Path, call: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a clean run over the sound scans writes."""
    target = tmp_path_factory.mktemp("clean")
    result = call(sound, target)
    assert (result.returncode, result.stdout) == (0, "")
    return contents(target)
