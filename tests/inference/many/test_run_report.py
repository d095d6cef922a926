"""What a run says of itself in its report."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from inference import __version__
from inference.many import run_report as report
from inference.model.description import ModelDescription
from inference.scan.atomic import write_atomically
from inference.scan.dicom.series import LeftOut
from tests.inference.scan_folders import Run, contents, spoil


def test_report(run: Run, scans: Path, tmp_path: Path, tiny_model: Path):
    spoil(scans)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "c.nii.gz").touch()
    path = tmp_path / "report.json"
    left = tmp_path / ".report.json.0123abcd.partial"
    left.write_bytes(b"of a killed run")
    assert run(scans, tmp_path / "out", "--skip-existing", "--report", str(path)) == 1
    assert not left.exists()
    document = json.loads(path.read_text())
    description = ModelDescription.load(tiny_model)
    assert document["abdobox"] == __version__
    assert document["model"] == {
        "name": "random",
        "version": "0",
        "sha256": description.sha256,
    }
    assert document["engine"].startswith("OpenVINO on CPU")
    assert {"numpy", "openvino", "safetensors"} <= document["packages"].keys()
    assert document["peak_ram_bytes"] > 50e6
    assert document["peak_device_bytes"] is None
    assert (document["done"], document["failed"], document["skipped"]) == (2, 3, 1)
    cases = {case["name"]: case for case in document["cases"]}
    assert {name: case["state"] for name, case in cases.items() if len(name) <= 2} == {
        "a": "done",
        "aa": "failed",
        "b": "done",
        "c": "skipped",
    }
    a = cases["a"]
    assert a["shape"] == [10, 20, 22]
    assert a["spacing_mm"] == pytest.approx([14, 14, 14])
    assert a["windows"] > 0
    stages = {"read", "waited", "resample", "network", "decode", "write", "total"}
    assert stages <= a["seconds"].keys()
    assert all(seconds >= 0 for seconds in a["seconds"].values())
    assert a["error"] is None
    assert str(scans / "aa.nii.gz") in cases["aa"]["error"]
    assert document["seconds"] > 0


def test_a_report_that_cannot_be_written_is_told(
    run: Run,
    scans: Path,
    tmp_path: Path,
    clean: dict,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    def in_the_way(path: Path, data: bytes) -> None:
        path.mkdir()
        write_atomically(path, data)

    monkeypatch.setattr(report, "write_atomically", in_the_way)
    assert run(scans, tmp_path / "out", "--report", str(tmp_path / "report.json")) == 1
    assert contents(tmp_path / "out") == clean
    assert "report.json: cannot be written" in capfd.readouterr().err


@pytest.mark.parametrize("made", [True, False])
def test_a_report_among_the_labels(run: Run, scans: Path, tmp_path: Path, made: bool):
    """Whose folder the run makes, even where it makes no labels."""
    if not made:
        for path in scans.iterdir():
            path.write_bytes(b"no scan")
    target = tmp_path / "new" / "out"
    assert run(scans, target, "--report", str(target / "report.json")) == (0 if made else 1)
    assert json.loads((target / "report.json").read_text())["complete"]


def test_a_report_replaces_the_last_one(run: Run, scans: Path, tmp_path: Path):
    path = tmp_path / "report.json"
    path.write_text("the last one")
    assert run(scans / "a_0000.nii.gz", tmp_path / "out", "--report", str(path)) == 0
    assert json.loads(path.read_text())["done"] == 1


def test_names_that_are_no_text_are_written_out_everywhere(tmp_path: Path):
    """A lone surrogate would be an error to every reader of JSON but Python's."""
    name = os.fsdecode(b"S\xf8ren")
    made = report.RunReport(
        cases=[report.CaseReport(name, f"in/{name}.nii.gz", "skipped")],
        warnings=[f"in: 1 file ({name}.hdr) left out"],
        left_out=[LeftOut(f"in/{name}.dcm", f"{name} is a localizer", 1)],
    )
    made.write(tmp_path / "report.json", None)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "\\ud" not in text
    assert text.count("S\\\\xf8ren") == 5
