"""The data set index on small data sets written by the test."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from inference.labels import ORGANS
from tests.training.dataset_files import SHARED, blocks, flare_dataset, noise, save
from training.data.case import (
    DatasetError,
    parse_classes,
    read_annotated_table,
)
from training.data.index import build_index
from training.data.table import write_annotated_table


def test_flare_layout_derives_annotated_classes_from_the_values(tmp_path: Path) -> None:
    index = build_index([flare_dataset(tmp_path)])
    assert [case.name for case in index.cases] == [f"FLARE23_000{n}" for n in "1234"]
    assert index.rejected == {}
    first, second, third, _ = index.cases
    assert first.annotated["truth"] == (1, 14)
    assert second.annotated["truth"] == (3,)
    assert set(third.labels) == {"aladdin5", "blackbean"}
    assert first.annotated["aladdin5"] == ORGANS, "pseudo-labels never annotate the tumour"


def test_an_annotated_table_is_believed_and_round_trips(tmp_path: Path) -> None:
    root = flare_dataset(tmp_path)
    (root / "annotated_classes.csv").write_text("name,source,classes\nFLARE23_0002,truth,3 14\n")
    index = build_index([root])
    assert index.cases[1].annotated["truth"] == (3, 14)
    write_annotated_table(tmp_path / "table.csv", index.cases)
    table = read_annotated_table(tmp_path / "table.csv")
    assert table["FLARE23_0001", "truth"] == (1, 14)
    assert table["FLARE23_0004", "blackbean"] == ORGANS


def test_bad_cases_are_named_and_left_out(tmp_path: Path) -> None:
    root = flare_dataset(tmp_path)
    (root / "imagesTr2200" / "FLARE23_0001_0000.nii.gz").write_bytes(b"no gzip")
    save(root / "pseudo_labels" / "blackbean" / "FLARE23_0004.nii.gz", blocks(c1=(0, 3)), 2.5)
    save(root / "labelsTr2200" / "FLARE23_0002.nii.gz", np.full((12, 12, 12), 77, np.uint8))
    index = build_index([root])
    assert [case.name for case in index.cases] == ["FLARE23_0003"]
    assert "cannot be read" in index.rejected["FLARE23_0001"]
    assert "77" in index.rejected["FLARE23_0002"]
    assert "another grid" in index.rejected["FLARE23_0004"]


def test_nnunet_labels_must_be_the_challenges(tmp_path: Path) -> None:
    root = flare_dataset(tmp_path)
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "colon": 15}}))
    with pytest.raises(DatasetError, match="colon"):
        build_index([root])
    (root / "dataset.json").write_text(json.dumps({"labels": {"Kidney_Right": 13}}))
    with pytest.raises(DatasetError, match="Kidney_Right"):
        build_index([root])
    (root / "dataset.json").write_text(json.dumps({"labels": {"kidney right": 2, "lesion": 14}}))
    assert len(build_index([root]).cases) == 4


def test_a_table_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("scan,owner\na,b\n")
    with pytest.raises(DatasetError, match="cannot be understood"):
        build_index([tmp_path])


def test_a_folder_without_a_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no data set"):
        build_index([tmp_path])


def listed_dataset(root: Path) -> Path:
    """Two scans of one patient, one of them held out, one source each."""
    rows = [
        "name,patient,expert_classes,hk_classes,split",
        "a_1,a,1 14,1 2,validation",
        "a_2,a,,1 2,train",
        "b,b,,1 2,train",
    ]
    (root / "index.csv").write_text("\n".join(rows) + "\n")
    for name in ("a_1", "a_2", "b"):
        save(root / "images" / f"{name}_0000.nii.gz", noise())
        save(root / "hk" / f"{name}.nii.gz", blocks(c1=(0, 5)))
    save(root / "expert" / "a_1.nii.gz", blocks(c1=(0, 5), c14=(1, 2)))
    return root


def test_a_patient_never_lies_on_both_sides(tmp_path: Path) -> None:
    cases = build_index([listed_dataset(tmp_path)]).cases
    assert {case.name: case.split for case in cases} == {
        "a_1": "validation",
        "a_2": "validation",
        "b": "train",
    }
    assert cases[0].annotated == {"expert": (1, 14), "hk": (1, 2)}
    assert set(cases[1].labels) == {"hk"}


def test_the_same_name_in_two_folders_is_used_once(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        listed_dataset(tmp_path / folder)
    index = build_index([tmp_path / "one", tmp_path / "two"])
    assert len(index.cases) == 3
    assert set(index.rejected.values()) == {"the name occurs twice"}


def test_parse_classes_sorts_and_drops_repeats() -> None:
    assert parse_classes(" 14 1  1 ") == (1, 14)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data beside the repository")
def test_shared_data_is_indexed_without_loss() -> None:
    index = build_index([SHARED / "train", SHARED])
    assert index.rejected == {}
    listed = (SHARED / "train" / "index.csv").read_text().splitlines()[1:]
    assert len(index.cases) == len(listed) + len([*(SHARED / "ct").glob("*.nii.gz")])
    held_out = {case.name for case in index.cases if case.split == "validation"}
    assert {"hcc_048", "msd_liver_2", "crlm_1006"} <= held_out


def flare(root: Path, *files: str) -> Path:
    """A FLARE-like folder: scans in ``imagesTr``, label maps elsewhere."""
    for name in files:
        scan = name.startswith(("imagesTr", "unlabeled"))
        path = root / name
        made = save(path.with_name("x.nii.gz"), noise() if scan else blocks(c1=(0, 5)))
        if path.name.lower().endswith(".gz"):
            made.rename(path)
        else:
            path.write_bytes(gzip.decompress(made.read_bytes()))
            made.unlink()
    return root


def test_scans_and_labels_in_capitals_and_uncompressed_are_taken(tmp_path: Path) -> None:
    index = build_index([flare(
        tmp_path, "imagesTr/a_0000.NII.GZ", "imagesTr/b.nii", "imagesTr/c_0000.nii",
        "labelsTr/a.nii", "labelsTr/b.NII.GZ", "pseudo/t/c.Nii",
    )])  # fmt: skip
    assert index.rejected == {} and index.notes == []
    assert {case.name: case.image.name for case in index.cases} == {
        "a": "a_0000.NII.GZ", "b": "b.nii", "c": "c_0000.nii",
    }  # fmt: skip
    assert [[*case.labels] for case in index.cases] == [["truth"], ["truth"], ["t"]]


def test_a_truth_map_without_a_scan_is_named(tmp_path: Path) -> None:
    index = build_index([flare(tmp_path, "imagesTr/c_01_0000.nii.gz", "labelsTr/c_1.nii.gz",
                               "pseudo/t/c_01.nii.gz", "pseudo/t/d.nii.gz")])  # fmt: skip
    assert [case.name for case in index.cases] == ["c_01"]
    assert index.rejected == {
        "c_1": f"{tmp_path / 'labelsTr/c_1.nii.gz'} is a label map without a scan; name both alike"
    }
    assert index.notes == ["t: 1 label map (d) without a scan; name both alike"]


@pytest.mark.parametrize(
    "files",
    [
        ("imagesTr/c_0000.nii.gz", "imagesTr/c.nii.gz"),
        ("imagesTr/c_0000.nii", "imagesTr/c_0000.nii.gz"),
        ("imagesTr/c.nii.gz", "imagesTr/c.NII.GZ"),
        ("imagesTr/c.nii.gz", "unlabeledTr/c.nii.gz"),
        ("labelsTr/c.nii.gz", "labelsTr/c.nii"),
        ("labelsTr2200/c.nii.gz", "labelsTr50/c.nii.gz"),
        ("pseudo/t/c.nii.gz", "pseudo/t/c.nii"),
    ],
)
def test_two_files_of_one_name_are_named_and_neither_is_taken(
    tmp_path: Path, files: tuple[str, str]
) -> None:
    more = () if files[0].startswith("images") else ("imagesTr/c_0000.nii.gz",)
    index = build_index([flare(tmp_path, *files, *more, "imagesTr/good.nii.gz")])
    assert [case.name for case in index.cases] == ["good"]
    assert set(index.rejected) == {"c"}
    assert all(str(tmp_path / name) in index.rejected["c"] for name in files)
    assert index.rejected["c"].endswith("are of one name; keep one of them")


def test_what_is_of_no_format_that_training_reads_is_named(tmp_path: Path) -> None:
    root = flare(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    for name in ("imagesTr/b.nrrd", "imagesTr/c.hdr", "imagesTr/c.img", "labelsTr/a.json"):
        (root / name).write_bytes(b"")
    index = build_index([root])
    assert [case.name for case in index.cases] == ["a"]
    assert index.notes == [
        f"{root / 'imagesTr'}: 3 files (b.nrrd, c.hdr, c.img) of formats that training does not "
        "read; convert to .nii.gz",
        f"{root / 'imagesTr'}: 1 further nnU-Net channel (a_0001.nii.gz) left out",
    ]


def test_a_name_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    root = flare(tmp_path, "imagesTr/a.nii.gz", "imagesTr/s.nii.gz")
    (root / "imagesTr/s.nii.gz").rename(root / "imagesTr" / os.fsdecode(b"S\xf8ren.nii.gz"))
    index = build_index([root])
    assert [case.name for case in index.cases] == ["a"]
    assert index.rejected["S\\xf8ren"].endswith("has a name that is no UTF-8")
    (tmp_path / os.fsdecode(b"\xf8")).mkdir()
    with pytest.raises(DatasetError, match="no UTF-8; rename that folder"):
        build_index([tmp_path / os.fsdecode(b"\xf8")])


def test_scans_without_a_row_are_named(tmp_path: Path) -> None:
    root = listed_dataset(tmp_path)
    save(root / "images" / "more_0000.nii.gz", noise())
    (root / "images" / "b_0000.nii.gz").rename(root / "images" / "b.NII.GZ")
    (root / "hk" / "a_2.nii.gz").unlink()
    index = build_index([root])
    assert [case.name for case in index.cases] == ["a_1", "b"]
    assert "a_2.nii.gz: cannot be read (No such file" in index.rejected["a_2"]
    assert index.notes == [f"{root}: 1 scan (more) without a row in index.csv"]


def test_labels_of_a_teacher_s_folder(tmp_path: Path) -> None:
    flare(tmp_path, "imagesTr/a.nii.gz")
    (tmp_path / "imagesTr").rename(tmp_path / "ct")
    save(tmp_path / "pseudo_labels" / "t" / "a.nii.gz", blocks(c1=(0, 5)))
    save(tmp_path / "pseudo_labels" / "t" / "b.nii.gz", blocks(c1=(0, 5)))
    table = {"annotated_classes": {"t": [1]}}
    (tmp_path / "pseudo_labels" / "annotated_classes.json").write_text(json.dumps(table))
    index = build_index([tmp_path])
    assert [case.annotated for case in index.cases] == [{"t": (1,)}]
    assert index.notes == ["t: 1 label map (b) without a scan; name both alike"]


def test_pairs_in_one_folder_or_in_two(tmp_path: Path) -> None:
    """A scan is known by its channel where both lie together; without a map it is unlabelled."""
    for name in ("a", "b"):
        save(tmp_path / "one" / f"{name}_0000.nii.gz", noise())
        save(tmp_path / "two" / "images" / f"{name}.nii.gz", noise())
    for folder in (tmp_path / "one", tmp_path / "two" / "labels"):
        save(folder / "a.nii.gz", blocks(c1=(0, 6), c14=(2, 4)))
        save(folder / "alone.nii.gz", blocks(c1=(0, 6)))
    save(tmp_path / "one" / "b_0001.nii.gz", noise())
    for name in ("one", "two"):
        index = build_index([tmp_path / name])
        assert [case.name for case in index.cases] == ["a", "b"], index.rejected
        first, second = index.cases
        assert first.annotated == {"truth": (1, 14)} and second.labels == {}
        assert first.image.name.startswith("a") and first.labels["truth"].name == "a.nii.gz"
        assert "without a scan" in index.rejected["alone"] and len(index.rejected) == 1
    notes = build_index([tmp_path / "one"]).notes
    assert len(notes) == 1 and "further nnU-Net channel (b_0001.nii.gz)" in notes[0]
