"""Bad scans among good ones, through the real command line: one line each, nothing else moves."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_files import zipped
from tests.bad_kinds import BAD
from tests.reliability.conftest import contents

Call = Callable[..., subprocess.CompletedProcess[str]]
ALONE = ("a pipe that nobody writes to",)


def slug(name: str) -> str:
    return re.sub(r"\W+", "-", name)


@pytest.fixture
def among(tmp_path: Path, sound: Path) -> Path:
    """A folder with the sound scans."""
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sound.iterdir():
        os.link(path, folder / path.name)
    return folder


def errors(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines about failures; the only others are warnings and the summary."""
    lines = result.stderr.splitlines()
    assert all(line.startswith(("error: ", "warning: ")) for line in lines[:-1]), lines
    return [line for line in lines if line.startswith("error: ")]


def test_there_are_many_kinds():
    assert len(BAD) >= 60


def test_every_kind_in_one_folder(among: Path, tmp_path: Path, call: Call, clean: dict):
    made = {
        name: BAD[name].make(among / f"{chr(97 + i % 26)}-{slug(name)}_0000")
        for i, name in enumerate(BAD)
    }
    before = sorted(among.iterdir())
    target = tmp_path / "out"
    result = call(among, target)
    assert result.returncode == 1
    assert result.stdout == ""
    found = errors(result)
    assert len(found) == len(BAD)
    for name, path in made.items():
        (line,) = [line for line in found if line.startswith(f"error: {path}: ")]
        cause, _, remedy = line.removeprefix(f"error: {path}: ").rpartition("; ")
        assert BAD[name].words in line, line
        assert cause, line
        assert remedy, line
    assert result.stderr.splitlines()[-1] == f"3 done, {len(BAD)} failed: {target}"
    assert contents(target) == clean
    assert sorted(among.iterdir()) == before


@pytest.mark.parametrize("name", ALONE)
def test_one_bad_scan_among_good_ones(
    among: Path, tmp_path: Path, call: Call, clean: dict, name: str
):
    check_one(among, tmp_path / "out", call, clean, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BAD.keys() - set(ALONE)))
def test_each_bad_scan_among_good_ones(
    among: Path, tmp_path: Path, call: Call, clean: dict, name: str
):
    check_one(among, tmp_path / "out", call, clean, name)


def check_one(among: Path, target: Path, call: Call, clean: dict, name: str) -> None:
    path = BAD[name].make(among / "k_0000")
    result = call(among, target)
    assert result.returncode == 1
    (line,) = errors(result)
    assert line.startswith(f"error: {path}: ")
    assert BAD[name].words in line
    assert contents(target) == clean


def test_names_cannot_forge_lines_or_move_the_terminal(
    among: Path, tmp_path: Path, call: Call, clean: dict
):
    for name in ("k\nerror: forged", "k\x1b[2Jk", "k\u202egz", os.fsdecode(b"k\xff")):
        (among / f"{name}_0000.nii.gz").write_bytes(b"no scan")
    result = call(among, tmp_path / "out", "--report", tmp_path / "report.json")
    assert result.returncode == 1
    assert len(errors(result)) == 4
    assert not any(line.startswith("error: forged") for line in result.stderr.splitlines())
    assert "\x1b" not in result.stderr
    assert contents(tmp_path / "out") == clean


def test_odd_names_of_good_scans(tmp_path: Path, sound: Path, call: Call, clean: dict):
    folder = tmp_path / "in put"
    folder.mkdir()
    names = ("-o", "$(touch pwned)", "a b;c", "a..b", "ü", "k\nk", os.fsdecode(b"k\xff"), "x" * 200)
    for name in names:
        os.link(sound / "b_0000.nii.gz", folder / f"{name}_0000.nii.gz")
    result = call(folder, tmp_path / "out")
    assert (result.returncode, result.stdout) == (0, "")
    expected = {f"{name}.nii.gz": clean["b.nii.gz"] for name in names}
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
def test_a_name_too_long_for_its_labels(among: Path, tmp_path: Path, call: Call, clean: dict):
    """They end in .nii.gz, which is longer."""
    os.link(among / "b_0000.nii.gz", among / f"{'k' * 250}.nii")
    result = call(among, tmp_path / "out")
    assert result.returncode == 1
    (line,) = errors(result)
    assert "cannot be written (File name too long)" in line
    assert contents(tmp_path / "out") == clean


@pytest.mark.slow
def test_two_scans_of_one_name(among: Path, tmp_path: Path, call: Call, clean: dict):
    (among / "b.nii.gz").write_bytes(zipped())
    result = call(among, tmp_path / "out")
    assert result.returncode == 1
    (line,) = errors(result)
    assert "b.nii.gz and b_0000.nii.gz: would all be written to b.nii.gz; rename" in line
    assert contents(tmp_path / "out") == {n: d for n, d in clean.items() if n != "b.nii.gz"}


@pytest.mark.parametrize(
    "way",
    [
        pytest.param("absolute", marks=pytest.mark.slow),
        pytest.param("dots", marks=pytest.mark.slow),
        "through a link",
    ],
)
def test_links_out_of_the_folder_are_followed(
    among: Path, tmp_path: Path, sound: Path, call: Call, clean: dict, way: str
):
    store = tmp_path / "store"
    store.mkdir()
    os.link(sound / "b_0000.nii.gz", store / "key")  # git-annex names contents by their hash
    if way == "through a link":
        (among / "inner").symlink_to(store)
        (among / "s_0000.nii.gz").symlink_to("inner/key")
    else:
        target = store if way == "absolute" else Path("../store")
        (among / "s_0000.nii.gz").symlink_to(target / "key")
    (among / "null.nii.gz").symlink_to("/dev/null")
    result = call(among, tmp_path / "out")
    assert result.returncode == 1
    (line,) = errors(result)
    assert "null.nii.gz: is a pipe or a device, not a file" in line
    assert contents(tmp_path / "out") == {**clean, "s.nii.gz": clean["b.nii.gz"]}


@pytest.mark.slow
def test_labels_replace_a_link_instead_of_following_it(
    tmp_path: Path, sound: Path, call: Call, clean: dict
):
    target = tmp_path / "out"
    target.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (target / "b.nii.gz").symlink_to(tmp_path / "precious")
    assert call(sound, target).returncode == 0
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert contents(target) == clean
    assert not (target / "b.nii.gz").is_symlink()
