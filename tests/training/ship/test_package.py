"""A training packed for another machine: parts, checksums, stopping there and going on."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.training.learn.test_report import RECIPE
from tests.training.small_store import make_store
from training.__main__ import main
from training.data.store import Store
from training.learn import checkpoint
from training.learn.journal import read_journal
from training.ship import package, parts
from training.ship.kept import keep
from training.ship.parts import PartsError, PartsReader, PartsWriter


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 350])
def test_a_file_in_parts_and_back(tmp_path: Path, length: int):
    data = np.random.default_rng(0).bytes(length)
    (tmp_path / "last.pt").write_bytes(data)
    for _ in range(2):  # the second time the first parts go
        parts.split(tmp_path / "last.pt", tmp_path / "parts", 100)
    files = sorted((tmp_path / "parts").glob("last.pt.*.[0-9]*"))
    assert [f.stat().st_size for f in files] == ([100] * (length // 100) + [length % 100])[
        : max(-(-length // 100), 1)
    ]
    parts.join(tmp_path / "parts", "last.pt", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == data
    assert io.BufferedReader(PartsReader(tmp_path / "parts", "last.pt")).read() == data


def test_parts_that_were_not_finished_leave_the_earlier_ones(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"first")
    parts.split(tmp_path / "a", tmp_path, 2)
    PartsWriter(tmp_path, "a", 2).write(b"second")  # killed before finish
    parts.join(tmp_path, "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"first"


def test_damaged_and_missing_parts_are_named(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"0123456789")
    parts.split(tmp_path / "a", tmp_path, 4)
    second = json.loads((tmp_path / "a.json").read_text())["parts"][1]["file"]
    (tmp_path / second).write_bytes(b"4x67")
    with pytest.raises(PartsError, match=rf"{second}: is damaged"):
        parts.join(tmp_path, "a", tmp_path / "b")
    (tmp_path / second).unlink()
    with pytest.raises(PartsError, match=second):
        parts.join(tmp_path, "a", tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with pytest.raises(PartsError, match=r"c\.json"):
        parts.join(tmp_path, "c", tmp_path / "b")


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a toy store in parts of 100 kB."""
    monkeypatch.setattr(package, "PART_BYTES", 100_000)
    (tmp_path / "store").mkdir()
    make_store(tmp_path / "store")
    (tmp_path / "mine.toml").write_text(RECIPE.replace("epochs = 1", "epochs = 3"))
    recipe, store, out = (str(tmp_path / name) for name in ("mine.toml", "store", "package"))
    assert main(["package", "make", "--recipe", recipe, "--data", store, "--out", out]) == 0
    return tmp_path / "package"


def test_what_is_packed_comes_out(packed: Path, tmp_path: Path):
    sizes = [path.stat().st_size for path in packed.glob("package.*.[0-9]*")]
    assert len(sizes) > 1 and max(sizes) == 100_000
    data = package.unpack(packed, tmp_path / "work")
    before, after = Store(tmp_path / "store"), Store(data / "store")
    assert before.cases == after.cases and before.intensity == after.intensity
    for case in before.cases:
        assert np.array_equal(before.image(case), after.image(case))
        assert np.array_equal(before.foreground(case), after.foreground(case))
    assert (data / "recipe.toml").read_text().startswith('name = "mine"\n')


def test_a_folder_without_a_package_is_named(tmp_path: Path, capsys):
    assert main(["package", "train", str(tmp_path), "--out", str(tmp_path / "kept")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{tmp_path}: holds no package" in error
    assert not (tmp_path / "kept").exists()


def test_a_damaged_package_is_not_unpacked(packed: Path, tmp_path: Path, capsys):
    part = sorted(packed.glob("package.*.001"))[0]
    part.write_bytes(part.read_bytes()[:-1])
    words = ["package", "train", str(packed), "--out", str(tmp_path / "kept")]
    assert main([*words, "--work", str(tmp_path / "work")]) == 1
    assert f"{part}: is damaged" in capsys.readouterr().err
    assert not [*(tmp_path / "work").glob("*/data")]


def test_nothing_kept_is_said(tmp_path: Path, capsys):
    assert main(["package", "join", str(tmp_path), str(tmp_path / "run")]) == 1
    assert "holds no checkpoint" in capsys.readouterr().err


def test_a_training_is_not_overwritten_by_what_was_kept(tmp_path: Path, capsys):
    (tmp_path / "last.pt").write_bytes(b"mine")
    assert main(["package", "join", str(tmp_path), str(tmp_path)]) == 1
    assert "holds a training already" in capsys.readouterr().err
    assert (tmp_path / "last.pt").read_bytes() == b"mine"


def test_what_cannot_be_kept_now_is_kept_later(tmp_path: Path):
    run, out, kept = tmp_path / "run", tmp_path / "out", {}
    run.mkdir()
    (run / "report.md").write_text("all")
    with pytest.raises(OSError, match="out"):
        keep(run, out, kept)
    out.mkdir()
    keep(run, out, kept)
    assert (out / "report.md").read_text() == "all"


@pytest.mark.slow
def test_training_goes_on_from_what_was_kept(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped on one machine, finished on another that has the package and the kept folder."""
    monkeypatch.setattr("training.ship.kept.CHECKPOINT_PART_BYTES", 20_000)
    monkeypatch.setattr(package, "POLL_SECONDS", 0.1)
    out = tmp_path / "kept"
    words = ["package", "train", str(packed), "--out", str(out), "--device", "cpu", "--work"]
    assert main([*words, str(tmp_path / "one"), "--max-minutes", "0"]) == 0
    assert not read_journal(out)  # no step was done
    shutil.rmtree(tmp_path / "one")
    assert main([*words, str(tmp_path / "two")]) == 0
    sizes = [path.stat().st_size for path in out.glob("last.pt.*.[0-9]*")]
    assert len(sizes) > 2 and max(sizes) == 20_000
    assert main(["package", "join", str(out), str(tmp_path / "run")]) == 0
    state = checkpoint.load(tmp_path / "run" / "last.pt")
    assert state["position"]["step"] == 6
    assert state["recipe"]["name"] == "mine"
    assert parts.exists(out, checkpoint.BEST)
    assert read_journal(out)[-1]["step"] == 6
    assert "| Steps done | 6 |" in (out / "report.md").read_text()
    # The first machine still has its unfinished run: what came from elsewhere is further.
    early = tmp_path / "early"
    assert main(["package", "train", str(packed), "--out", str(early), "--device", "cpu",
                 "--work", str(tmp_path / "one"), "--max-minutes", "0"]) == 0  # fmt: skip
    shutil.rmtree(early)
    shutil.copytree(out, early)
    assert main(["package", "train", str(packed), "--out", str(early), "--device", "cpu",
                 "--work", str(tmp_path / "one")]) == 0  # fmt: skip
    assert main(["package", "join", str(early), str(tmp_path / "further")]) == 0
    assert checkpoint.load(tmp_path / "further" / "last.pt")["position"]["step"] == 6
    # Once more: nothing is left to do, and nothing is lost.
    assert main([*words, str(tmp_path / "three")]) == 0
    assert read_journal(out)[-1]["step"] == 6
