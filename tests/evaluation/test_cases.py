"""Which files of two folders belong together, and what is said of those that cannot be scored."""

from __future__ import annotations

import os
import unicodedata
from typing import Literal

import numpy as np
import pytest

from tests.evaluation.conftest import Folders, some_labels
from tests.inference.nifti_files import write_nifti
from tests.inference.text_files import nrrd_bytes


def test_every_kind_of_bad_case_is_one_line_and_the_others_are_scored(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong_label = some_labels()
    wrong_label[0, 0, 0] = 15
    half_label = some_labels().astype(np.float32)
    half_label[0, 0, 0] = 0.5
    folders.pair("good.nii.gz")
    folders.write(folders.ref / "missing.nii.gz", some_labels())
    folders.pair("shape.nii.gz", some_labels()[1:])
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


def test_uncompressed_files_match_compressed_ones(folders: Folders) -> None:
    folders.write(folders.ref / "a.nii", some_labels().astype(np.int16))
    folders.write(folders.pred / "a.nii.gz", some_labels().astype(np.float64))
    (folders.pred / "._a.nii.gz").write_text("what macOS leaves behind")
    assert folders.run() == 0
    assert folders.rows()["a.nii"]["Liver_DSC"] == "1.0"


def test_two_files_of_one_case_cost_that_case_alone(
    folders: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        folders.pair(name)
    folders.write(folders.pred / "a.nii", some_labels())
    folders.write(folders.ref / "b.mha", some_labels())
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
        folders.write(folders.ref / ref, some_labels())
        folders.write(folders.pred / pred, some_labels())
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
        folders.write(folders.ref / f"{name}.nii.gz", some_labels())
    for name in ("good", "channel_0000", "case", "other1", "other2"):
        folders.write(folders.pred / f"{name}.nii.gz", some_labels())
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
        folders.write(folders.pred / f"{name}.nii.gz", some_labels())
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
    folders.pair("a.nii.gz", some_labels() - np.float32(5e-5))
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
            folder / "a.nii.gz", some_labels(), (1.0, 1.0, 1.0), qform_code=0,
            srow=(1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0),
        )  # fmt: skip
        data = nrrd_bytes(some_labels(), space=None, space_directions=None, space_origin="(9,9,9)")
        (folder / "b.nrrd").write_bytes(data)
    assert folders.run() == 0
    lines = capsys.readouterr().err.splitlines()
    ref = folders.ref
    assert lines[0].startswith(f"warning: {ref / 'a.nii.gz'}: its spacing is 1 x 1 x 1 mm and its")
    assert lines[1].startswith(f"warning: {ref / 'b.nrrd'}: no spacing is stated: 1 mm is assumed")
