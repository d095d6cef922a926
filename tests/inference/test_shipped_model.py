"""The shipped default on real scans: its labels agree with the teacher's as its model.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.dice import dice
from inference.labels import NAMES
from inference.segmenter import WEIGHTS, Segmenter, model_folder
from inference.volume import read_labels

LARGE = ("liver", "right kidney", "spleen", "aorta", "left kidney")
CASE = "train/images/hcc_048_0000.nii.gz"
TEACHER = "train/hk/hcc_048.nii.gz"


@pytest.mark.parametrize("precision", ["auto", "f32"])
def test_the_default_model_finds_the_large_organs(shared_data: Path, precision: str):
    stated = json.loads((model_folder(WEIGHTS) / "model.json").read_text())["metrics"]["dsc"]
    result = Segmenter.load(device="cpu", precision=precision).segment(shared_data / CASE)
    teacher, _ = read_labels(shared_data / TEACHER)
    values = {name: value for value, name in NAMES.items()}
    for name in LARGE:
        found = dice(result.labels == values[name], teacher == values[name])
        assert found == pytest.approx(stated["hcc_048"][name], abs=0.01), name
        assert found > 0.85, name
