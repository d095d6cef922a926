"""Pseudo-label fusion on hand-made label maps."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np
import pytest

from tests.training.dataset_files import blocks, flare_dataset, load, save
from training.data.case import Case, DatasetError
from training.data.index import build_index
from training.data.overrides import read_overrides
from training.fusion.agreement import GROUND_TRUTH, Choice, Settings, dice_per_class, judge
from training.fusion.fuse import main, select
from training.fusion.merge import merge, used_maps

PAPER = Settings(per_class=False, teachers=("aladdin5", "blackbean"))
PER_CLASS = Settings(per_class=True, teachers=("aladdin5", "blackbean"))


def merged(case: Case, choices: Mapping[int, Choice], per_class: bool = False) -> np.ndarray:
    return merge(used_maps(case, choices), choices, per_class)


def test_dice_per_class_by_hand() -> None:
    a = np.array([1, 1, 2, 0], np.uint8)
    b = np.array([1, 2, 2, 0], np.uint8)
    dice = dice_per_class(a, b)
    assert dice[1] == pytest.approx(2 / 3)
    assert dice[2] == pytest.approx(2 / 3)
    assert dice[0] == 1
    assert np.isnan(dice[3:]).all()


def test_agreement_is_the_mean_over_shared_classes_that_are_shown(tmp_path: Path) -> None:
    cases = build_index([flare_dataset(tmp_path)]).cases
    agreements = [judge(case, PAPER).agreement for case in cases]
    assert agreements == [1, 1, 0, 1]


def test_selection_sorts_by_id_and_takes_the_first_of_each_kind(tmp_path: Path) -> None:
    cases = build_index([flare_dataset(tmp_path)]).cases
    judgements = [judge(case, PAPER) for case in reversed(cases)]
    names = [j.case.name for j in select(judgements, 0.85, 1, 5)]
    assert names == ["FLARE23_0001", "FLARE23_0004"]
    assert judgements[-1].partial and not judgements[0].partial


def test_ground_truth_and_tumour_win_over_the_filler(tmp_path: Path) -> None:
    case = build_index([flare_dataset(tmp_path)]).cases[0]
    judgement = judge(case, PAPER)
    assert judgement.annotated == tuple(range(1, 15))
    labels = merged(case, judgement.choices)
    # Truth: liver slices 0-5 with a tumour in 2-3; the filler's spleen is left beyond them.
    assert labels[:, 5, 5].tolist() == [1, 1, 14, 14, 1, 1, 3, 3, 3, 3, 3, 0]


def test_the_tumour_stays_unannotated_without_ground_truth(tmp_path: Path) -> None:
    case = build_index([flare_dataset(tmp_path)]).cases[3]
    assert 14 not in judge(case, PAPER).annotated


def test_paper_mode_needs_both_sets(tmp_path: Path) -> None:
    root = flare_dataset(tmp_path)
    (root / "pseudo_labels" / "blackbean" / "FLARE23_0003.nii.gz").unlink()
    case = build_index([root]).cases[2]
    with pytest.raises(DatasetError, match="FLARE23_0003"):
        judge(case, PAPER)


def test_per_class_mode_keeps_only_what_teachers_agree_on(tmp_path: Path) -> None:
    cases = build_index([flare_dataset(tmp_path)]).cases
    choices = judge(cases[2], PER_CLASS).choices
    assert choices[1].source is None and choices[1].rule == "teachers disagree"
    assert choices[2].source == "aladdin5" and choices[2].rule == "teachers agree: absent"
    assert judge(cases[3], PER_CLASS).choices[1].source == "aladdin5"


def test_overrides_exclude_cases_and_name_licences(tmp_path: Path, capsys) -> None:
    table = tmp_path / "overrides.csv"
    table.write_text(
        "name,class,decision,source,reason\n"
        "FLARE23_0001,,exclude,,a better copy is there\n"
        "FLARE23_0002,,noncommercial,,CC BY-NC 3.0\n"
    )
    root = flare_dataset(tmp_path / "data")
    words = ["--data", str(root), "--teachers", "aladdin5", "blackbean", "--mode", "per-class"]
    words += ["--overrides", str(table)]
    names = ["FLARE23_0001", "FLARE23_0002", "FLARE23_0003", "FLARE23_0004"]
    for more, kept in ((), names[1:]), (("--commercial",), names[2:]):
        out = tmp_path / "-".join(("fused", *more))
        assert main([*words, "--out", str(out), *more]) == 0
        with (out / "cases.csv").open(newline="") as stream:
            assert [row["name"] for row in csv.DictReader(stream)] == kept
        told = capsys.readouterr().err
        assert "left out FLARE23_0001: excluded: a better copy is there" in told
        assert ("left out FLARE23_0002: licence: CC BY-NC 3.0" in told) == bool(more)


def test_overrides_drop_declare_absent_and_trust(tmp_path: Path) -> None:
    table = tmp_path / "overrides.csv"
    table.write_text(
        "name,class,decision,source,reason\n"
        "FLARE23_0004,1,drop,,half of it is fluid\n"
        "FLARE23_0004,9,absent,,removed\n"
        "FLARE23_0003,1,trust,blackbean,looked at\n"
        "FLARE23_0002,,validation,,held out\n"
    )
    overrides = read_overrides(table)
    cases = overrides.apply_split(build_index([flare_dataset(tmp_path)]).cases)
    assert [case.split for case in cases].index("validation") == 1
    fourth = judge(cases[3], PER_CLASS, overrides)
    assert 1 not in fourth.annotated and 9 in fourth.annotated
    third = judge(cases[2], PER_CLASS, overrides)
    labels = merged(cases[2], third.choices)
    assert labels[:, 5, 5].tolist() == [0] * 6 + [1] * 5 + [0]


def test_a_senseless_override_names_its_line(tmp_path: Path) -> None:
    table = tmp_path / "overrides.csv"
    table.write_text("name,class,decision,source,reason\nx,99,drop,,\n")
    with pytest.raises(DatasetError, match="line 2"):
        read_overrides(table)


def test_specks_of_pseudo_labels_are_dropped_on_request(tmp_path: Path) -> None:
    labels = blocks(c1=(0, 8))
    labels[11, 0, 0] = 1
    image = save(tmp_path / "x_0000.nii.gz", np.zeros(labels.shape, np.int16))
    path = save(tmp_path / "aladdin5.nii.gz", labels)
    case = Case("x", "x", "train", image, {"aladdin5": path}, {"aladdin5": (1,)})
    choices = {1: Choice("aladdin5", "plausible"), 14: Choice(None, "no source")}
    assert merged(case, choices, per_class=True)[11, 0, 0] == 0
    assert merged(case, choices)[11, 0, 0] == 1


def test_a_drawn_liver_gives_the_cava_back_organ_by_organ(tmp_path: Path) -> None:
    drawn, teacher = blocks(c1=(0, 8)), blocks(c6=(2, 10))
    drawn[4] = np.where(drawn[4] == 1, 14, drawn[4])
    image = save(tmp_path / "x_0000.nii.gz", np.zeros(drawn.shape, np.int16))
    files = {
        "truth": save(tmp_path / "truth.nii.gz", drawn),
        "hk": save(tmp_path / "hk.nii.gz", teacher),
    }
    case = Case("x", "x", "train", image, files, {"truth": (1, 14), "hk": (1, 6)})
    choices = {
        1: Choice("truth", GROUND_TRUTH),
        6: Choice("hk", "plausible"),
        14: Choice("truth", GROUND_TRUTH),
    }
    kept = merged(case, choices)[:, 5, 5].tolist()
    assert kept == [1, 1, 1, 1, 14, 1, 1, 1, 6, 6, 0, 0]
    given_back = merged(case, choices, per_class=True)[:, 5, 5].tolist()
    assert given_back == [1, 1, 6, 6, 14, 6, 6, 6, 6, 6, 0, 0]


def test_command_writes_labels_tables_and_report(tmp_path: Path) -> None:
    root, out = flare_dataset(tmp_path / "data"), tmp_path / "out"
    damaged = root / "imagesTr2200" / "FLARE23_0002_0000.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-1000])  # its header stays readable
    status = main(
        [
            "--data",
            str(root),
            "--out",
            str(out),
            "--teachers",
            "aladdin5",
            "blackbean",
            "--workers",
            "1",
        ]
    )
    assert status == 0
    with (out / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["FLARE23_0001", "FLARE23_0004"]
    assert rows[0]["annotated"] == " ".join(str(v) for v in range(1, 15))
    assert rows[1]["annotated"] == " ".join(str(v) for v in range(1, 14))
    assert load(Path(rows[1]["label"])).dtype == np.uint8
    assert "FLARE23_0002" in (out / "report.md").read_text()
    assert (out / "agreement.png").stat().st_size > 0
    with (out / "agreement.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 4 * 14


def test_teachers_that_exist_nowhere_are_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = flare_dataset(tmp_path / "data"), tmp_path / "out"
    words = ["--data", str(root), "--out", str(out), "--workers", "1", "--teachers", "aladdin5"]
    assert main([*words, "nosuch"]) == 1
    assert capsys.readouterr().err == (
        "--teachers nosuch: no case has such labels; take some of aladdin5, blackbean\n"
    )
    assert main([*words, "truth"]) == 1, "what people drew is no teacher"
    assert not out.exists()


def test_drawn_labels_need_no_teachers(tmp_path: Path) -> None:
    root, out = flare_dataset(tmp_path / "data"), tmp_path / "out"
    words = ["--mode", "per-class", "--workers", "1", "--teachers", "truth"]
    assert main(["--data", str(root), "--out", str(out), *words]) == 0
    with (out / "cases.csv").open() as stream:
        names = [row["name"] for row in csv.DictReader(stream)]
    assert names == ["FLARE23_0001", "FLARE23_0002"]  # of the others nothing is drawn


def test_a_case_that_is_left_out_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = flare_dataset(tmp_path / "data")
    (root / "pseudo_labels" / "blackbean" / "FLARE23_0003.nii.gz").unlink()
    words = ["--data", str(root), "--teachers", "aladdin5", "blackbean", "--workers", "1", "--out"]
    assert main([*words, str(tmp_path / "out")]) == 0
    assert "left out FLARE23_0003: has 1 pseudo-label sets; give 2\n" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([*words, str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert "cannot be made" in error and error.count("\n") == 1
    assert main([*words, str(tmp_path / "new"), "--overrides", "nosuch.csv"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("nosuch.csv: cannot be read (") and error.count("\n") == 1


def test_labels_that_a_header_scales_are_used_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = flare_dataset(tmp_path / "data"), tmp_path / "out"
    path = root / "labelsTr2200" / "FLARE23_0001.nii.gz"
    image = nibabel.load(path)
    scaled = nibabel.Nifti1Image(np.asarray(image.dataobj).astype(np.float64), image.affine)
    scaled.set_data_dtype(np.int16)
    nibabel.save(scaled, path)
    words = ["--data", root, "--out", out, "--teachers", "aladdin5", "blackbean", "--workers", "1"]
    assert main([*map(str, words)]) == 0
    assert (load(out / "labels" / "FLARE23_0001.nii.gz") == 14).sum() == 2 * 6 * 6
    line = f"{path}: the labels are stored with a slope of"
    assert f"warning: {line}" in capsys.readouterr().err
    assert f"- {line}" in (out / "report.md").read_text()


def test_what_belongs_to_no_case_is_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = flare_dataset(tmp_path / "data"), tmp_path / "out"
    truth = root / "labelsTr2200" / "FLARE23_0002.nii.gz"
    truth.rename(truth.with_name("FLARE23_002.nii.gz"))
    (root / "imagesTr2200" / "more.nrrd").write_bytes(b"")
    words = ["--data", root, "--out", out, "--teachers", "aladdin5", "blackbean", "--workers", "1"]
    assert main([*map(str, words)]) == 0
    said, report = capsys.readouterr().err, (out / "report.md").read_text()
    for line in ("left out FLARE23_002: ", "1 file (more.nrrd) of formats that training does not"):
        assert line in said and line in report


def test_tables_are_not_written_through_links(tmp_path: Path) -> None:
    root, out = flare_dataset(tmp_path / "data"), tmp_path / "out"
    out.mkdir()
    names = ("cases.csv", "agreement.csv", "annotated_classes.csv", "report.md", "agreement.png")
    for name in names:
        (tmp_path / f"kept_{name}").write_bytes(b"precious")
        (out / name).symlink_to(tmp_path / f"kept_{name}")
    words = ["--data", root, "--out", out, "--teachers", "aladdin5", "blackbean", "--workers", "1"]
    assert main([*map(str, words)]) == 0
    for name in names:
        assert not (out / name).is_symlink()
        assert (tmp_path / f"kept_{name}").read_bytes() == b"precious"
