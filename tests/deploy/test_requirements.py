"""What the images are installed from, and the bill of materials that they hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pins(path: Path) -> dict[str, str]:
    """Name to version of every ``name==version`` line, included files too."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            found |= pins(path.parent / line.removeprefix("-r ").strip())
        elif match := re.match(r"([A-Za-z0-9_.-]+)==([^\s;\\]+)", line):
            found[match[1].lower()] = match[2]
    return found


@pytest.mark.parametrize("name", ["requirements-cpu", "requirements", "requirements-node"])
def test_the_lock_holds_the_pinned_versions_and_hashes_of_everything(name: str):
    wanted, locked = pins(ROOT / f"{name}.txt"), pins(ROOT / f"{name}.lock")
    assert wanted.items() <= locked.items()
    text = (ROOT / f"{name}.lock").read_text()
    for block in re.split(r"\n(?=[a-z])", text.partition("\n")[2]):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


def test_bill_of_materials(tmp_path: Path):
    words = [sys.executable, "deploy/sbom.py", "weights"]
    first, second = (
        subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout for _ in range(2)
    )
    assert first == second
    bill = json.loads(first)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    refs = [component["bom-ref"] for component in bill["components"]]
    assert len(refs) == len(set(refs))
    assert f"pkg:pypi/numpy@{metadata.version('numpy')}" in refs
    models = [c for c in bill["components"] if c["type"] == "machine-learning-model"]
    stated = {
        path.parent.name: json.loads(path.read_text())["sha256"]
        for path in (ROOT / "weights").glob("*/model.json")
    }
    assert {m["name"]: m["hashes"][0]["content"] for m in models} == stated


def test_debian_packages_of_a_status_file(tmp_path: Path):
    from deploy.sbom import debian_packages

    status = tmp_path / "status"
    status.write_text(
        "Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\n"
        "Description: a\n more:\nVersion: 1:1.2.13\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
    )
    (package,) = debian_packages(status)
    assert package["purl"] == "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64"
    assert debian_packages(tmp_path / "missing") == []
