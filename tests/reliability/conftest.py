"""Fixtures of the reliability tests: sound scans, and the command line as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from phantom import make_phantom

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


@pytest.fixture
def many(tmp_path: Path, sound: Path) -> Path:
    """A folder with one scan under forty names."""
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(40):
        os.link(sound / "b_0000.nii.gz", folder / f"case{i:02}_0000.nii.gz")
    return folder


@pytest.fixture
def start(command: Command) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts the command line; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(source: Path, target: Path, *more: object) -> subprocess.Popen[str]:
        # Where the tests run in a shell's background, SIGINT is ignored, and that is inherited.
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        process = subprocess.Popen(
            command(source, target, *more),
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        signal.signal(signal.SIGINT, before)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for_files(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until ``count`` labels are there, while the process runs."""
    end = time.monotonic() + 60
    while len(list(folder.glob("*.nii.gz"))) < count:
        assert process.poll() is None, "it was done before it could be disturbed"
        assert time.monotonic() < end
        time.sleep(0.005)


def assert_all_equal(folder: Path, expected: bytes, names: set[str]) -> None:
    """These labels and nothing else, all of them ``expected``."""
    found = contents(folder)
    assert found.keys() == names
    assert set(found.values()) <= {expected}
