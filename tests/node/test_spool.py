"""Places and moves: names, numbers, owners, and what dead nodes leave."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import nodes
from node.durable import link_or_copy
from node.log import Log
from node.nodes import DeposedError
from node.retention import Retention
from node.settings import SpoolSettings
from node.spool import Held, Spool, is_uid, parse_name
from tests.node.running import ROOT

STUDY = "1.2.3"


@pytest.fixture
def spool(tmp_path: Path):
    one = Spool(tmp_path)
    yield one
    one.leave()


def put(spool: Spool, study: str = STUDY, instances: tuple[str, ...] = ("1.1",)) -> None:
    folder = spool.state("receiving") / study
    folder.mkdir()
    for instance in instances:
        (folder / f"{instance}.dcm").write_bytes(b"x")


@settings(max_examples=50)
@given(st.text(alphabet="0123456789./\\@-x \n", max_size=70))
def test_a_uid_is_a_name_within_its_folder(text: str):
    if is_uid(text):
        assert (Path("/a") / text).parent == Path("/a")
        assert os.path.normpath(f"/a/{text}") == f"/a/{text}"
        assert parse_name(Path(f"/a/{text}.7")) == Held(Path(f"/a/{text}.7"), text, 7)


@pytest.mark.parametrize("name", ["", "1.2.3", "x.1", "1.2.3.1@host", ".nfs0001", "lost+found"])
def test_other_names_are_nobodys(name: str):
    found = parse_name(Path("/a") / name)
    assert found is None or (found.study, found.number) == ("1.2", 3)


def test_numbers_go_on(spool: Spool):
    for number in (1, 2, 3):
        put(spool)
        assert spool.take(STUDY).number == number
    held = spool.finish(spool.claim(spool.held("waiting")[0]), "done")
    put(spool)
    assert spool.take(STUDY).number == 4
    assert held.path == spool.root / "done" / f"{STUDY}.1"


def test_one_of_two_takes_a_study(spool: Spool):
    put(spool)
    waiting = spool.take(STUDY)
    other = Spool(spool.root)
    try:
        assert spool.claim(waiting).owner == spool.nodes.id
        with pytest.raises(FileNotFoundError):
            other.claim(waiting)
        assert other.adopt() == []  # its owner lives
    finally:
        other.leave()


def test_a_former_owner_moves_nothing(spool: Spool):
    put(spool)
    mine = spool.claim(spool.take(STUDY))
    spool.give_back(mine)
    other = Spool(spool.root)
    try:
        other.claim(spool.held("waiting")[0])
        with pytest.raises(FileNotFoundError):
            spool.to_sending(mine)
    finally:
        other.leave()


DIES = """
import os, sys
from pathlib import Path
from node.spool import Spool
spool = Spool(Path(sys.argv[1]))
for study in ("1.2.3", "1.2.4"):
    (spool.state("receiving") / study).mkdir()
    (spool.state("receiving") / study / "1.1.dcm").write_bytes(b"x")
    held = spool.claim(spool.take(study))
    if study == "1.2.4":
        spool.to_sending(held)
