"""deploy/slurm.sbatch on a real Slurm: shares in parallel; a task that dies, run again alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk

from inference.many.shard import Shard
from phantom import Phantom
from tests.deploy.slurm import Slurm, missing

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "slurm.sbatch"
SIZE = ("--cpus-per-task=1", "--mem=900")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    if absent := missing():
        pytest.skip(
            f"no Slurm here ({', '.join(absent)} missing): on Debian, "
            "apt-get install slurmctld slurmd slurm-client munge"
        )
    with tempfile.TemporaryDirectory(prefix="slurm_") as folder, Slurm(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, phantom: Phantom) -> Path:
    """Forty names, ten different scans."""
    folder = tmp_path_factory.mktemp("scans")
    for i in range(40):
        path = folder / f"case{i:02}_0000.nii.gz"
        if i >= 10:
            os.link(folder / f"case{i % 10:02}_0000.nii.gz", path)
            continue
        image = sitk.GetImageFromArray(phantom.image_ZYX + 5 * i)
        image.SetSpacing(phantom.grid.spacing[::-1])
        sitk.WriteImage(image, str(path))
    return folder


@pytest.fixture(scope="module")
def clean(
    tmp_path_factory: pytest.TempPathFactory, scans: Path, tiny_model: Path
) -> dict[str, bytes]:
    """The labels that one process without shares writes."""
    target = tmp_path_factory.mktemp("clean")
    words = [sys.executable, "-m", "inference", "-i", scans, "-o", target, *options(tiny_model)]
    subprocess.run(list(map(str, words)), cwd=ROOT, check=True, timeout=100)
    return labels(target)


def options(model: Path) -> tuple[str, ...]:
    return ("--device", "cpu", "--model", str(model), "--quiet")


def labels(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}


def submit(slurm: Slurm, target: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit status and job number of an array, run to its end with ``--wait`` among ``words``."""
    source, model, *more = words
    done = slurm.call(
        "sbatch", "--parsable", f"--chdir={ROOT}", f"--output={target}/%A_%a.log", *SIZE, *more,
        SCRIPT, source, target, *options(Path(model)),
        PYTHON=sys.executable, OMP_NUM_THREADS="1", **environment,
    )  # fmt: skip
    assert re.fullmatch(r"\d+", done.stdout.strip()), done.stderr + slurm.log()
    return done.returncode, done.stdout.strip()


def test_shares_give_what_one_process_gives(
    slurm: Slurm, scans: Path, clean: dict[str, bytes], tiny_model: Path, tmp_path: Path
):
    words = (str(scans), str(tiny_model), "--wait", "--array=1-3")
    status, job = submit(slurm, tmp_path, *words)
    assert "\n".join(path.read_text() for path in tmp_path.glob("*.log")).strip() == ""
    assert status == 0
    assert labels(tmp_path) == clean
    reports = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert reports == [f"{job}.{task}.json" for task in (1, 2, 3)]


def test_a_task_that_died_is_run_again_alone(
    slurm: Slurm, scans: Path, clean: dict[str, bytes], tiny_model: Path, tmp_path: Path
):
    share = {name for name in clean if Shard(2, 2).takes(name.removesuffix(".nii.gz"))}
    common = (str(scans), str(tiny_model))
    _, job = submit(slurm, tmp_path, *common, "--array=0-1")
    end = time.monotonic() + 60
    while not share & labels(tmp_path).keys():
        assert time.monotonic() < end, slurm.log()
        time.sleep(0.005)
    slurm.call("scancel", "--signal=KILL", "--full", f"{job}_1")
    while slurm.call("squeue", "-h", "-j", job).stdout.strip():
        assert time.monotonic() < end, slurm.log()
        time.sleep(0.1)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.nii.gz")}
    assert clean.keys() - share <= before.keys()
    assert share - before.keys(), "the task was done before it could be killed"
    status, _ = submit(slurm, tmp_path, *common, "--wait", "--array=1", ABDOBOX_SHARDS="2")
    assert status == 0
    assert labels(tmp_path) == clean
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.nii.gz")}
    assert {name: after[name] for name in before} == before, "labels that were there were redone"
