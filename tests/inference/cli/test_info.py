"""``--info``: quick, complete, and as docs/info.schema.json has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from inference import __version__
from inference.cli import info
from inference.labels import NAMES

ROOT = Path(__file__).resolve().parents[3]


def said() -> dict:
    return json.loads(info.text())


def test_it_keeps_to_its_schema():
    schema = json.loads((ROOT / "docs" / "info.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(said())


def test_what_is_in_it():
    made = said()
    assert made["abdobox"] == __version__
    assert {one["value"]: one["name"] for one in made["labels"]} == NAMES
    kidney = made["labels"][1]
    assert kidney["type"]["value"] == "64033007"
    assert kidney["modifier"]["meaning"] == "Right"
    (default,) = [model for model in made["models"] if model["default"]]
    assert default["name"] == (ROOT / "weights" / "default").read_text().strip()
    described = json.loads((ROOT / "weights" / default["name"] / "model.json").read_text())
    assert default["sha256"] == described["sha256"]
    assert ".nii.gz" in made["formats_in"]


def test_models_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, content in (("broken", "{"), ("sound", '{"version": "2"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(content)
    monkeypatch.setattr(info, "WEIGHTS", tmp_path)
    broken, sound = said()["models"]
    assert sound == {"name": "sound", "version": "2", "default": False}
    assert broken["name"] == "broken"
    assert broken["error"]


def test_on_the_command_line():
    words = [sys.executable, "-m", "inference", "--info"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == said()
    assert run.stderr == ""
