"""The node as it is deployed: page, example settings, compose file, unit and image agree."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.settings import Settings
from node.settings_sources import read_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"ABDOBOX_NODE_[A-Z_]+")


def defaults(settings: Any, before: str = "") -> dict[str, Any]:
    """Every setting's default, as TOML has it, by its name with the section."""
    found: dict[str, Any] = {}
    for one in dataclasses.fields(settings):
        value = getattr(settings, one.name)
        if dataclasses.is_dataclass(value):
            found |= defaults(value, f"{one.name}.")
        else:
            found[before + one.name] = list(value) if isinstance(value, tuple) else value
    return found


def variable(key: str) -> str:
    return f"ABDOBOX_NODE_{key.replace('.', '_').upper()}"


def documented() -> dict[str, Any]:
    """The settings of deploy/node.md's table and their defaults."""
    text = (DEPLOY / "node.md").read_text(encoding="utf-8")
    table = text.partition("## Settings")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^`]*)` \| (.+) \|$", table, re.MULTILINE)
    assert len(rows) == len({name for name, _, _ in rows})
    return {name: tomllib.loads(f"value = {default}")["value"] for name, default, _ in rows}


def understood(environment: dict[str, str], file: Path | None = None) -> Settings:
    """Settings without a fault."""
    read = read_settings({}, environment, file)
    assert read.faults == []
    return read.settings


def test_every_setting_is_documented_with_its_default_and_nothing_else():
    assert documented() == defaults(Settings())


@pytest.mark.parametrize(
    "name", ["deploy/node.md", "deploy/node-compose.yaml", "Dockerfile", ".ci/containers"]
)
def test_every_variable_that_is_named_is_one(name: str):
    known = {variable(key) for key in defaults(Settings())} | {"ABDOBOX_NODE_CONFIG"}
    named = set(VARIABLE.findall((ROOT / name).read_text(encoding="utf-8"))) - {"ABDOBOX_NODE_"}
    assert named
    assert named <= known


def test_the_example_is_understood(tmp_path: Path):
    """Every key of deploy/node.toml, with values of the right kind."""
    settings = understood({}, DEPLOY / "node.toml")
    said = tomllib.loads((DEPLOY / "node.toml").read_text(encoding="utf-8"))
    assert settings.port == 11112
    assert list(settings.allow) == said["allow"]
    assert settings.study.quiet_seconds == said["study"]["quiet_seconds"]
    wrong = tmp_path / "node.toml"
    wrong.write_text((DEPLOY / "node.toml").read_text() + "keep_weeks = 1\n", encoding="utf-8")
    (problem,) = read_settings({}, {}, wrong).faults
    assert "keep_weeks" in problem


@pytest.fixture
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "node-compose.yaml").read_text(encoding="utf-8"))


def test_compose_fits_the_node(compose: dict[str, Any]):
    node, pacs = compose["services"]["node"], compose["services"]["orthanc"]
    orthanc = json.loads((DEPLOY / "orthanc.json").read_text(encoding="utf-8"))
    settings = understood(node["environment"])
    (allowed,), (destination,) = settings.allowed, settings.destinations
    assert (allowed.aet, allowed.place) == (orthanc["DicomAet"], "orthanc")
    assert (destination.aet, destination.host) == (orthanc["DicomAet"], "orthanc")
    assert destination.port == orthanc["DicomPort"]
    known = orthanc["DicomModalities"]["abdobox"]
    assert (known["AET"], known["Host"], known["Port"]) == (settings.aet, "node", settings.port)
    assert node["read_only"]
    assert node["cap_drop"] == ["ALL"]
    assert node["user"].split(":")[0] != "0"
    assert f"127.0.0.1:{settings.http.port}:{settings.http.port}" in node["ports"]
    assert [volume.rpartition(":")[2] for volume in node["volumes"]] == [image_says("STORE")]
    mounted = {volume.split(":")[0] for volume in pacs["volumes"] if volume.startswith("./")}
    assert all((DEPLOY / name).is_file() for name in mounted)
    assert orthanc["LuaScripts"] == ["/etc/orthanc/orthanc.lua"]
    assert "./orthanc.lua:/etc/orthanc/orthanc.lua:ro" in pacs["volumes"]
    named = {v.split(":")[0] for s in (node, pacs) for v in s["volumes"] if v[0] != "."}
    assert compose["volumes"].keys() == named


def test_compose_is_understood_by_compose():
    tool = shutil.which("docker-compose")
    words = [tool] if tool else ["docker", "compose"]
    if not tool and (
        not shutil.which("docker")
        or subprocess.run([*words, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker compose")
    done = subprocess.run(
        [*words, "-f", DEPLOY / "node-compose.yaml", "config"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "ORTHANC_PASSWORD": "secret"},
    )
    assert done.returncode == 0, done.stderr
    assert "abdobox:node" in done.stdout


def image_says(name: str) -> str:
    """A variable that the image sets."""
    found = re.search(rf"^ENV ABDOBOX_NODE_{name}=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert found
    return found[1]


def test_the_image_fits_the_defaults():
    stage = (ROOT / "Dockerfile").read_text().partition(" AS node\n")[2].partition("\nFROM ")[0]
    settings = Settings()
    assert f"\nEXPOSE {settings.port}\n" in stage
    assert f"or {settings.http.port}" in stage
    assert f"\nVOLUME {image_says('STORE')}\n" in stage
    assert re.search(r"^USER [1-9]", stage, re.MULTILINE)


@pytest.fixture
def unit() -> str:
    return (DEPLOY / "abdobox-node.service").read_text(encoding="utf-8")


def test_systemd_takes_the_unit(unit: str, tmp_path: Path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd")
    here = tmp_path / "abdobox-node.service"
    here.write_text(unit.replace("/opt/abdobox/bin/abdobox-node", "/bin/true"))
    done = subprocess.run([tool, "verify", here], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_and_its_settings_fit(unit: str):
    """The folder that systemd makes is the spool; the command is the wheel's."""
    lines = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"[A-Z]\w+=", line))
    settings = understood({}, DEPLOY / "node.toml")
    assert settings.store == f"/var/lib/{lines['StateDirectory']}"
    program, option, file = lines["ExecStart"].split()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert Path(program).name in scripts
    assert (option, file) == ("--config", "/etc/abdobox/node.toml")
