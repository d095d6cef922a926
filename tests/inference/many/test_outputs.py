"""What a run leaves beside the labels: chosen classes, files per class, statistics, the table."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from inference.cli import merge
from inference.findings.document import COLUMNS
from inference.labels import NAMES
from inference.many.shard import Shard
from inference.many.statistics_table import write_table
from inference.scan.volume import read_labels
from tests.inference.scan_folders import Run, contents, spoil

ROOT = Path(__file__).resolve().parents[3]


def read(path: Path) -> np.ndarray:
    return read_labels(path)[0]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def cases_of(path: Path) -> list[str]:
    return sorted({row["case"] for row in table(path)})


@pytest.fixture
def whole(clean: dict[str, bytes], tmp_path: Path) -> np.ndarray:
    return read(tmp_path / "clean" / "a.nii.gz")


def test_chosen_labels(run: Run, scans: Path, tmp_path: Path, whole: np.ndarray):
    target = tmp_path / "out"
    assert run(scans, target, "--labels", "Liver", "right-kidney", "inferior vena cava", "14") == 0
    expected = np.where(np.isin(whole, (1, 2, 6, 14)), whole, 0)
    assert expected.any()
    np.testing.assert_array_equal(read(target / "a.nii.gz"), expected)


@pytest.mark.parametrize("word", ["heart", "0", "15", "", "left"])
def test_no_such_label(run: Run, scans: Path, tmp_path: Path, word: str, capfd):
    with pytest.raises(SystemExit, match="2"):
        run(scans, tmp_path / "out", "--labels", word)
    assert f"{word!r} is no label; use liver, right-kidney" in capfd.readouterr().err


def test_one_file_for_each_class(run: Run, scans: Path, tmp_path: Path, whole: np.ndarray):
    target = tmp_path / "out"
    assert run(scans, target, "--split") == 0
    names = {f"{name.replace(' ', '_')}.nii.gz" for name in NAMES.values()}
    assert {path.name for path in (target / "a").iterdir()} == names
    np.testing.assert_array_equal(read(target / "a.nii.gz"), whole)
    for label, name in NAMES.items():
        mask = read(target / "a" / f"{name.replace(' ', '_')}.nii.gz")
        np.testing.assert_array_equal(mask, whole == label)


def test_one_file_for_each_chosen_class(run: Run, scans: Path, tmp_path: Path):
    target = tmp_path / "out"
    assert run(scans / "a_0000.nii.gz", target, "--split", "--labels", "spleen", "left_kidney") == 0
    assert sorted(path.name for path in (target / "a").iterdir()) == [
        "left_kidney.nii.gz",
        "spleen.nii.gz",
    ]


def test_statistics_of_a_folder(run: Run, scans: Path, tmp_path: Path, whole: np.ndarray):
    target = tmp_path / "out"
    assert run(scans, target, "--statistics") == 0
    assert {path.name for path in target.iterdir()} == {
        *(f"{name}.nii.gz" for name in "abc"),
        *(f"{name}.json" for name in "abc"),
        "statistics.csv",
    }
    schema = json.loads((ROOT / "docs" / "statistics.schema.json").read_text())
    _, grid = read_labels(target / "a.nii.gz")
    document = json.loads((target / "a.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["case"] == "a"
    rows = table(target / "statistics.csv")
    assert [(row["case"], row["label"]) for row in rows] == [
        (case, str(label)) for case in "abc" for label in NAMES
    ]
    for row in rows[:14]:
        voxels = np.count_nonzero(whole == int(row["label"]))
        assert float(row["volume_ml"] or 0) == pytest.approx(voxels * grid.voxel_ml, abs=1e-4)


def test_statistics_of_chosen_labels(run: Run, scans: Path, tmp_path: Path):
    assert run(scans, tmp_path / "out", "--statistics", "--labels", "liver") == 0
    assert {row["name"] for row in table(tmp_path / "out" / "statistics.csv")} == {"liver"}


def test_labels_under_a_name(run: Run, scans: Path, tmp_path: Path):
    target = tmp_path / "mine.nii.gz"
    assert run(scans / "b_0000.nii.gz", target, "--statistics", "--split", "--labels", "liver") == 0
    assert json.loads((tmp_path / "mine.json").read_text())["case"] == "mine"
    assert (tmp_path / "mine" / "liver.nii.gz").is_file()
    assert cases_of(tmp_path / "statistics.csv") == ["mine"]


def test_skip_existing_looks_at_all_that_is_wanted(run: Run, scans: Path, tmp_path: Path, capfd):
    target = tmp_path / "out"
    wanted = ("--statistics", "--split", "--labels", "liver", "spleen", "--skip-existing")
    assert run(scans, target, *wanted) == 0
    before = contents_of_all(target)
    (target / "b.json").unlink()
    (target / "c" / "liver.nii.gz").unlink()
    (target / "statistics.csv").unlink()
    capfd.readouterr()
    assert run(scans, target, *wanted) == 0
    assert "2 done, 1 skipped, 0 failed" in capfd.readouterr().err
    assert contents_of_all(target) == before


def contents_of_all(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_table_of_a_folder_with_failures(run: Run, scans: Path, tmp_path: Path):
    spoil(scans)
    assert run(scans, tmp_path / "out", "--statistics", "--quiet") == 1
    assert cases_of(tmp_path / "out" / "statistics.csv") == ["a", "b", "c"]


def test_a_case_that_is_added_later(run: Run, scans: Path, tmp_path: Path):
    target = tmp_path / "out"
    for name in ("c", "a"):
        assert run(scans / f"{name}_0000.nii.gz", target, "--statistics") == 0
    assert cases_of(target / "statistics.csv") == ["a", "c"]


def test_shares_and_their_merger(run: Run, scans: Path, tmp_path: Path, capfd):
    target, alone = tmp_path / "shares", tmp_path / "alone"
    assert run(scans, alone, "--statistics") == 0
    count = 2
    for index in range(1, count + 1):
        run(scans, target, "--statistics", "--shard", f"{index}/{count}")
    assert not (target / "statistics.csv").exists()
    shares = [cases_of(path) for path in target.glob(f"statistics.*-of-{count}.csv")]
    assert sorted(case for share in shares for case in share) == ["a", "b", "c"]
    capfd.readouterr()
    assert merge.main([str(target)]) == 0
    assert capfd.readouterr().err == f"{target / 'statistics.csv'}: 3 cases\n"
    assert (target / "statistics.csv").read_bytes() == (alone / "statistics.csv").read_bytes()
    (target / "b.json").unlink()
    assert merge.main([str(target)]) == 0
    assert "2 cases; 1 label files have no statistics" in capfd.readouterr().err


def test_merging_nothing(tmp_path: Path, capfd):
    assert merge.main([str(tmp_path / "gone")]) == 1
    assert capfd.readouterr().err.startswith(f"error: {tmp_path / 'gone'}: cannot be read")


def document(**more: Any) -> bytes:
    return json.dumps({"schema": "abdobox-statistics-1", "structures": [], **more}).encode()


def test_files_that_are_no_statistics(tmp_path: Path):
    (tmp_path / "report.json").write_text('{"cases": []}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "broken.json").write_bytes(b"\xff{")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "real.json").write_bytes(document())
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert write_table(tmp_path) == 1
    share = Shard(1, 2)
    expected = int(share.takes("real"))
    assert write_table(tmp_path, share) == expected


def test_statistics_of_another_version_are_named(tmp_path: Path):
    from inference.errors import OutputError

    (tmp_path / "a.json").write_bytes(document(structures=[{"label": 1}]))
    with pytest.raises(OutputError, match=r"a\.json: is no statistics of this version"):
        write_table(tmp_path)
    assert not (tmp_path / "statistics.csv").exists()


def test_a_name_that_is_no_text(tmp_path: Path):
    """The table stays UTF-8, whatever one name is."""
    for name in (b"\xff,\n", "M\u00fcller".encode(), b"plain"):
        structure = {**dict.fromkeys(COLUMNS[1:]), "faces": [], "doubts": []}
        (tmp_path / os.fsdecode(name + b".json")).write_bytes(document(structures=[structure]))
    assert write_table(tmp_path) == 3
    text = (tmp_path / "statistics.csv").read_text(encoding="utf-8")
    rows = [*csv.DictReader(io.StringIO(text))]
    assert [row["case"] for row in rows] == ["M\u00fcller", "plain", "\\xff,\n"]


def test_statistics_that_hold_half_a_character(tmp_path: Path):
    structure = {**dict.fromkeys(COLUMNS[1:]), "name": "\ud800", "faces": [], "doubts": []}
    (tmp_path / "a.json").write_bytes(document(structures=[structure]))
    assert write_table(tmp_path) == 1
    (row,) = csv.DictReader(io.StringIO((tmp_path / "statistics.csv").read_text("utf-8")))
    assert "\\ud800" in row.values()


def test_a_report_in_the_statistics_place(run: Run, scans: Path, tmp_path: Path, capfd):
    target = tmp_path / "out"
    assert run(scans, target, "--statistics", "--report", str(target / "b.json")) == 1
    assert "the statistics of b go there; name another file" in capfd.readouterr().err
    assert not target.exists()


def test_a_folder_where_a_class_should_go(run: Run, scans: Path, tmp_path: Path, capfd):
    target = tmp_path / "out"
    target.mkdir()
    (target / "b").write_text("a file")
    assert run(scans, target, "--split", "--labels", "liver") == 1
    assert f"{target / 'b'}: cannot be made" in capfd.readouterr().err
    assert sorted(path.name for path in target.glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]


def test_classes_are_not_written_into_the_scans_own_folder(
    run: Run, scans: Path, tmp_path: Path, capfd
):
    """What people drew lies there under the same names."""
    patient = tmp_path / "a"
    patient.mkdir()
    (scans / "a_0000.nii.gz").rename(patient / "a.nii.gz")
    (patient / "liver.nii.gz").write_bytes(b"drawn by hand")
    assert run(patient / "a.nii.gz", tmp_path, "--split") == 1
    assert "is the folder of the scan itself" in capfd.readouterr().err
    assert (patient / "liver.nii.gz").read_bytes() == b"drawn by hand"
    assert run(patient / "a.nii.gz", tmp_path / "out", "--split", "--labels", "liver") == 0
    assert (tmp_path / "out" / "a" / "liver.nii.gz").is_file()


def test_the_report_has_the_doubts(run: Run, scans: Path, tmp_path: Path):
    report = tmp_path / "report.json"
    assert run(scans, tmp_path / "out", "--report", str(report)) == 0
    made = json.loads(report.read_text())
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(made)
    assert {case["doubts"]["contrast_phase"] for case in made["cases"]}
    assert set(made) == set(schema["properties"])
    assert set(made["cases"][0]) == set(schema["properties"]["cases"]["items"]["properties"])


def test_leftovers_of_split_files_are_removed(run: Run, scans: Path, tmp_path: Path):
    target = tmp_path / "out"
    (target / "a").mkdir(parents=True)
    left = target / "a" / ".liver.nii.gz.0123abcd.partial"
    left.write_bytes(b"half")
    assert run(scans, target, "--split", "--labels", "liver") == 0
    assert not left.exists()
    assert contents(target / "a").keys() == {"liver.nii.gz"}
