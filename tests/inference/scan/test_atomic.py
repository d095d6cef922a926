"""Files appear whole or not at all, and killed runs' leftovers go."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.errors import OutputError
from inference.scan.atomic import remove_leftovers, write_atomically

ROOT = Path(__file__).resolve().parents[3]


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    target = tmp_path / "a.nii.gz"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, step, no_space)
    with pytest.raises(OutputError, match="No space left") as caught:
        write_atomically(target, b"new")
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("stem", ["腹" * 78, "x" * 240, "\udcff" * 240, "k\nk"])
def test_every_name_that_the_file_system_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str
):
    """The partial file's name is no longer, and is known for a leftover."""
    target = tmp_path / f"{stem}.nii.gz"
    target.write_bytes(b"old")
    write_atomically(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"new"
    monkeypatch.setattr(os, "replace", no_space)
    monkeypatch.setattr(Path, "unlink", no_space)  # as if the process were killed
    with pytest.raises(OutputError):
        write_atomically(target, b"newer")
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interruption_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.nii.gz", b"new")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_nothing_appears_under_the_name_before_all_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "a.nii.gz"
    sync, synced = os.fsync, []

    def watched(descriptor: int) -> None:
        synced.append(target.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert synced == [False, True]  # the file, then the folder that now names it


HOLD = """
import os, sys, time
from inference.scan.atomic import write_atomically
from pathlib import Path
os.fsync = lambda _: (print("writing", flush=True), time.sleep(60))
write_atomically(Path(sys.argv[1]), b"half a fi")
"""


def test_a_killed_runs_leftover_goes_and_a_running_ones_partial_file_stays(tmp_path: Path):
    def start(name: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", HOLD, str(tmp_path / name)]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        return process

    killed, running = start("a.nii.gz"), start("b.nii.gz")
    (tmp_path / ".my.own.partial").write_bytes(b"")
    try:
        killed.kill()
        killed.communicate()
        assert len(list(tmp_path.glob(".?.nii.gz.*.partial"))) == 2
        remove_leftovers(tmp_path)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names[0].startswith(".b.nii.gz.")
        assert names[1:] == [".my.own.partial"]
    finally:
        running.kill()
        running.communicate()


def test_without_locks_age_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    for name, age in (("a", 4000), ("b", 10)):
        path = tmp_path / f".{name}.nii.gz.0123abcd.partial"
        path.write_bytes(b"half a fi")
        os.utime(path, times=(time.time() - age,) * 2)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".b.nii.gz.0123abcd.partial"]
    write_atomically(tmp_path / "a.nii.gz", b"new")
    assert (tmp_path / "a.nii.gz").read_bytes() == b"new"


def test_a_partial_file_removed_before_it_was_locked_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lock, removed = fcntl.flock, []

    def raced(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(next(tmp_path.glob(".a.nii.gz.*.partial")))
            removed[0].unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", raced)
    write_atomically(tmp_path / "a.nii.gz", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]
    assert removed


def test_leftovers_that_are_links_are_not_followed(tmp_path: Path):
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / ".a.nii.gz.0123abcd.partial").symlink_to(tmp_path / "kept")
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "gone")
    assert (tmp_path / "kept").read_bytes() == b"kept"


def test_writing_the_same_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two containers of one share have the same process id; the second begins and ends while the
    first one's data are on their way."""
    target, sync, busy = tmp_path / "a.nii.gz", os.fsync, []

    def meanwhile(descriptor: int) -> None:
        if not busy:
            busy.append(True)
            write_atomically(target, b"same")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_atomically(target, b"same")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]
    assert target.read_bytes() == b"same"


@pytest.mark.parametrize("place", ["through a file", "missing folder", "a folder's own name"])
def test_places_that_cannot_be_written_to(tmp_path: Path, place: str):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.nii.gz" / "full").mkdir(parents=True)
    target = {
        "through a file": tmp_path / "file" / "a.nii.gz",
        "missing folder": tmp_path / "gone" / "a.nii.gz",
        "a folder's own name": tmp_path / "folder.nii.gz",
    }[place]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError) as caught:
        write_atomically(target, b"new")
    assert str(caught.value).startswith(f"{target}: cannot be written")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_is_full(mount: Callable[[str], Path]):
    folder = mount("size=64k")
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(folder / "a.nii.gz", os.urandom(1 << 20))
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_read_only(mount: Callable[[str], Path]):
    folder = mount("size=64k,ro")
    with pytest.raises(OutputError, match="Read-only"):
        write_atomically(folder / "a.nii.gz", b"new")


@pytest.mark.parametrize("kind", ["file", "folder", "nothing", "itself"])
def test_a_link_of_the_target_s_name_is_replaced_and_not_followed(tmp_path: Path, kind: str):
    """Somebody else's link, or git-annex's to contents that it keeps."""
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    folder.mkdir()
    if kind == "file":
        elsewhere.write_bytes(b"precious")
    elif kind == "folder":
        elsewhere.mkdir()
    target = folder / "a.nii.gz"
    target.symlink_to(target if kind == "itself" else elsewhere)
    write_atomically(target, b"new")
    assert not target.is_symlink()
    assert target.read_bytes() == b"new"
    assert [path.name for path in folder.iterdir()] == ["a.nii.gz"]
    if kind == "file":
        assert elsewhere.read_bytes() == b"precious"
    elif kind == "folder":
        assert list(elsewhere.iterdir()) == []
    else:
        assert not elsewhere.exists()


def test_a_hard_link_s_other_name_keeps_its_contents(tmp_path: Path):
    (tmp_path / "kept").write_bytes(b"precious")
    os.link(tmp_path / "kept", tmp_path / "a.nii.gz")
    write_atomically(tmp_path / "a.nii.gz", b"new")
    assert (tmp_path / "kept").read_bytes() == b"precious"


def test_the_folder_may_be_a_link(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write_atomically(tmp_path / "out" / "a.nii.gz", b"new")
    assert (tmp_path / "disk" / "a.nii.gz").read_bytes() == b"new"
