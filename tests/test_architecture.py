"""ARCHITECTURE.md's table of rooms and the rooms themselves."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_module_of_the_box_has_its_place():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    lines = text.partition("## Rooms of `inference/`")[2].partition("##")[0].splitlines()
    modules = [line.split("|")[2] for line in lines if line.startswith("|")]
    named = re.findall(r"`(\w+)`", " ".join(modules))
    there = [path.stem for path in (ROOT / "inference").rglob("*.py") if path.stem != "__init__"]
    assert sorted(named) == sorted(there)
