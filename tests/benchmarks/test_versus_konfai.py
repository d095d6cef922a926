"""This project's network as a KonfAI app."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.versus import konfai_model, mapping, runs, table, tools
from benchmarks.versus.notes import NOTES
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_labels, write_image
from phantom import make_phantom
from tests.benchmarks.test_versus import MACHINE, one_run
from tests.benchmarks.test_versus_model import NET, ours_and_weights, peer_network
from tests.random_model import TINY


def test_every_parameter_has_one_name():
    _, weights = ours_and_weights(NET)
    theirs = peer_network(NET, NET.outputs + 1)
    state = konfai_model.state_dict(mapping.softmax_state_dict(weights, NET))
    sizes = sorted(values.numel() for values in state.values())
    assert sizes == sorted(values.numel() for values in theirs.parameters())
    last = len(NET.features) - 2
    torch.testing.assert_close(state["Encoder_1.Conv_0.weight"], weights["encoder.1.0.conv.weight"])
    torch.testing.assert_close(state[f"Up_{last}.weight"], weights["up.0.weight"])
    assert state[f"SegHead_{last}.bias"][0] == 0


def test_app_says_what_the_model_says(tiny_model: Path, tmp_path: Path):
    konfai_model.write_app(tiny_model, tmp_path)
    assert json.loads((tmp_path / "app.json").read_text())["models"] == ["model.pt"]
    predictor = json.loads((tmp_path / "Prediction.yml").read_text())["Predictor"]
    assert predictor["Dataset"]["Patch"]["patch_size"] == list(TINY.patch)
    assert list(predictor["outputs_dataset"]) == ["SegHead_1"]
    network = predictor["Model"]["PlainConvUNet"]
    assert network["features_per_stage"] == list(TINY.architecture.features)
    assert network["num_classes"] == TINY.architecture.outputs + 1


def test_command(tmp_path: Path, tiny_model: Path):
    task = tools.Task(tmp_path / "a_0000.nii.gz", tiny_model, tmp_path / "work", "cpu")
    command = tools.konfai(task)
    app = Path(command[command.index("infer") + 1])
    assert (app / "app.json").exists()
    assert str(task.labels) in command


def test_the_table_says_whose_app_it_is():
    text = table.markdown(
        {"machine": MACHINE, "runs": [one_run("c", "konfai", 1.0)], "agreement": {}}
    )
    assert f"- konfai: {NOTES['konfai']}" in text


@pytest.mark.slow
def test_konfai_labels_as_the_box_does(tmp_path: Path, tiny_model: Path):
    """From file to file, also a scan whose axes grow the other way. Both are longer than a window:
    beyond a shorter one KonfAI has zeros at its far end, the box a mirror at either."""
    if not (tools.PEERS / "konfai-apps").exists():
        pytest.skip("no build/peers: python -m benchmarks.versus setup")
    phantom = make_phantom((48, 48, 64), (8.0, 8.0, 8.0), seed=1)
    turned = replace(phantom.grid, direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    for name, grid in (("straight", phantom.grid), ("turned", turned)):
        scan = tmp_path / f"{name}_0000.nii.gz"
        write_image(scan, phantom.image_ZYX, NiftiHeader.of_grid(grid))
        plan = runs.Plan(
            [scan], ["abdobox-reference", "konfai"], tiny_model, 1, "cpu", 5.0, tmp_path / "work"
        )
        document = runs.run(plan, tmp_path / f"{name}.json")
        assert [run["ended"] for run in document["runs"]] == ["done", "done"]
        written = read_labels(tmp_path / "work" / name / "konfai" / f"{name}.nii.gz")[1]
        assert written.shape == grid.shape
        np.testing.assert_allclose(written.origin, grid.origin, atol=1e-4)
        np.testing.assert_allclose(written.direction, grid.direction, atol=1e-6)
        agreement = document["agreement"][name]["konfai / abdobox-reference"]
        assert agreement["equal_voxels"] > 0.85
