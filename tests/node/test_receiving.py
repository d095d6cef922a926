"""Instances on their way to the disk: room, counts, clocks, and who is still sending."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.receiving import FullError, Receiving
from node.settings import Settings, SpoolSettings, StudySettings
from node.spool import Spool

STUDY = "1.2.3"


class Sender:
    """An association."""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Receiving]]:
    spool = Spool(tmp_path)

    def receiving(free: int = 10**12, **said: object) -> Receiving:
        one = Receiving(spool, Settings(store=str(tmp_path), **said), lambda folder: free)
        one.spool = spool
        return one

    yield receiving
    spool.leave()


def keep(one: Receiving, instance: str, sender: object, data: bytes = b"x") -> bool:
    file = one.spool.incoming / "received"
    file.write_bytes(data)
    return one.keep(file, STUDY, instance, sender)


def test_a_full_disk_is_full_whatever_the_settings_say(make):
    assert not make(1000, spool=SpoolSettings(min_free_bytes=0)).room()
    assert make(2_000_000, spool=SpoolSettings(min_free_bytes=0)).room()
    assert not make(2_000_000, spool=SpoolSettings(min_free_bytes=3_000_000)).room()


def test_an_association_that_ends_before_its_instance_is_stored_does_not_stay_open(make):
    one = make(study=StudySettings(quiet_seconds=3600, on_release=True))
    lost, good = Sender(), Sender()
    one.ended(lost, released=False)
    keep(one, "1", lost)
    keep(one, "2", good)
    one.ended(good, released=True)
    assert [held.study for held in one.take_whole()] == [STUDY]


def test_what_could_not_be_written_is_not_counted(make, monkeypatch: pytest.MonkeyPatch):
    one = make(study=StudySettings(max_instances=1))
    rename = Path.rename

    def full(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"):
        keep(one, "1", Sender())
    monkeypatch.setattr(Path, "rename", rename)
    keep(one, "1", Sender())
    with pytest.raises(FullError):
        keep(one, "2", Sender())


def test_the_last_contents_of_an_instance_count_and_a_change_is_said(make):
    one = make()
    sender = Sender()
    assert [keep(one, "1", sender, data) for data in (b"x", b"x", b"y")] == [False, False, True]
    (path,) = (one.spool.state("receiving") / STUDY).iterdir()
    assert path.read_bytes() == b"y"


def test_leftovers_are_told_by_the_clock_of_the_file_system(make, monkeypatch: pytest.MonkeyPatch):
    one = make()
    new, old = one.spool.incoming / "new", one.spool.incoming / "old"
    for path in (new, old):
        path.touch()
    os.utime(old, (time.time() - 100, time.time() - 100))
    monkeypatch.setattr(time, "time", lambda: 2e9 + 1e9)
    one.drop_leftovers(60)
    assert (new.exists(), old.exists()) == (True, False)


def test_what_another_node_has_taken_leaves_nothing_behind(make):
    one = make(study=StudySettings(quiet_seconds=3600))
    sender = Sender()
    keep(one, "1", sender)
    one.ended(sender, released=True)
    one.spool.take(STUDY)  # as another node would
    assert one.take_whole() == []
    assert not (one._sizes or one._released or one._open)


def test_a_study_that_cannot_be_taken_keeps_no_other_from_it(make, monkeypatch: pytest.MonkeyPatch):
    one = make(study=StudySettings(quiet_seconds=0.1))
    for study in ("1.1", "1.2", "1.3"):
        file = one.spool.incoming / study
        file.write_bytes(b"x")
        one.keep(file, study, "1", Sender())
    time.sleep(0.2)
    take = one.spool.take

    def broken(study: str) -> object:
        if study == "1.2":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return take(study)

    monkeypatch.setattr(one.spool, "take", broken)
    assert {held.study for held in one.take_whole()} == {"1.1", "1.3"}
    with pytest.raises(OSError, match="Input/output"):
        one.take_whole()
