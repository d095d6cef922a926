"""Disks that fill up, folders that turn read-only, scans that vanish, runs that meet."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import assert_all_equal, contents, wait_for_files

Start = Callable[..., subprocess.Popen]
Call = Callable[..., subprocess.CompletedProcess]
MANY = {f"case{i:02}.nii.gz" for i in range(40)}


def test_a_full_disk_and_then_room(
    mount: Callable[[str], Path], sound: Path, call: Call, clean: dict
):
    """Three labels and room for one: the others fail, and follow once there is room."""
    target = mount("size=12k") / "out"
    target.mkdir()
    (target.parent / "filler").write_bytes(bytes(4096))
    result = call(sound, target)
    assert result.returncode == 1
    found = contents(target)
    assert 0 < len(found) < 3
    assert found.items() < clean.items()
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3 - len(found)
    assert all("cannot be written (No space left on device); check the" in line for line in lines)
    subprocess.run(["mount", "-o", "remount,size=64k", target.parent], check=True)
    assert call(sound, target, "--skip-existing").returncode == 0
    assert contents(target) == clean


@pytest.mark.slow
def test_a_report_on_a_full_disk_is_a_failure(
    mount: Callable[[str], Path], sound: Path, tmp_path: Path, call: Call, clean: dict
):
    disk = mount("size=4k")
    (disk / "filler").write_bytes(bytes(4096))
    result = call(sound, tmp_path / "out", "--report", disk / "report.json")
    assert result.returncode == 1
    assert "report.json: cannot be written (No space left on device)" in result.stderr
    assert contents(tmp_path / "out") == clean
    assert [path.name for path in disk.iterdir()] == ["filler"]


@pytest.mark.slow
def test_a_log_on_a_full_disk_stops_nothing(sound: Path, tmp_path: Path, command, clean: dict):
    with open("/dev/full", "w") as full:
        words = command(sound, tmp_path / "out")
        assert subprocess.run(words, stderr=full, check=False, timeout=100).returncode == 0
    assert contents(tmp_path / "out") == clean


@pytest.mark.slow
def test_an_output_folder_turned_read_only_midway(
    mount: Callable[[str], Path], many: Path, start: Start, call: Call, clean: dict
):
    disk = mount("size=1m")
    process = start(many, disk)
    wait_for_files(disk, 2, process)
    end = time.monotonic() + 20
    remount = ["mount", "-o", "remount,ro", disk]
    while subprocess.run(remount, capture_output=True, check=False).returncode:
        assert time.monotonic() < end  # busy as long as a file is being written
    written = set(contents(disk))
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert all("cannot be written (Read-only file system)" in line for line in lines)
    assert len(lines) == 40 - len({name for name in written if name[0] != "."}) > 0
    assert set(contents(disk)) == written
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert call(many, disk, "--skip-existing").returncode == 0
    assert_all_equal(disk, clean["b.nii.gz"], MANY)


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["some scans", "the folder"])
def test_input_that_vanishes_midway(
    many: Path, tmp_path: Path, start: Start, clean: dict, gone: str
):
    target = tmp_path / "out"
    process = start(many, target)
    wait_for_files(target, 2, process)
    if gone == "the folder":
        shutil.rmtree(many)
    else:
        for i in range(30, 40):
            (many / f"case{i:02}_0000.nii.gz").unlink()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert all("cannot be read (No such file or directory); check" in line for line in lines)
    assert len({line.split(": ")[1] for line in lines}) == len(lines)
    done = set(contents(target))
    assert len(done) + len(lines) == 40
    assert len(lines) == 10 if gone == "some scans" else len(lines) > 10
    assert_all_equal(target, clean["b.nii.gz"], done)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--skip-existing",)])
def test_two_runs_into_one_folder(
    many: Path, tmp_path: Path, start: Start, clean: dict, options: tuple[str, ...]
):
    target = tmp_path / "out"
    runs = [start(many, target, *options) for _ in range(2)]
    for process in runs:
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    assert_all_equal(target, clean["b.nii.gz"], MANY)


def test_a_clock_that_jumps(
    sound: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, clean: dict
):
    from inference.cli.main import main

    clock, jumps = time.time, iter(range(10**6))

    def jumping() -> float:
        return clock() + (-1) ** next(jumps) * 3e7  # a year forth and back

    monkeypatch.setattr(time, "time", jumping)
    report = tmp_path / "report.json"
    words = ["-i", sound, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model,
             "--report", report]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    assert contents(tmp_path / "out") == clean
    document = json.loads(report.read_text())
    assert 0 < document["seconds"] < 100
    for case in document["cases"]:
        assert all(0 <= seconds < 100 for seconds in case["seconds"].values())