(spool.incoming / "half.dcm").write_bytes(b"x")
os._exit(1)
"""


def test_what_the_dead_leave_is_taken_over(spool: Spool):
    words = [sys.executable, "-c", DIES, str(spool.root)]
    assert subprocess.run(words, cwd=ROOT, check=False).returncode == 1
    assert sorted(held.path.parent.name for held in spool.adopt()) == ["sending", "waiting"]
    assert [held.study for held in spool.held("waiting")] == ["1.2.3"]
    (sending,) = spool.held("sending", mine=True)
    assert sending.study == "1.2.4"
    assert [p.name for p in (spool.root / "incoming").iterdir()] == [spool.nodes.id]
    assert [p.name for p in (spool.root / "nodes").iterdir()] == [spool.nodes.id]


def test_a_node_of_another_machine_is_dead_only_when_it_is_silent(spool: Spool):
    """Its lock is not seen here, as where a network file system does not carry locks over."""
    theirs = spool.root / "nodes" / "00000000"
    theirs.write_text('{"boot": "another"}')
    (spool.root / "working" / f"{STUDY}.1@00000000").mkdir()
    assert spool.adopt() == []
    old = time.time() - nodes.STALE_S - 5
    os.utime(theirs, (old, old))
    assert [held.name for held in spool.adopt()] == [f"{STUDY}.1"]
    assert not theirs.exists()


def test_who_was_taken_for_dead_notices(spool: Spool):
    (spool.root / "nodes" / spool.nodes.id).unlink()
    with pytest.raises(DeposedError):
        spool.nodes.beat()


def test_a_spool_that_is_gone_keeps_nobody_from_leaving(tmp_path: Path):
    spool = Spool(tmp_path)
    shutil.rmtree(tmp_path)
    spool.leave()


def finished(spool: Spool, study: str, state: str, age_s: float, size: int = 10) -> Path:
    put(spool, study)
    held = spool.claim(spool.take(study))
    (held.path / "results").mkdir()
    (held.path / "results" / "a.seg.dcm").write_bytes(bytes(size))
    path = spool.finish(held, state).path
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_finished_studies_go_by_age(spool: Spool):
    old, new = finished(spool, "1.1", "done", 3 * 86400), finished(spool, "1.2", "done", 86400)
    failed = finished(spool, "1.3", "failed", 3 * 86400)
    put(spool, "1.4")
    waiting = spool.take("1.4").path
    os.utime(waiting, (0, 0))
    Retention(spool, SpoolSettings(keep_days=2), Log()).step(short_of_room=False)
    assert [p.exists() for p in (old, new, failed, waiting)] == [False, True, False, True]


def test_and_by_size_the_oldest_first(spool: Spool):
    paths = [finished(spool, f"1.{n}", "done", 1000 - n, 1000) for n in range(4)]
    Retention(spool, SpoolSettings(keep_bytes=2100), Log()).step(short_of_room=False)
    assert [p.exists() for p in paths] == [False, False, True, True]


@pytest.mark.parametrize(
    ("age", "short", "held"), [(50, False, True), (150, False, False), (50, True, False)]
)
def test_sources_are_held_for_a_while_or_until_room_is_needed(
    spool: Spool, age: float, short: bool, held: bool
):
    done = finished(spool, "1.1", "done", age)
    failed = finished(spool, "1.2", "failed", age)
    before = done.stat().st_mtime
    Retention(spool, SpoolSettings(hold_seconds=100), Log()).step(short_of_room=short)
    assert (done / "1.1.dcm").exists() is held
    assert (done / "results" / "a.seg.dcm").exists()
    assert (failed / "1.1.dcm").exists()
    assert done.stat().st_mtime == before


@pytest.mark.parametrize(("hold", "short", "held"), [(1e6, False, True), (100, False, False),
                                                     (1e6, True, False)])  # fmt: skip
def test_sources_go_while_a_destination_is_down(spool: Spool, hold: float, short: bool, held: bool):
    """It may be down for days, and results are small."""
    put(spool)
    working = spool.claim(spool.take(STUDY))
    working.results.mkdir()
    (working.results / "a.seg.dcm").write_bytes(b"x")
    os.utime(working.results, (time.time() - 500, time.time() - 500))
    sending = spool.to_sending(working)
    Retention(spool, SpoolSettings(hold_seconds=hold), Log()).step(short_of_room=short)
    assert bool(sending.instances()) is held
    assert (sending.results / "a.seg.dcm").exists()


def test_what_cannot_be_removed_is_said(spool: Spool, monkeypatch: pytest.MonkeyPatch):
    lines = io.StringIO()
    finished(spool, "1.1", "done", 3 * 86400)
    monkeypatch.setattr("node.retention.shutil.rmtree", lambda *args, **said: None)
    Retention(spool, SpoolSettings(keep_days=2), Log(lines)).step(short_of_room=False)
    assert "study_not_removed" in lines.getvalue()


def test_a_name_that_is_taken_stops_nothing(spool: Spool):
    """Somebody has moved a study back by hand, or two came to one number."""
    put(spool)
    working = spool.claim(spool.take(STUDY))
    taken = spool.root / "waiting" / working.name
    taken.mkdir()
    (taken / "x.dcm").touch()
    assert spool.give_back(working).name == f"{STUDY}.2"


def test_a_second_name_or_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "a"
    source.write_bytes(b"x")
    link_or_copy(source, tmp_path / "b")
    link_or_copy(source, tmp_path / "b")

    def refuse(*args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "c")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == dict.fromkeys("abc", b"x")
