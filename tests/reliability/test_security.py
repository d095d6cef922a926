"""What a run never does, whatever it is fed: connect, start programs, unpickle, look outside."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bad_kinds import BAD
from tests.reliability.conftest import ROOT

FORBIDDEN = {"pickle", "marshal", "shelve", "subprocess", "socket", "urllib", "http", "ctypes.util"}
# GDCM, which dies of damaged frames, decodes in a Python process of its own; it gets no shell.
DOORS = {Path("inference/scan/dicom/gdcm.py"): {"subprocess"}}
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen"}

AUDIT = """
import json, sys
events = []
def hook(name, arguments):
    if name.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn",
                        "os.fork", "pickle.", "urllib.", "shutil.rmtree")):
        events.append([name, repr(arguments)[:200]])
    if name == "open" and isinstance(arguments[0], str) and "secret" in arguments[0]:
        events.append([name, arguments[0]])
sys.addaudithook(hook)
try:
    from inference.cli.main import main
    print(json.dumps([main(), events]))
except SystemExit as leaving:
    print(json.dumps([leaving.code, events]))
"""


def test_the_source_has_no_door():
    """No module that runs or unpacks code, nor one that connects, is imported by name, but by the
    files that are known to start a process."""
    for path in sorted((ROOT / "inference").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            forbidden = FORBIDDEN - DOORS.get(path.relative_to(ROOT), set())
            # urllib.parse takes addresses apart and connects to nothing.
            tops = {name.split(".")[0] for name in names if name != "urllib.parse"}
            assert not tops & forbidden, (path, names)
            if isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else ""
                assert called not in CALLS, (path, called)
                attribute = node.func.attr if isinstance(node.func, ast.Attribute) else ""
                assert attribute not in {"system", "popen", "spawnv"}, (path, attribute)


def test_a_run_over_every_bad_scan_connects_to_nothing_and_starts_nothing(
    tmp_path: Path, sound: Path, tiny_model: Path
):
    """Python's own audit events tell; links and headers point at files called secret."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, bad in enumerate(BAD.values()):
        bad.make(folder / f"k{number:03}_0000")
    (tmp_path / "secret.raw").write_bytes(bytes(672))
    (folder / "out_0000.nii.gz").symlink_to(tmp_path / "secret.raw")
    (folder / "a_0000.nii.gz").write_bytes((sound / "b_0000.nii.gz").read_bytes())
    words = ["-i", folder, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model]
    result = subprocess.run(
        [sys.executable, "-c", AUDIT, *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    status, events = json.loads(result.stdout)
    assert (status, events) == (1, [])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.nii.gz"]


@pytest.mark.parametrize("damage", ["swapped", "pickled"])
def test_weights_that_are_not_the_described_ones_are_not_parsed(
    make_model, sound: Path, tmp_path: Path, damage: str
):
    model = make_model()
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if damage == "swapped":
        data[-1] ^= 1
    else:
        data[:] = b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."
    weights.write_bytes(bytes(data))
    words = ["-i", sound, "-o", tmp_path / "out", "--device", "cpu", "--model", model]
    result = subprocess.run(
        [sys.executable, "-m", "inference", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "SHA-256" in result.stderr or "hash" in result.stderr
    assert not (tmp_path / "out").exists()
