"""``python -m evaluation`` on small files: arguments and results."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import find_cases
from evaluation.results import score_cases
from tests.evaluation.conftest import Folders, some_labels

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mode", ["default", "flare23"])
def test_perfect_predictions(
    folders: Folders, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("b.nii.gz")
    folders.pair("a.nii.gz")
    assert folders.run("--mode", mode) == 0
    assert list(folders.rows()) == ["a.nii.gz", "b.nii.gz"]
    assert {float(v) for k, v in folders.rows()["a.nii.gz"].items() if k != "Name"} == {1.0}
    printed = capsys.readouterr()
    assert "| Liver | 2 | 100.00 ± 0.00 | 100.00 ± 0.00 |" in printed.out
    assert printed.err == ""
    assert folders.out.with_name("scores_summary.md").read_text("utf-8") == printed.out
    assert folders.out.with_name("scores_summary.csv").read_text("utf-8").count("\n") == 17


def test_classes_that_a_reference_does_not_annotate_are_left_out(
    folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("a.nii.gz")
    folders.pair("b.nii.gz")
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps({"a": [1, 5], "other.nii.gz": [14]}))
    assert folders.run("--classes", str(classes)) == 0
    scored = {k for k, v in folders.rows()["a.nii.gz"].items() if v}
    assert scored == {"Name", "Liver_DSC", "Liver_NSD", "Aorta_DSC", "Aorta_NSD"}
    assert "" not in folders.rows()["b.nii.gz"].values()
    assert "other has no reference; left out" in capsys.readouterr().err


def test_slices_are_the_patient_s_by_default_and_the_file_s_in_flare23(folders: Folders) -> None:
    # The array's first axis, which the file stores last, runs to the patient's left: the aorta is
    # cut to the reference's range along the body in one mode, and along left-right in the other.
    ref, pred = np.zeros((2, 8, 10, 12), np.uint8)
    ref[2:6, 4:6, 3:6] = 5
    pred[2:6, 4:6, :] = 5
    sideways = {"spacing_ZYX": (1.0, 1.0, 1.0), "direction": (0, 0, 1, 0, 1, 0, 1, 0, 0)}
    folders.write(folders.ref / "a.nii.gz", ref, **sideways)
    folders.write(folders.pred / "a.nii.gz", pred, **sideways)
    assert folders.run() == 0
    assert folders.rows()["a.nii.gz"]["Aorta_DSC"] == "1.0"
    assert folders.run("--mode", "flare23") == 0
    assert folders.rows()["a.nii.gz"]["Aorta_DSC"] == "0.4"  # 2 * 3 / (3 + 12)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"a": 1}', '{"a": [15]}', '{"a": [true]}', None],
)
def test_bad_classes_file(
    folders: Folders, tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("a.nii.gz")
    classes = tmp_path / "classes.json"
    if content is not None:
        classes.write_text(content)
    assert folders.run("--classes", str(classes)) == 2
    assert capsys.readouterr().err.startswith(f"{classes}: ")
    assert not folders.out.exists()


def test_wrong_arguments(folders: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    assert folders.run() == 2  # no reference at all
    folders.pair("a.nii.gz")
    assert folders.run("--ref", str(folders.ref / "none")) == 2
    assert folders.run("--out", str(folders.pred)) == 2
    assert folders.run("--out", str(folders.pred / "none" / "scores.csv")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 4
    for wrong, words in {
        ("--mode", "flare22"): "invalid choice",
        ("--jobs", "0"): "argument --jobs: '0' is no whole number above 0\n",
        ("--jobs", "many"): "argument --jobs: 'many' is no whole number above 0\n",
    }.items():
        with pytest.raises(SystemExit, match="2"):
            folders.run(*wrong)
        assert words in capsys.readouterr().err


def test_a_table_that_cannot_be_written(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("a.nii.gz")
    folders.out.with_name("scores_summary.md").mkdir()
    assert folders.run() == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
                    {"PYTHONIOENCODING": "ascii"}],
)  # fmt: skip
def test_a_terminal_that_knows_no_umlaut(folders: Folders, environment: dict[str, str]) -> None:
    folders.pair("a.nii.gz")
    folders.pair("Müller.nii.gz")
    (folders.pred / "Müller.nii.gz").unlink()
    words = ["--pred", folders.pred, "--ref", folders.ref, "--out", folders.out, "--jobs", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "evaluation", *map(str, words)],
        cwd=ROOT, capture_output=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"M") and b"ller.nii.gz: has no prediction" in line
    assert b"Not scored: M" in done.stdout
    assert [*folders.rows()] == ["Müller.nii.gz", "a.nii.gz"]


def test_lesions_and_summary_beside_the_table(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = some_labels()
    labels[0, 0, 0] = 14
    folders.pair("a.nii.gz", labels)
    folders.write(folders.ref / "a.nii.gz", labels)
    folders.pair("b.nii.gz", labels)
    plain = folders.run(), folders.out.read_text("utf-8"), capsys.readouterr().out
    lesions, summary = folders.out.with_name("lesions.csv"), folders.out.with_name("all.json")
    assert folders.run("--lesions", str(lesions), "--summary", str(summary)) == plain[0] == 0
    assert folders.out.read_text("utf-8") == plain[1], "the per-case table stays as it is"
    printed = capsys.readouterr().out
    assert printed.startswith(plain[2])
    assert "| <10 mm | 1 | 100.0" in printed
    assert folders.out.with_name("scores_summary.md").read_text("utf-8") == printed
    with lesions.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # One voxel of 2 mm x 1 mm x 1 mm: 0.002 ml, a sphere of 1.5632 mm.
    assert rows == [
        {"Name": name, "Of": of, "Outcome": outcome, "Size": "<10 mm",
         "Diameter_mm": "1.5632", "Volume_ml": "0.0020", "IoU": iou}
        for name, of, outcome, iou in (
            ("a.nii.gz", "reference", "detected", "1.0000"),
            ("b.nii.gz", "prediction", "false positive", "0.0000"),
        )
    ]  # fmt: skip
    document = json.loads(summary.read_text("utf-8"))
    assert document["lesions"]["sizes"]["all"]["f1"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert document["classes"]["Tumor"]["dsc"] == {"value": 0.5, "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("--lesions", "lesions.json"), "give a file name ending in .csv"),
        (("--summary", "summary.csv"), "give a file name ending in .json"),
        (("--lesions", "scores_summary.csv"), "is the name of another result, too"),
        (("--lesions", "scores.csv"), "is the name of another result, too"),
        (("--lesions", "pred/../scores.csv"), "is the name of another result, too"),
        (("--summary", "gone/all.json"), "its folder does not exist"),
    ],
)
def test_names_of_results_that_cannot_be(
    folders: Folders, words: tuple[str, str], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("a.nii.gz")
    assert folders.run(words[0], str(folders.out.parent / words[1])) == 2
    assert cause in capsys.readouterr().err
    assert not folders.out.exists()


def test_the_file_of_classes_is_not_overwritten(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("a.nii.gz")
    classes = folders.out.with_name("classes.json")
    classes.write_text('{"a": [1]}', "utf-8")
    link = folders.out.with_name("link.json")
    link.symlink_to(classes)
    for summary in (classes, link):
        assert folders.run("--classes", str(classes), "--summary", str(summary)) == 2
        assert "is the file of --classes and would be lost" in capsys.readouterr().err
    assert classes.read_text("utf-8") == '{"a": [1]}'


class _Deadly:
    """What ends the process that unpickles it, as the kernel ends one for its memory."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        return os._exit, (1,)


@pytest.mark.slow
def test_a_process_that_dies_costs_its_own_case_alone(folders: Folders) -> None:
    names = [f"{n}.nii.gz" for n in range(6)]
    for name in names:
        folders.pair(name)
    cases = find_cases(folders.pred, folders.ref).cases
    cases[1] = replace(cases[1], prediction=_Deadly())  # type: ignore[arg-type]
    results = {result.name: result for result in score_cases(cases, "default", jobs=2)}
    assert sorted(results) == names
    assert "its process died" in (results["1.nii.gz"].error or "")
    assert all(len(results[name].scores) == 14 for name in names if name != "1.nii.gz")


def test_processes_give_the_same_table_as_one(folders: Folders) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        folders.pair(name, np.roll(some_labels(), 1, axis=2))
    (folders.pred / "b.nii.gz").unlink()
    assert folders.run() == 1
    alone = folders.out.read_text("utf-8")
    command = [sys.executable, "-m", "evaluation", "--jobs", "2", "--out", str(folders.out)]
    done = subprocess.run(
        [*command, "--pred", str(folders.pred), "--ref", str(folders.ref)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "b.nii.gz: has no prediction; segment it, or remove its reference\n"
    assert folders.out.read_text("utf-8") == alone
