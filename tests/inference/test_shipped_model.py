"""The shipped default on a real scan: its labels agree with the reference as model.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.dice import dice
from inference.engines.processor import adds_bytes_in_pairs
from inference.labels import NAMES
from inference.model.folder import WEIGHTS, model_folder
from inference.scan.volume import read_labels
from inference.segmenter import Segmenter

CASE = "hcc_048"
# The teacher's labels of these are what model.json's scores were taken against.
STATED = ("liver", "right kidney", "spleen", "aorta", "inferior vena cava", "stomach",
          "duodenum", "left kidney")  # fmt: skip
LARGE = ("liver", "right kidney", "spleen", "aorta", "left kidney")


@pytest.mark.parametrize(
    "precision", ["auto", *(pytest.param(p, marks=pytest.mark.slow) for p in ("int8", "f32"))]
)
def test_the_default_model_is_as_good_as_it_says(shared_data: Path, precision: str):
    stated = json.loads((model_folder(WEIGHTS) / "model.json").read_text())["metrics"]["dsc"]
    scan = shared_data / f"train/images/{CASE}_0000.nii.gz"
    result = Segmenter.load(device="cpu", precision=precision).segment(scan)
    teacher, _ = read_labels(shared_data / f"train/hk/{CASE}.nii.gz")
    values = {name: value for value, name in NAMES.items()}
    # Bytes move a small organ's border by a voxel here and there, to either side: the duodenum,
    # of DSC 0.968 to float32's, came out better by 0.011 without VNNI.
    within = 0.02 if precision == "int8" and adds_bytes_in_pairs() else 0.01
    for name in STATED:
        found = dice(result.labels == values[name], teacher == values[name])
        assert found == pytest.approx(stated[CASE][name], abs=within), name
        assert found > 0.9 or name not in LARGE, name
