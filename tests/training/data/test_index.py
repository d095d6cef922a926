"""The data set index on small data sets written by the test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.labels import ORGANS
from tests.training.dataset_files import SHARED, blocks, flare_dataset, noise, save
from training.data.case import (
    DatasetError,
    parse_classes,
    read_annotated_table,
    write_annotated_table,
)
from training.data.index import build_index


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
    assert len(index.cases) == 43
    held_out = {case.name for case in index.cases if case.split == "validation"}
    assert held_out == {
        *("crlm_1006", "hcc_048", "midrc_1a_000082", "msd_liver_2", "rider_0109_abd"),
    }
