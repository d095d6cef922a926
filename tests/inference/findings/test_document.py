"""The JSON of statistics and doubts: what docs/statistics.schema.json promises, and its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from inference.findings.document import COLUMNS, document, rows
from inference.findings.doubts import Doubts, doubts
from inference.findings.page.summary import of_case
from inference.findings.statistics import statistics
from inference.grid import Grid
from inference.labels import NAMES, TUMOR
from inference.steps.organs import Evidence
from phantom import Phantom

ROOT = Path(__file__).resolve().parents[3]
MODEL = {"name": "tiny", "version": "1", "sha256": "0" * 64}


def schema() -> dict[str, Any]:
    return json.loads((ROOT / "docs" / "statistics.schema.json").read_text())


def of(phantom: Phantom, labels: np.ndarray, *wanted: int) -> dict[str, Any]:
    measured = statistics(labels, phantom.image_ZYX, phantom.grid)
    doubted = doubts(labels, phantom.image_ZYX, phantom.grid, Evidence({3: 0.1}))
    made = document("a", measured, doubted, phantom.grid, MODEL, wanted or tuple(NAMES))
    return json.loads(json.dumps(made, allow_nan=False))


@pytest.fixture(scope="module")
def made(phantom: Phantom) -> dict[str, Any]:
    return of(phantom, phantom.labels_ZYX)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("keep", ["all", "none", "some", "tumor"])
def test_documents_keep_to_the_schema(phantom: Phantom, keep: str):
    labels = phantom.labels_ZYX.copy()
    if keep == "none":
        labels[:] = 0
    elif keep == "some":
        labels[(labels == 3) | (labels == TUMOR)] = 0
    elif keep == "tumor":
        labels[labels != TUMOR] = 0
    jsonschema.Draft202012Validator(schema()).validate(of(phantom, labels))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), "abdobox-statistics-2"),
        (("structures", 0, "state"), "cut"),
        (("structures", 0, "volume_ml"), 0),
        (("structures", 0, "volume_ml"), None),
        (("structures", 0, "faces"), ["top"]),
        (("structures", 0, "score"), 1.5),
        (("lesions", 0, "host"), 1),
    ],
)
def test_the_schema_refuses(made: dict[str, Any], path: tuple[Any, ...], value: object):
    broken = json.loads(json.dumps(made))
    inner = broken
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(broken)


def test_every_entry_is_in_the_schema(made: dict[str, Any]):
    """Nothing is written that nobody has described."""
    described = schema()
    assert set(made) == set(described["properties"])
    for kind, one in (("structure", made["structures"][0]), ("lesion", made["lesions"][0])):
        assert set(one) == set(described["$defs"][kind]["properties"])
    assert set(made["scan"]) == set(described["properties"]["scan"]["properties"])


def test_it_says_what_was_measured(phantom: Phantom, made: dict[str, Any]):
    spleen = next(one for one in made["structures"] if one["name"] == "spleen")
    voxels = np.count_nonzero(phantom.labels_ZYX == 3)
    assert spleen["volume_ml"] == pytest.approx(voxels * phantom.grid.voxel_ml, abs=1e-4)
    assert (spleen["doubtful"], spleen["score"]) == (True, 0)
    assert spleen["doubts"] == ["the two models agree by 0.10 only"]
    tumor = made["structures"][-1]
    assert (tumor["score"], tumor["lesions"]) == (None, len(made["lesions"]))
    assert tumor["longest_axial_mm"] == max(one["longest_axial_mm"] for one in made["lesions"])


def test_labels_that_are_not_wanted(phantom: Phantom):
    made = of(phantom, phantom.labels_ZYX, 1, 3)
    assert [one["label"] for one in made["structures"]] == [1, 3]
    assert made["lesions"] == []


@pytest.mark.parametrize("wanted", [(1, 2), (2, 3), (13, TUMOR), tuple(NAMES)])
def test_a_list_of_cases_tells_what_was_not_wanted_from_what_is_not_there(
    phantom: Phantom, wanted: tuple[int, ...]
):
    labels = np.where(phantom.labels_ZYX == TUMOR, 0, phantom.labels_ZYX)
    made = of(phantom, labels, *wanted)
    ml = {one["label"]: one["volume_ml"] for one in made["structures"]}
    summary = of_case(made, "", "")
    assert summary["liver_ml"] == ml.get(1) and summary["spleen_ml"] == ml.get(3)
    both = {2, 13} <= set(wanted)
    assert summary["kidneys_ml"] == (pytest.approx(ml[2] + ml[13]) if both else None)
    assert summary["lesions"] == (0 if TUMOR in wanted else None)
    assert summary["lesions_ml"] is None
    assert summary["cut"] == []


def test_a_list_of_cases_says_which_volumes_are_a_part(phantom: Phantom):
    labels = phantom.labels_ZYX.copy()
    labels[:, :, :2] = 13
    summary = of_case(of(phantom, labels), "", "")
    assert summary["cut"] == ["kidneys_ml"]


def test_one_small_voxel_has_a_volume():
    """0.3 x 0.3 x 0.3 mm, at the border: 0.000027 ml."""
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[0, 4, 4], labels[4, 4, 4] = 3, TUMOR
    grid = Grid(labels.shape, (0.3, 0.3, 0.3))
    measured = statistics(labels, np.full(labels.shape, 40, np.int16), grid)
    made = document("a", measured, Doubts({}, (), "unknown"), grid, MODEL)
    jsonschema.Draft202012Validator(schema()).validate(made)
    spleen = made["structures"][2]
    assert (spleen["state"], spleen["volume_ml"]) == ("cut off", 2.7e-5)
    assert made["lesions"][0]["volume_ml"] == 2.7e-5


def test_rows(made: dict[str, Any]):
    found = [*rows(made)]
    assert [row["label"] for row in found] == [*NAMES]
    for row, one in zip(found, made["structures"], strict=True):
        assert tuple(row) == COLUMNS
        assert row["case"] == "a"
        assert row["volume_ml"] == one["volume_ml"]
        assert row["faces"].split() == one["faces"]
    assert found[2]["doubtful"] == "yes"
    assert found[2]["doubts"] == "the two models agree by 0.10 only"
    assert found[-1]["score"] == ""  # unknown


def test_columns_name_their_units(made: dict[str, Any]):
    """Whatever is a fraction has a unit, but for the score."""
    for column in COLUMNS:
        values = [one.get(column) for one in made["structures"]]
        if any(isinstance(value, float) for value in values):
            assert column == "score" or column.rsplit("_", 1)[1] in ("ml", "mm", "hu")
