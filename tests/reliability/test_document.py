"""docs/reliability.md: its commands exist, and what can be counted is counted."""

from __future__ import annotations

import re

import pytest

from tests.bad_kinds import BAD
from tests.inference.scan import test_text_spellings as spellings
from tests.odd_kinds import ODD
from tests.reliability.conftest import ROOT

TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
COMMANDS = sorted({*re.findall(r"`pytest ([^`]+)`", TEXT)})


def test_there_are_commands():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs_some_test(command: str):
    paths = re.findall(r"tests/\S+", command)
    assert paths
    files = [ROOT / path for path in paths]
    assert all(file.exists() for file in files)
    if chosen := re.search(r' -k (?:"([^"]+)"|(\S+))', command):
        names = re.findall(r"def (test_\w+)", "".join(file.read_text("utf-8") for file in files))
        for word in (chosen[1] or chosen[2]).split(" or "):
            assert any(word in name for name in names), word


@pytest.mark.parametrize(
    ("row", "count"),
    [
        (r"\| bad scans, each read alone \| (\d+) kinds", len(BAD)),
        (r"real command line, one folder \| (\d+) kinds", len(BAD)),
        (r"\| odd scans that are accepted \| (\d+) kinds", len(ODD)),
        (r"odd ends of the data \| (\d+) that mean the same", len(spellings.SAME)),
        (r"that mean the same, (\d+) that are said", len(spellings.SAID)),
    ],
)
def test_counts(row: str, count: int):
    (stated,) = re.findall(row, TEXT)
    assert int(stated) == count
