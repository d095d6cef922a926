"""The wheel: built, installed into an environment of its own, and used from another folder."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import inference
from inference.grid import Grid
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_labels, write_image
from phantom import make_phantom

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Beside what is said to pip: whatever else a person's shell knows of Python.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}


def pins(name: str) -> dict[str, str]:
    """Package to version of a requirements file's own lines."""
    lines = (ROOT / name).read_text().splitlines()
    wanted = [Requirement(line) for line in lines if re.match(r"[a-z]", line)]
    return {r.name: str(r.specifier).removeprefix("==") for r in wanted}


def ranges(lines: list[str]) -> dict[str, Requirement]:
    return {(r := Requirement(line)).name: r for line in lines}


def test_ranges_hold_what_is_pinned():
    extras = PROJECT["optional-dependencies"]
    for declared, file in (
        (ranges([*PROJECT["dependencies"], *extras["dicom"]]), "requirements-cpu.txt"),
        (ranges(extras["gpu"]), "requirements.txt"),
        (ranges(extras["node"]), "requirements-node.txt"),
    ):
        pinned = pins(file)
        pinned.pop("nvidia-ml-py", None)  # for benchmarks
        declared.pop("abdobox", None)  # with another extra
        assert declared.keys() == pinned.keys()
        for name, requirement in declared.items():
            assert pinned[name] in requirement.specifier, f"{requirement} without {pinned[name]}"
    assert extras.keys() == {"gpu", "dicom", "node"}


def test_the_backend_is_the_one_that_make_wheel_has():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert build["requires"] == [f"hatchling=={pins('requirements-dev.txt')['hatchling']}"]


def test_imports_within_the_box_are_relative():
    """So that both names of the package work."""
    for path in (ROOT / "inference").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names.append(node.module or "")
            roots = {name.partition(".")[0] for name in names}
            assert roots.isdisjoint({"inference", "abdobox", "training", "evaluation"}), path


def test_under_its_other_name(tmp_path: Path):
    (tmp_path / "abdobox").symlink_to(ROOT / "inference")

    def say(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout

    assert say("abdobox", "--help").startswith("usage: abdobox [-h]")
    assert say("abdobox", "--version") == f"abdobox {inference.__version__}\n"


def test_the_node_under_its_other_name(tmp_path: Path):
    (tmp_path / "abdobox").mkdir()
    for path in (*(ROOT / "inference").iterdir(), ROOT / "node"):
        (tmp_path / "abdobox" / path.name).symlink_to(path)
    code = "import abdobox.node.node, sys; print(*{n.partition('.')[0] for n in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"abdobox", "pynetdicom"} <= set(run.stdout.split())
    assert set(run.stdout.split()).isdisjoint({"inference", "node"})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As make wheel builds it, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder]
    subprocess.run([sys.executable, "-m", *map(str, words), str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module", params=["pinned", "lowest"])
def environment(wheel: Path, request: pytest.FixtureRequest, tmp_path_factory) -> Path:
    """An environment with the wheel: the versions that are pinned, or the lowest that it takes."""
    if request.param == "lowest" and sys.version_info[:2] != (3, 11):
        pytest.skip("the lowest versions are those of the oldest Python")
    folder = tmp_path_factory.mktemp(request.param)
    constraints = ROOT / "requirements-cpu.txt"
    if request.param == "lowest":
        constraints = folder / "lowest.txt"
        declared = ranges(PROJECT["dependencies"])
        lowest = [
            f"{name}=={bound.version}"
            for name, requirement in declared.items()
            for bound in requirement.specifier
            if bound.operator == ">="
        ]
        assert len(lowest) == len(declared)
        constraints.write_text("\n".join(lowest))
    venv.create(folder / "venv", with_pip=True)
    pip = [folder / "venv/bin/pip", "--disable-pip-version-check"]
    install = [*pip, "install", "-q", "-c", constraints, wheel]
    subprocess.run([*map(str, install)], env=ENVIRONMENT, check=True)
    return folder / "venv"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working folder that is not the repository, with a scan."""
    made = make_phantom((40, 96, 96), (7.5, 4.0, 4.0), seed=3)
    header = NiftiHeader.of_grid(Grid(made.image_ZYX.shape, made.grid.spacing))
    write_image(tmp_path / "scan_0000.nii.gz", made.image_ZYX, header)
    (tmp_path / "home").mkdir()
    return tmp_path


def call(here: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, words)], cwd=here, env={**ENVIRONMENT, "HOME": str(here / "home")},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_what_the_wheel_holds(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.partition("/")[0].endswith("-info")}
        metadata = archive.read(f"abdobox-{inference.__version__}.dist-info/METADATA").decode()
    there = [path for room in ("inference", "node", "weights") for path in (ROOT / room).rglob("*")]
    names = {
        path.relative_to(ROOT).as_posix()
        for path in there
        if path.is_file() and path.suffix != ".pyc"
    }
    wanted = {re.sub("^inference/", "", name) for name in names}
    # The pages' viewer and its licences, where make page-assets has been run.
    viewer = [path.name for path in (ROOT / "build/page").glob("*")]
    assert not viewer or {"niivue.umd.js", "LICENSES.txt"} == set(viewer)
    wanted |= {f"findings/page/niivue/{name}" for name in viewer}
    assert held == {f"abdobox/{name}" for name in wanted}
    assert "License-Expression: Apache-2.0 AND LicenseRef-abdobox-weights" in metadata
    assert wheel.stat().st_size < 30e6


def snippet() -> str:
    """README's Python for whoever has installed the wheel, or what the package says of itself."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    described = re.search(r"::\n\n((?:    .*\n|\n)+)", inference.__doc__ or "")
    assert described
    blocks.append(re.sub(r"(?m)^    ", "", described[1]))
    return next(block for block in blocks if "from abdobox import" in block)


@pytest.mark.slow
def test_installed(environment: Path, here: Path):
    """By command and by API, the same labels as the repository's own command gives."""
    python = environment / "bin" / "python"
    check = call(here, python, "-m", "pip", "check")
    assert (check.returncode, check.stdout) == (0, "No broken requirements found.\n")
    assert call(here, python, "-c", "import torch").returncode == 1

    version = call(here, environment / "bin" / "abdobox", "--version")
    assert version.stdout == f"abdobox {inference.__version__}\n"
    assert call(here, python, "-m", "abdobox", "--help").stdout.startswith("usage: abdobox ")
    node = environment / "bin" / "abdobox-node"
    assert call(here, node, "--version").stdout == version.stdout
    lacking = call(here, node, "--store", here, "--allow", "PACS@127.0.0.1")
    cause = "pynetdicom is not installed; pip install abdobox[node]"
    assert (lacking.returncode, lacking.stderr) == (2, f"error: {cause}\n")
    run = call(here, environment / "bin" / "abdobox", "-i", "scan_0000.nii.gz", "-o", "out")
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    api = call(here, python, "-W", "error", "-c", snippet())
    assert api.returncode == 0, api.stderr
    by_command, by_api = here / "out" / "scan.nii.gz", here / "scan.nii.gz"
    assert by_command.read_bytes() == by_api.read_bytes()
    assert list((here / "home").iterdir()) == []  # OpenVINO's telemetry would leave its traces

    own = [sys.executable, "-m", "inference", "-i", here / "scan_0000.nii.gz"]
    subprocess.run([*map(str, own), "-o", str(here / "own")], cwd=ROOT, check=True)
    labels, expected = (read_labels(p)[0] for p in (by_command, here / "own" / "scan.nii.gz"))
    assert len(set(expected.ravel().tolist())) > 5
    assert (labels != expected).mean() < 1e-3
