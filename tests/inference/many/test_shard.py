"""Shares of a folder: a partition that files coming and going do not disturb."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk

from inference.many.cases import find_cases
from inference.many.shard import Shard, parse_shard
from phantom import Phantom

ROOT = Path(__file__).resolve().parents[3]


def slurm(task: int, count: int, first: int, last: int) -> dict[str, str]:
    parts = {"ID": task, "COUNT": count, "MIN": first, "MAX": last}
    return {f"SLURM_ARRAY_TASK_{key}": str(value) for key, value in parts.items()}


def pod(index: int, shards: int) -> dict[str, str]:
    return {"JOB_COMPLETION_INDEX": str(index), "ABDOBOX_SHARDS": str(shards)}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_case_belongs_to_one_share(count: int):
    names = [f"FLARE23Ts_{i:04}" for i in range(2000)]
    shares = [Shard(i, count) for i in range(1, count + 1)]
    assert all(sum(share.takes(name) for share in shares) == 1 for name in names)
    for share in shares:
        # Five standard deviations of a fair draw: sequential names are spread like any others.
        size = sum(map(share.takes, names))
        assert abs(size - 2000 / count) <= 5 * (2000 / count) ** 0.5


def test_shares_are_the_same_on_every_machine():
    """Fixed values: another hash, or a salted one, would split a folder differently."""
    assert [n for n in "abcdefgh" if Shard(1, 3).takes(n)] == ["f"]
    assert [n for n in "abcdefgh" if Shard(2, 3).takes(n)] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("1/1", {}, "1/1"),
        ("3/12", pod(0, 2), "3/12"),
        ("auto", slurm(0, 4, 0, 3), "1/4"),
        ("auto", slurm(3, 4, 0, 3), "4/4"),
        ("auto", slurm(1, 4, 1, 4), "1/4"),
        ("auto", slurm(20, 3, 10, 30), "2/3"),
        ("auto", slurm(3, 1, 3, 3), "1/1"),
        ("auto", {**slurm(3, 1, 3, 3), "ABDOBOX_SHARDS": "8"}, "4/8"),
        ("auto", pod(0, 2), "1/2"),
        ("auto", pod(1, 2), "2/2"),
    ],
)
def test_shares_by_argument_and_environment(text: str, environment: dict[str, str], expected: str):
    assert str(parse_shard(text, environment)) == expected


@pytest.mark.parametrize(
    ("text", "environment", "cause"),
    [
        ("", {}, "neither I/N nor auto"),
        ("1", {}, "neither I/N nor auto"),
        ("-1/2", {}, "neither I/N nor auto"),
        ("1/2/3", {}, "neither I/N nor auto"),
        ("0/2", {}, "no share 0 of 2"),
        ("3/2", {}, "no share 3 of 2"),
        ("0/0", {}, "no share 0 of 0"),
        ("auto", {}, "no task of a Slurm array or a Kubernetes Indexed Job"),
        ("auto", {"ABDOBOX_SHARDS": "2"}, "no task of"),
        ("auto", {"JOB_COMPLETION_INDEX": "0"}, "ABDOBOX_SHARDS must hold"),
        ("auto", pod(2, 2), "no share 3 of 2"),
        ("auto", {**pod(0, 2), "ABDOBOX_SHARDS": "two"}, "is 'two', not a number"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "0"}, "SLURM_ARRAY_TASK_COUNT is ''"),
        ("auto", slurm(2, 3, 1, 4), "not evenly numbered"),  # sbatch --array=1,2,4
        ("auto", slurm(4, 4, 1, 7), "not evenly numbered"),  # sbatch --array=1,3,4,7
    ],
)
def test_what_names_no_share(text: str, environment: dict[str, str], cause: str):
    with pytest.raises(ValueError, match=cause):
        parse_shard(text, environment)


def test_files_that_come_and_go_move_no_other_case(tmp_path: Path):
    def share(index: int) -> set[str]:
        found = find_cases(tmp_path, tmp_path / "out", Shard(index, 3))
        return {case.name for case in found.cases}

    for i in range(30):
        (tmp_path / f"m{i}_0000.nii.gz").touch()
    before = [share(i) for i in (1, 2, 3)]
    for name in ("a", "m11a", "z"):
        (tmp_path / f"{name}.nii.gz").touch()
    (tmp_path / "m7_0000.nii.gz").unlink()
    gone, come = {"m7"}, {"a", "m11a", "z"}
    assert [share(i) - come for i in (1, 2, 3)] == [names - gone for names in before]


def test_what_is_wrong_in_a_folder_is_said_by_one_share(tmp_path: Path):
    for name in ("a_0000.nii.gz", "a.nii.gz", "b.nii.gz", "c.hdr", "c.img"):
        (tmp_path / name).touch()
    found = [find_cases(tmp_path, tmp_path / "out", Shard(i, 4)) for i in (1, 2, 3, 4)]
    assert sum(len(share.problems) for share in found) == 1
    assert sum(len(share.cases) for share in found) == 1
    assert sum(len(share.warnings) for share in found) == 1


def test_shares_are_for_folders(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    from inference.cli.main import main

    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(SystemExit) as leaving:
        main(["-i", str(tmp_path / "a.nii.gz"), "-o", str(tmp_path), "--shard", "1/2"])
    assert leaving.value.code == 2
    assert "--shard 1/2: shares are those of a folder" in capfd.readouterr().err
    with pytest.raises(SystemExit) as leaving:
        main(["-i", str(tmp_path), "-o", str(tmp_path), "--shard", "2/1"])
    assert leaving.value.code == 2
    assert "there is no share 2 of 1" in capfd.readouterr().err


def test_processes_that_share_a_folder_give_what_one_gives(
    tmp_path: Path, phantom: Phantom, tiny_model: Path
):
    """Both halves of a folder, one of them twice, at the same time."""
    source = tmp_path / "in"
    source.mkdir()
    for i in range(4):
        image = sitk.GetImageFromArray(phantom.image_ZYX + 10 * i)
        image.SetSpacing(phantom.grid.spacing[::-1])
        sitk.WriteImage(image, str(source / f"case{i}_0000.nii.gz"))

    def start(target: Path, *more: str, **environment: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "inference", "-i", source, "-o", target, "--quiet"]
        words += ["--device", "cpu", "--model", tiny_model, *more]
        return subprocess.Popen(list(map(str, words)), cwd=ROOT, env={**os.environ, **environment})

    runs = [start(tmp_path / "one")]
    runs += [start(tmp_path / "shares", "--shard", share) for share in ("1/2", "2/2")]
    runs += [start(tmp_path / "shares", "--shard", "auto", **pod(0, 2))]
    assert [run.wait(100) for run in runs] == [0, 0, 0, 0]
    one, shares = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "shares")
    )
    assert sorted(one) == [f"case{i}.nii.gz" for i in range(4)]
    assert len(set(one.values())) > 1
    assert one == shares
