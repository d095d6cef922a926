"""Ranges of feature maps: measured as inference places its windows, and kept in model.json."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from inference.engines.torch_unet import UNet
from inference.errors import ModelError
from inference.model.description import ModelDescription
from inference.model.int8_ranges import byte_maps
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import Volume, write_image
from inference.segmenter import Segmenter
from inference.steps.resample import resample_image
from phantom import Phantom, make_phantom
from tests.random_model import TINY, write_model
from training.__main__ import main
from training.ship import calibrate as module
from training.ship.calibrate import QUANTILE, calibrate, ranges_of
from training.ship.export import model_json


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "models" / "m")


def test_ranges_are_quantiles_of_the_maps(model: Path):
    """One window on the network's own grid, beside torch with hooks."""
    phantom = make_phantom(TINY.patch, TINY.spacing, seed=2)
    volume = Volume.of_array(phantom.image_ZYX, phantom.grid)
    found = calibrate(model, [volume])
    network = UNet(TINY.architecture).eval()
    network.load_state_dict(load_file(model / "model.safetensors"))
    expected: dict[str, np.ndarray] = {}
    for name in found:
        network.get_submodule(name).register_forward_hook(
            lambda module, given, out, name=name: expected.update(
                {name: np.quantile(out[0].abs().flatten(1).numpy(), QUANTILE, axis=1)}
            )
        )
    image_ZYX, _ = volume.canonical()
    image = resample_image(image_ZYX, TINY.intensity, TINY.patch)
    with torch.no_grad():
        network(torch.from_numpy(image)[None, None])
    assert {name: len(values) for name, values in found.items()} == byte_maps(TINY.architecture)
    for name, values in expected.items():
        least = 0.1 * np.median(values)
        np.testing.assert_allclose(found[name], np.maximum(values, least), rtol=2e-3, err_msg=name)


def test_more_scans_widen_the_ranges_and_a_silent_channel_has_one(model: Path, phantom: Phantom):
    volume = Volume.of_array(phantom.image_ZYX, phantom.grid)
    brighter = Volume.of_array(phantom.image_ZYX + 40, phantom.grid)
    one, other, both = (calibrate(model, s) for s in ([volume], [brighter], [volume, brighter]))
    for name, values in both.items():
        assert values == tuple(map(max, one[name], other[name]))
    assert ranges_of({"up.0": np.array([2.0, 4.00001, 0.0])}) == {"up.0": (2.0, 4.001, 0.2)}


def test_the_command_writes_them_beside_what_was_there(
    model: Path, phantom: Phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_image(tmp_path / "s.nii.gz", phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
    row = {"name": "s", "patient": "s", "split": "train", "image": tmp_path / "s.nii.gz"}
    before = json.loads((model / "model.json").read_text())
    words = ["calibrate", "--model", str(model), "--data", str(tmp_path)]
    assert main(words) == 1
    assert "fuse" in capsys.readouterr().err
    for split, status in (("validation", 1), ("train", 0)):
        with (tmp_path / "cases.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, row)
            writer.writeheader()
            writer.writerow({**row, "split": split})
        assert main(words) == status
    assert "no training scans" in capsys.readouterr().err
    text = (model / "model.json").read_text()
    after = json.loads(text)
    ranges = after.pop("ranges")
    assert after == before
    assert all(len(line) < 2000 and "\n   " not in line for line in text.splitlines())
    description = ModelDescription.load(model)
    assert description.ranges == {name: tuple(values) for name, values in ranges.items()}
    assert model_json(description) == text
    segmenter = Segmenter.load(model, "cpu", precision="int8")
    labels = segmenter.segment(tmp_path / "s.nii.gz").labels
    assert len(np.unique(labels)) > 8


def test_a_map_without_numbers_to_measure_it_by_is_named(model: Path, phantom: Phantom):
    for high, words in (
        ([0.0, 0.0], "is 0 in half of its channels"),
        ([np.nan, 1.0], "holds NaN or infinity"),
        ([np.inf, 1.0], "holds NaN or infinity"),
    ):
        with pytest.raises(ModelError, match=f"map up.0: {words}"):
            ranges_of({"encoder.0.0": np.ones(2), "up.0": np.array(high)})


@pytest.fixture
def words(model: Path, phantom: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command on a folder with a scan ``s``; a network that computes is a mistake."""
    write_image(tmp_path / "s.nii.gz", phantom.image_ZYX, NiftiHeader.of_grid(phantom.grid))
    monkeypatch.setattr(module, "calibrate", lambda *_: pytest.fail("computed before it looked"))
    return ["calibrate", "--model", str(model), "--data", str(tmp_path)]


def _write_cases(folder: Path, *names: str):
    rows = [f"{name},train,{folder / name}.nii.gz\n" for name in names]
    (folder / "cases.csv").write_text("name,split,image\n" + "".join(rows))


def test_what_would_fail_in_the_end_fails_first(
    words: list[str], tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "cases.csv").write_text(f"name,image\ns,{tmp_path}/s.nii.gz\n")
    assert main(words) == 1
    assert "cases.csv: has no column split" in capsys.readouterr().err
    _write_cases(tmp_path, "s", "gone")
    assert main(words) == 1
    assert "gone.nii.gz: is not there (1 of 2 training scans" in capsys.readouterr().err
    (tmp_path / "gone.nii.gz").write_bytes((tmp_path / "s.nii.gz").read_bytes()[:2000])
    assert main(words) == 1
    assert "gone.nii.gz: ends before its data do" in capsys.readouterr().err
    monkeypatch.setattr("os.access", lambda *_: False)
    _write_cases(tmp_path, "s")
    assert main(words) == 1
    assert "models/m: cannot be written to" in capsys.readouterr().err


def test_scans_of_air_do_not_count(
    words: list[str], phantom: Phantom, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    air = np.random.default_rng(0).normal(-1000, 15, phantom.grid.shape).astype(np.int16)
    air[:, 30] = 100  # a table's top
    write_image(tmp_path / "air.nii.gz", air, NiftiHeader.of_grid(phantom.grid))
    write_image(tmp_path / "full.nii.gz", air + 1040, NiftiHeader.of_grid(phantom.grid))
    _write_cases(tmp_path, "air")
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "left out" in error and "has no training scans that show a patient" in error
    _write_cases(tmp_path, "s", "air", "full")
    assert [scan.name for scan in module.training_scans(tmp_path)] == ["s.nii.gz", "full.nii.gz"]
