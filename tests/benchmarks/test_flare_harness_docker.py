"""The harness with a real Docker engine ($DOCKER, or ``docker``) and an image that misbehaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.flare_harness.__main__ import main
from inference.grid import Grid
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image

pytestmark = [pytest.mark.docker, pytest.mark.slow]

DOCKER = os.environ.get("DOCKER", "docker")
TAG = "abdobox-harness-test"
# What it does depends on the case's name.
PREDICT = """case "$(ls inputs)" in
    sleeping*) sleep 1000 ;;
    failing*) echo broken >&2; exit 3 ;;
    silent*) ;;
    *) sleep 1; cp inputs/good_0000.nii.gz outputs/good.nii.gz ;;
esac
"""


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([DOCKER, *arguments], capture_output=True, check=False)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if shutil.which(DOCKER) is None or run("info").returncode:
        pytest.skip("no Docker engine")
    base = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
    folder = tmp_path_factory.mktemp("image")
    (folder / "predict.sh").write_text(PREDICT)
    (folder / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /workspace\nCOPY predict.sh ./\n")
    more = os.environ.get("DOCKER_BUILD_ARGS", "").split()
    built = run("build", "-q", *more, "-t", TAG, str(folder))
    assert built.returncode == 0, built.stderr
    yield TAG
    run("rmi", TAG)


def test_every_end_of_a_container(image: str, tmp_path: Path) -> None:
    grid = Grid((4, 10, 12), (5.0, 2.0, 2.0))
    voxels = np.random.default_rng(0).integers(0, 15, grid.shape).astype(np.int16)
    for name in ("good", "failing", "silent", "sleeping"):
        write_image(tmp_path / f"{name}_0000.nii.gz", voxels, NiftiHeader.of_grid(grid))
    out = tmp_path / "out"
    assert main(["--image", image, "--cases", str(tmp_path), "--out", str(out), "--timeout", "5"])
    cases = {p.stem: json.loads(p.read_text()) for p in out.glob("*.json")}
    states = cases.pop("harness")["cases"]
    assert states == {
        "good": "done",
        "failing": "failed",
        "silent": "wrong output",
        "sleeping": "timeout",
    }
    assert cases["failing"]["exit_code"] == 3
    assert "broken" in cases["failing"]["log"]
    assert 5 <= cases["sleeping"]["seconds"] < 10
    assert cases["good"]["container_cpu_s"] > 0
    assert 0 < cases["good"]["container_ram_max_mb"] < 100
    assert b"flare-" not in run("ps", "-a", "--format", "{{.Names}}").stdout
