"""The harness without an engine: a script plays the docker client, and NVML is a fake."""

from __future__ import annotations

import csv
import itertools
import json
import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.flare_harness.__main__ import main
from benchmarks.flare_harness.cgroup import Container, Usage
from benchmarks.flare_harness.curve import Curve, Sampler
from benchmarks.flare_harness.engine import Limits, challenge_command
from benchmarks.flare_harness.machine import MB, Gpu, NoGpuError, first_device
from benchmarks.flare_harness.output import output_problems
from benchmarks.flare_harness.simulate import TABLE6_SLICES, thickness_mm, write_scan
from benchmarks.flare_harness.tables import OFFICIAL_COLUMNS
from inference.grid import Grid
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image

GRID = Grid((6, 20, 24), (5.0, 2.0, 1.5), (-10.0, 20.0, -30.0))

# Plays `docker`: `run` finds its work folder in the second -v and does as the image's name says.
DOCKER = """#!{python}
import sys, time, shutil, pathlib
with open("{calls}", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
killed = pathlib.Path("{calls}.killed")
if sys.argv[1:3] == ["image", "inspect"]:
    if sys.argv[-1] == "absent":
        sys.exit("Error: No such image")
    print("sha256:abc 123456789")
elif sys.argv[1:3] == ["container", "inspect"]:
    sys.exit("Error: No such container")
elif sys.argv[1] == "kill":
    killed.touch()
elif sys.argv[1:3] == ["container", "run"]:
    work = pathlib.Path([a for a in sys.argv if a.endswith("/outputs/")][0].split(":")[0]).parent
    scan, = (work / "inputs").iterdir()
    labels = work / "outputs" / scan.name.replace("_0000", "")
    image = sys.argv[-4]
    print("hello from", image)
    if image == "good":
        shutil.copy("{labels}", labels)
        time.sleep(0.3)
    elif image == "shifted":
        shutil.copy("{shifted}", labels)
    elif image == "failing":
        sys.exit(1)
    elif image == "sleeping":
        while not killed.exists():
            time.sleep(0.02)
        sys.exit(137)
"""


