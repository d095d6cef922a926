"""``python -m evaluation`` on small files, good and bad."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from evaluation.__main__ import main
from evaluation.cases import find_cases, score_cases
from tests.evaluation.conftest import WriteLabels
from tests.inference.nifti_files import write_nifti
from tests.inference.text_files import nrrd_bytes

ROOT = Path(__file__).parents[2]


def _labels() -> np.ndarray:
    labels = np.zeros((8, 10, 12), np.uint8)
    labels[2:6, 2:7, 2:8] = 1
    labels[1:7, 7:9, 8:11] = 5
    return labels


class Folders:
    """Predictions and references under one folder, and the command on them."""

    def __init__(self, root: Path, write: WriteLabels) -> None:
        self.pred, self.ref, self.out = root / "pred", root / "ref", root / "scores.csv"
        self.write = write
        self.pred.mkdir()
        self.ref.mkdir()

    def pair(self, name: str, pred: np.ndarray | None = None, **geometry: object) -> None:
        self.write(self.ref / name, _labels())
        self.write(self.pred / name, _labels() if pred is None else pred, **geometry)

    def run(self, *more: str) -> int:
        arguments = ["--pred", self.pred, "--ref", self.ref, "--out", self.out, "--jobs", "1"]
        return main([*map(str, arguments), *more])

    def rows(self) -> dict[str, dict[str, str]]:
        with self.out.open(encoding="utf-8") as file:
            return {row["Name"]: row for row in csv.DictReader(file)}


@pytest.fixture
def folders(tmp_path: Path, write_labels: WriteLabels) -> Folders:
    return Folders(tmp_path, write_labels)


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


def test_every_kind_of_bad_case_is_one_line_and_the_others_are_scored(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong_label = _labels()
    wrong_label[0, 0, 0] = 15
    half_label = _labels().astype(np.float32)
    half_label[0, 0, 0] = 0.5
    folders.pair("good.nii.gz")
    folders.write(folders.ref / "missing.nii.gz", _labels())
    folders.pair("shape.nii.gz", _labels()[1:])
    folders.pair("label.nii.gz", wrong_label)
    folders.pair("half.nii.gz", half_label)
    folders.pair("spacing.nii.gz", spacing_ZYX=(2.5, 1.0, 1.0))
    folders.pair("origin.nii.gz", origin=(0.0, 30.0, 0.0))
    folders.pair("flipped.nii.gz", direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    folders.pair("fourth.nii.gz", np.zeros((2, 8, 10, 12), np.uint8), spacing_ZYX=(1.0,) * 4,
                 origin=(0.0,) * 4, direction=tuple(np.eye(4).ravel()))  # fmt: skip
    folders.pair("text.nii.gz")
    (folders.pred / "text.nii.gz").write_text("no image")
    folders.pair("cut.nii.gz", np.random.default_rng(0).integers(0, 15, (8, 10, 12), np.uint8))
    cut = (folders.pred / "cut.nii.gz").read_bytes()
    (folders.pred / "cut.nii.gz").write_bytes(cut[: len(cut) // 2])
    assert folders.run() == 1
    lines = capsys.readouterr().err.splitlines()
    for name, cause in {
        "missing": "has no prediction; segment it",
        "shape": "has the shape (12, 10, 7), its reference (12, 10, 8)",
        "label": "holds values that are no label (15)",
        "half": "holds values that are no labels",
        "spacing": "spacing (1, 1, 2.5) instead of (1, 1, 2)",
        "origin": "lies up to 30 mm off its reference (origin (0, 30, 0) instead of (0, 0, 0))",
        "flipped": "direction (-1, 0, 0, 0, -1, 0, 0, 0, 1) instead of",
        "fourth": "is not one volume",
        "text": "is no NIfTI file",
        "cut": "copy the file again from its source",
    }.items():
        assert [cause in line for line in lines if f"{name}.nii.gz: " in line] == [True], name
    assert len(lines) == 10 and all("; " in line for line in lines)
    rows = folders.rows()
    assert len(rows) == 11
    assert [name for name, row in rows.items() if row["Liver_DSC"]] == ["good.nii.gz"]
    assert "1 of 11 cases scored" in folders.out.with_name("scores_summary.md").read_text("utf-8")


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


def test_uncompressed_files_match_compressed_ones(folders: Folders) -> None:
    folders.write(folders.ref / "a.nii", _labels().astype(np.int16))
    folders.write(folders.pred / "a.nii.gz", _labels().astype(np.float64))
    (folders.pred / "._a.nii.gz").write_text("what macOS leaves behind")
    assert folders.run() == 0
    assert folders.rows()["a.nii"]["Liver_DSC"] == "1.0"


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


def test_two_files_of_one_case_cost_that_case_alone(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        folders.pair(name)
    folders.write(folders.pred / "a.nii", _labels())
    folders.write(folders.ref / "b.mha", _labels())
    assert folders.run() == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "a.nii and a.nii.gz are the same case; keep one of them",
        "b.mha and b.nii.gz are the same case; keep one of them",
    ]
    assert [name for name, row in folders.rows().items() if row["Liver_DSC"]] == ["c.nii.gz"]


def test_every_format_that_is_read_and_capitals(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    for ref, pred in (("a.nii.gz", "a.nrrd"), ("b.mha", "b.nii"), ("c.nii.gz", "c.nii.gz")):
        folders.write(folders.ref / ref, _labels())
        folders.write(folders.pred / pred, _labels())
    (folders.ref / "c.nii.gz").rename(folders.ref / "c.NII.GZ")
    (folders.pred / "c.nii.gz").rename(folders.pred / "c.Nii.gz")
    assert folders.run() == 0
    assert {row["Liver_DSC"] for row in folders.rows().values()} == {"1.0"}
    assert [*folders.rows()] == ["a.nii.gz", "b.mha", "c.NII.GZ"]
    assert capsys.readouterr().err == ""


def test_a_prediction_of_another_name_is_named(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("good", "channel", "Case", "slicer", "packed", "gone"):
        folders.write(folders.ref / f"{name}.nii.gz", _labels())
    for name in ("good", "channel_0000", "case", "other1", "other2"):
        folders.write(folders.pred / f"{name}.nii.gz", _labels())
    for name in ("slicer.seg.nrrd", "packed.nii.zst", "pair.hdr", "pair.img"):
        (folders.pred / name).write_bytes(b"")
    assert folders.run() == 1
    lines = {line.partition(": ")[0]: line for line in capsys.readouterr().err.splitlines()[2:]}
    assert {name: line.partition(": ")[2] for name, line in lines.items()} == {
        "channel.nii.gz": "has no prediction of its name, but there is channel_0000.nii.gz; "
        "if that is it, rename it to channel.nii.gz",
        "Case.nii.gz": "has no prediction of its name, but there is case.nii.gz; "
        "if that is it, rename it to Case.nii.gz",
        "slicer.nii.gz": "has no prediction of its name, but there is slicer.seg.nrrd; "
        "convert that to slicer.nii.gz",
        "packed.nii.gz": "has no prediction of its name, but there is packed.nii.zst; "
        "convert that to packed.nii.gz",
        "gone.nii.gz": "has no prediction; segment it, or remove its reference",
    }


def test_what_belongs_to_no_case_is_one_line(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("a.nii.gz")
    for name in "bcdef":
        folders.write(folders.pred / f"{name}.nii.gz", _labels())
    for name in ("old.hdr", "old.img", "notes.txt", "._b.nii.gz", "a.seg.nrrd"):
        (folders.ref / name).write_bytes(b"")
    assert folders.run() == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{folders.ref}: 2 files (old.hdr, old.img) of formats that are not read left out; "
        "convert to .nii.gz",
        f"{folders.pred}: 5 predictions (b.nii.gz, c.nii.gz, d.nii.gz, ...) without a reference "
        "left out; name references and predictions alike",
    ]


def test_a_name_that_is_no_utf_8_costs_nothing(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.nii.gz", "s.nii.gz"):
        folders.pair(name)
    for folder in (folders.pred, folders.ref):
        (folder / "s.nii.gz").rename(folder / os.fsdecode(b"S\xf8ren.nii.gz"))
    lesions, summary = folders.out.with_name("lesions.csv"), folders.out.with_name("all.json")
    assert folders.run("--lesions", str(lesions), "--summary", str(summary)) == 0
    assert [*folders.rows()] == ["S\\xf8ren.nii.gz", "a.nii.gz"]
    assert folders.rows()["S\\xf8ren.nii.gz"]["Liver_DSC"] == "1.0"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("its name is no UTF-8; the tables say S\\xf8ren.nii.gz")


def test_rounded_labels_are_scored_and_that_is_said(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.pair("a.nii.gz", _labels() - np.float32(5e-5))
    assert folders.run() == 0
    assert folders.rows()["a.nii.gz"]["Aorta_DSC"] == "1.0"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {folders.pred / 'a.nii.gz'}: the labels are no whole numbers")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_the_same_letters_are_one_case(
    folders: Folders, capsys: pytest.CaptureFixture[str], form: Literal["NFC", "NFD"]
) -> None:
    """macOS takes an umlaut apart, and the other of the two folders comes from elsewhere."""
    folders.pair("Müller.nii.gz")
    other = unicodedata.normalize(form, "Müller.nii.gz")
    for folder in (folders.pred, folders.ref):
        (folder / "Müller.nii.gz").rename(folder / unicodedata.normalize("NFC", "Müller.nii.gz"))
    (folders.pred / unicodedata.normalize("NFC", other)).rename(folders.pred / other)
    assert folders.run() == 0
    assert capsys.readouterr().err == ""
    assert [*folders.rows()] == [unicodedata.normalize("NFC", "Müller.nii.gz")]


def test_a_reference_without_a_geometry_is_scored_and_that_is_said(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    """NSD is in millimetres."""
    for folder in (folders.pred, folders.ref):
        write_nifti(
            folder / "a.nii.gz", _labels(), (1.0, 1.0, 1.0), qform_code=0,
            srow=(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0),
        )  # fmt: skip
        data = nrrd_bytes(_labels(), space=None, space_directions=None, space_origin="(9,9,9)")
        (folder / "b.nrrd").write_bytes(data)
    assert folders.run() == 0
    lines = capsys.readouterr().err.splitlines()
    ref = folders.ref
    assert lines[0].startswith(f"warning: {ref / 'a.nii.gz'}: its spacing is 1 x 1 x 1 mm and its")
    assert lines[1].startswith(f"warning: {ref / 'b.nrrd'}: no spacing is stated: 1 mm is assumed")


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
    labels = _labels()
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
        folders.pair(name, np.roll(_labels(), 1, axis=2))
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
