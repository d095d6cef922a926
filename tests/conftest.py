"""Fixtures that every part of the tests shares: a phantom, and a model with random weights."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

# Small networks gain nothing from threads, and on a busy machine the threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from phantom import Phantom, make_phantom
from tests.random_model import TINY, write_model

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: three stages, 8 mm, 32^3 windows, seeded random weights."""
    return write_model(tmp_path_factory.mktemp("weights") / "random")


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a variant of the tiny model and returns its folder."""

    def make(name: str = "variant", **changes: object) -> Path:
        return write_model(tmp_path / "models" / name, replace(TINY, **changes))

    return make


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    """A patient at 8 mm, larger than the tiny model's window along every axis but z."""
    return make_phantom((30, 40, 48), (8.0, 8.0, 8.0), seed=1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CT scans beside the repository; skips where it is absent."""
    folder = SHARED / "data"
    if not (folder / "ct").is_dir():
        pytest.skip("no real scans: ../shared/data is absent")
    return folder


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a small tmpfs with these options; skips where mounting is denied."""
    folder = tmp_path / "mounted"

    def mount_with(options: str) -> Path:
        folder.mkdir()
        tool = shutil.which("mount")
        command = [tool or "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if tool is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no tmpfs can be mounted here")
        return folder

    yield mount_with
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)