def write_labels(path: Path, grid: Grid, value: int = 3) -> Path:
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:4, 5:9, 5:9] = value
    write_image(path, labels, NiftiHeader.of_grid(grid))
    return path


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """A folder with one scan."""
    folder = tmp_path / "cases"
    folder.mkdir()
    voxels = np.random.default_rng(0).integers(-1000, 1000, GRID.shape).astype(np.int16)
    write_image(folder / "case_0000.nii.gz", voxels, NiftiHeader.of_grid(GRID))
    return folder


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts the fake client into $DOCKER; the file that is returned lists what it was asked."""
    log = tmp_path / "calls"
    shifted = Grid(GRID.shape, GRID.spacing, (-10.0, 20.0, -31.0))
    script = tmp_path / "docker"
    script.write_text(
        DOCKER.format(
            python=sys.executable,
            calls=log,
            labels=write_labels(tmp_path / "labels.nii.gz", GRID),
            shifted=write_labels(tmp_path / "shifted.nii.gz", shifted),
        )
    )
    script.chmod(0o755)
    monkeypatch.setenv("DOCKER", str(script))
    return log


class FakeError(Exception):
    """pynvml.NVMLError."""


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """pynvml with one device of 1000 MB, of which 100 MB more are in use at every reading."""
    readings = itertools.count()  # the first one only asks whether there are any

    def handle(index: int) -> int:
        if index != 1:
            raise FakeError("Invalid Argument")
        return index

    def memory(handle: int) -> SimpleNamespace:
        used = min(100 * next(readings), 900)
        # `used` leaves out what the driver has reserved: total - free is what counts.
        return SimpleNamespace(total=1000 * MB, free=(1000 - used) * MB, used=1)

    fake = SimpleNamespace(
        NVMLError=FakeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda handle: b"Fake GPU",
        nvmlDeviceGetMemoryInfo=memory,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)


def run(cases: Path, out: Path, image: str, *more: str) -> tuple[int, dict]:
    code = main(["--image", image, "--cases", str(cases), "--out", str(out), *more])
    return code, json.loads((out / "case.json").read_text())


def test_areas_by_hand() -> None:
    curve = Curve((0.0, 0.1, 0.3), (100.0, 200.0, 400.0))
    assert curve.peak == 400
    assert curve.official_area == pytest.approx(70.0)
    assert curve.area == pytest.approx(0.1 * 150 + 0.2 * 300)
    assert Curve((), ()).area == Curve((), ()).official_area == Curve((), ()).peak == 0


def test_sampler_keeps_its_pace_with_slow_readings() -> None:
    def slow() -> float:
        time.sleep(0.015)
        return 1.0

    with Sampler(slow, 0.02) as sampler:
        time.sleep(0.5)
    # A sleep of the interval after each reading would get 14.
    assert len(sampler.samples) >= 18
    assert len(Sampler(lambda: None).samples) == 0


def test_sampler_raises_what_its_reading_raised() -> None:
    def broken() -> float:
        raise OSError("the GPU has fallen off the bus")

    with pytest.raises(OSError, match="fallen"), Sampler(broken):
        pass


def test_command_is_the_challenges() -> None:
    command = challenge_command("abdobox:latest", "n", Path("/w"), Limits("device=1"))
    assert shlex.join(["docker", *command]) == (
        "docker container run --gpus device=1 -m 28G --shm-size=28gb --name n --rm "
        "-v /w/inputs/:/workspace/inputs/ -v /w/outputs/:/workspace/outputs/ "
        "abdobox:latest /bin/bash -c 'sh predict.sh'"
    )
    assert "--gpus" not in challenge_command("abdobox:cpu", "n", Path("/w"), Limits())


@pytest.mark.parametrize(
    ("gpus", "device"),
    [("all", "0"), ("device=1", "1"), ('"device=2,3"', "2"), ("device=GPU-1a-2b", "GPU-1a-2b")],
)
def test_device_that_is_watched(gpus: str, device: str) -> None:
    assert first_device(gpus) == device


def test_unknown_gpus(nvml: None) -> None:
    with pytest.raises(NoGpuError, match="use all or device=N"):
        Gpu("1 2")
    with pytest.raises(NoGpuError, match="Invalid"):
        Gpu("device=7")


def test_good_case(cases: Path, calls: Path, tmp_path: Path, capsys) -> None:
    code, case = run(cases, tmp_path / "out", "good")
    assert code == 0
    assert (case["state"], case["problems"], case["exit_code"]) == ("done", [], 0)
    assert case["size"] == [24, 20, 6]
    assert case["log"] == "hello from good"
    assert case["gpu_max_mb"] is None and case["container_ram_max_mb"] is None
    assert 0.3 <= case["seconds"] < 5
    assert len(case["samples"]["ram_mb"]) >= 3
    assert (tmp_path / "out/labels/case.nii.gz").is_file()
    assert (tmp_path / "out/case_memory.png").stat().st_size > 1000
    printed = capsys.readouterr()
    assert "CPU columns only" in printed.err
    assert "| case | (24, 20, 6) |" in printed.out
    assert "1 of 1 cases done" in printed.out
    about = json.loads((tmp_path / "out/harness.json").read_text())
    assert about["image"] == {"name": "good", "id": "sha256:abc", "size_mb": 123}


def test_device_memory(cases: Path, calls: Path, nvml: None, tmp_path: Path, capsys) -> None:
    _, case = run(cases, tmp_path / "out", "good", "--gpus", "device=1")
    samples = case["samples"]["gpu_mb"]
    assert samples[:3] == [100, 200, 300]
    assert case["gpu_idle_mb"] == 100
    assert case["gpu_max_mb"] == max(samples)
    assert case["gpu_official_mb_s"] == pytest.approx(sum(samples) * 0.1)
    with open(tmp_path / "out/efficiency.csv") as file:
        header, row = csv.reader(file)
    assert tuple(header) == OFFICIAL_COLUMNS
    assert row[0] == "case.nii.gz"
    assert float(row[2]) == max(samples)
    assert float(row[3]) == pytest.approx(sum(samples) * 0.1, abs=0.01)
    assert "--gpus device=1" in calls.read_text()
    assert "within 4096 MB" in capsys.readouterr().out


def test_stuck_container_is_killed_by_name(cases: Path, calls: Path, tmp_path: Path) -> None:
    code, case = run(cases, tmp_path / "out", "sleeping", "--timeout", "0.5")
    assert code == 1
    assert (case["state"], case["exit_code"]) == ("timeout", None)
    assert 0.5 <= case["seconds"] < 2
    lines = calls.read_text().splitlines()
    (name,) = {line.split("--name ")[1].split()[0] for line in lines if "--name" in line}
    assert f"kill {name}" in lines


@pytest.mark.parametrize(
    "image_state_problem",
    [
        ("failing", "failed", "no output"),
        ("silent", "wrong output", "no output"),
        ("shifted", "wrong output", "origin"),
    ],
)
def test_bad_images(
    cases: Path, calls: Path, tmp_path: Path, image_state_problem: tuple[str, str, str]
) -> None:
    image, state, problem = image_state_problem
    code, case = run(cases, tmp_path / "out", image)
    assert code == 1
    assert case["state"] == state
    assert problem in case["problems"][0]
    assert state in (tmp_path / "out/table6.md").read_text()


def test_a_scan_that_cannot_be_read_stops_no_other(cases: Path, calls: Path, tmp_path: Path):
    (cases / "broken_0000.nii.gz").write_bytes(b"no scan")
    code, case = run(cases, tmp_path / "out", "good")
    assert (code, case["state"]) == (1, "done")
    states = json.loads((tmp_path / "out/harness.json").read_text())["cases"]
    assert states["broken"] != "done"
    assert "| broken | () |" in (tmp_path / "out/table6.md").read_text()


def test_nothing_to_run(cases: Path, calls: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="No such image"):
        run(cases, tmp_path / "out", "absent")
    with pytest.raises(SystemExit, match="holds no"):
        run(tmp_path, tmp_path / "out", "good")


def test_output_that_is_no_label_map(cases: Path, tmp_path: Path) -> None:
    scan = cases / "case_0000.nii.gz"
    assert output_problems(scan, write_labels(tmp_path / "a.nii.gz", GRID, 14)) == []
    assert "values" in output_problems(scan, write_labels(tmp_path / "b.nii.gz", GRID, 15))[0]
    small = Grid((6, 20, 23), GRID.spacing, GRID.origin)
    assert "size" in output_problems(scan, write_labels(tmp_path / "c.nii.gz", small))[0]
    (tmp_path / "d.nii.gz").write_bytes(b"nothing")
    assert "cannot be read" in output_problems(scan, tmp_path / "d.nii.gz")[0]


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("version", [1, 2])
def test_usage_of_a_container(tmp_path: Path, version: int) -> None:
    group = "docker/abc"
    top = tmp_path / "sys/fs/cgroup"
    if version == 1:
        put(tmp_path / "proc/7/cgroup", f"4:memory:/{group}\n2:cpu,cpuacct:/{group}\n0::/{group}\n")
        put(top / "memory" / group / "memory.usage_in_bytes", str(300 * 2**20))
        put(
            top / "memory" / group / "memory.stat",
            f"inactive_file 1\ntotal_inactive_file {100 * 2**20}\n",
        )
        put(top / "cpuacct" / group / "cpuacct.usage", "2500000000\n")
    else:
        put(tmp_path / "proc/7/cgroup", f"0::/{group}\n")
        put(top / group / "memory.current", str(300 * 2**20))
        put(top / group / "memory.stat", f"anon 5\ninactive_file {100 * 2**20}\n")
        put(top / group / "cpu.stat", "usage_usec 2500000\nuser_usec 1\n")
    pids = iter([None, 7])
    container = Container(lambda: next(pids), tmp_path)
    assert container.usage() is None
    assert container.usage() == container.usage() == Usage(200.0, 2.5)
    assert Container(lambda: 8, tmp_path).usage() is None


def test_simulated_sizes(tmp_path: Path) -> None:
    for slices in TABLE6_SLICES:
        assert 200 < slices * thickness_mm(slices) <= 500
    assert thickness_mm(2000) == 0.5
    scan = write_scan(tmp_path, 4, in_plane=32)
    assert scan.name == "phantom_004_0000.nii.gz"
    again = write_scan(tmp_path / "again", 4, in_plane=32)
    assert scan.read_bytes() == again.read_bytes()
    scan.write_bytes(b"kept")
    assert write_scan(tmp_path, 4, in_plane=32).read_bytes() == b"kept"


def test_simulated_cases_are_run(calls: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for slices in (2, 3):
        grid = Grid((slices, 8, 8), (5.0, 2.0, 2.0))
        put(out / "scans" / "made", "")
        write_labels(out / "scans" / f"phantom_{slices:03d}_0000.nii.gz", grid)
    assert main(["--image", "silent", "--simulate", "2", "3", "--out", str(out)]) == 1
    assert json.loads((out / "phantom_003.json").read_text())["size"] == [8, 8, 3]
