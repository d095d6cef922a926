"""Runs that are killed or asked to leave: nothing half-done stays, and the rest can follow."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.model.description import Architecture
from tests.reliability.conftest import ROOT, assert_all_equal, contents, wait_for_files

Start = Callable[..., subprocess.Popen]
Call = Callable[..., subprocess.CompletedProcess]
KILLS = 50


@pytest.mark.slow
def test_killed_at_fifty_random_moments(
    many: Path, tmp_path: Path, start: Start, call: Call, clean: dict, capsys
):
    """Each time whole labels or none are there, and --skip-existing makes it one clean run's."""
    rng = random.Random(7)
    expected = clean["b.nii.gz"]
    names = {f"case{i:02}.nii.gz" for i in range(40)}
    began = time.monotonic()
    assert call(many, tmp_path / "timed").returncode == 0
    seconds = time.monotonic() - began
    tally = {"before any labels": 0, "some labels": 0, "all labels": 0, "partial files": 0}
    for number in range(KILLS):
        target = tmp_path / f"out{number}"
        process = start(many, target)
        time.sleep(rng.uniform(0.0, seconds))
        process.kill()
        process.communicate()
        found = contents(target) if target.is_dir() else {}
        whole = {name: data for name, data in found.items() if name[0] != "."}
        assert set(whole.values()) <= {expected}
        tally["partial files"] += len(found) - len(whole)
        state = ("before any labels", "some labels", "all labels")
        tally[state[(len(whole) > 0) + (len(whole) == 40)]] += 1
        result = call(many, target, "--skip-existing")
        assert result.returncode == 0, result.stderr
        assert_all_equal(target, expected, names)
    with capsys.disabled():
        print(f"\nkilled {KILLS} times: {tally}")
    assert tally["some labels"] >= KILLS // 10


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
    ids=["TERM", "INT"],
)
def test_asked_to_leave(
    many: Path, tmp_path: Path, start: Start, clean: dict, number: int, status: int
):
    target, report = tmp_path / "out", tmp_path / "report.json"
    process = start(many, target, "--report", report)
    wait_for_files(target, 2, process)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert (process.returncode, out) == (status, "")
    assert "Traceback" not in err
    done = contents(target)
    assert 2 <= len(done) < 40
    assert_all_equal(target, clean["b.nii.gz"], set(done))
    document = json.loads(report.read_text())
    assert not document["complete"]
    assert document["done"] == len(done)
    left = 40 - len(done)
    assert f"terminated: {len(done)} done, 0 failed, {left} left: {target}; go on with" in err


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_asked_to_leave_while_starting(
    many: Path, tmp_path: Path, start: Start, delay: float, clean: dict
):
    process = start(many, tmp_path / "out")
    time.sleep(delay)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode in (143, -signal.SIGTERM)  # Python itself may not be there yet
    assert "Traceback" not in err
    if (tmp_path / "out").is_dir():
        done = contents(tmp_path / "out")
        assert_all_equal(tmp_path / "out", clean["b.nii.gz"], set(done))


@pytest.mark.slow
def test_interrupts_stay_ignored_where_they_were(many: Path, tmp_path: Path, command, clean: dict):
    """As in a shell's background jobs and under nohup."""
    for path in sorted(many.iterdir())[3:]:
        path.unlink()
    ignoring = "trap '' INT; exec \"$@\""
    words = ["/bin/sh", "-c", ignoring, "sh", *command(many, tmp_path / "out")]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE)
    wait_for_files(tmp_path / "out", 1, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(contents(tmp_path / "out")) == 3


@pytest.mark.slow
def test_asked_to_leave_in_the_middle_of_a_long_computation(
    make_model: Callable[..., Path], sound: Path, tmp_path: Path
):
    """One step of the network takes far longer than the time to leave."""
    wide = Architecture(
        features=(320, 16), strides=((1, 1, 1), (2, 2, 2)), kernels=((3, 3, 3),) * 2
    )
    model = make_model("wide", architecture=wide, patch=(64, 64, 64), spacing=(4.0, 4.0, 4.0))
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "inference", "-i", sound, "-o", tmp_path / "out",
             "--model", model, "--device", "cpu", "--precision", "f32",
             "--report", tmp_path / "report.json"]  # fmt: skip
    process = subprocess.Popen([str(word) for word in words], cwd=ROOT, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b": network" not in shown:
        shown += os.read(ours, 4096)
    time.sleep(1)
    began = time.monotonic()
    process.terminate()
    assert process.wait(30) == 143
    seconds = time.monotonic() - began
    os.set_blocking(ours, False)
    shown += os.read(ours, 4096)
    os.close(ours)
    assert seconds < 2, "it waited for the network"
    assert b"terminated: 0 done, 0 failed, 3 left" in shown
    assert not (tmp_path / "out").exists()
    assert json.loads((tmp_path / "report.json").read_text())["done"] == 0


_STUCK = """
import sys, time
from inference import __main__
from inference.many import batch
from inference.cli.main import main

def stuck(*arguments):
    print("writing", file=sys.stderr, flush=True)
    time.sleep(60)

batch.write_case = stuck
__main__.leave(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_asked_to_leave_while_a_disk_does_not_answer(tiny_model: Path, sound: Path, tmp_path: Path):
    words = [sys.executable, "-c", _STUCK, "-i", sound, "-o", tmp_path / "out", "--model",
             tiny_model, "--device", "cpu", "--report", tmp_path / "report.json"]  # fmt: skip
    process = subprocess.Popen(
        [str(word) for word in words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "writing\n"
    began = time.monotonic()
    process.terminate()
    assert process.wait(30) == 143
    assert 3 < time.monotonic() - began < 5, "labels that are being written get 3.5 s"
    assert "terminated: 0 done, 0 failed, 3 left" in process.stderr.read()
    assert json.loads((tmp_path / "report.json").read_text())["done"] == 0
