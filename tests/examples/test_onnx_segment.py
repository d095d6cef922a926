"""The example that needs an ONNX file, numpy, nibabel and onnxruntime finds what the box finds."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from evaluation.dice import dice
from examples import onnx_segment
from inference.labels import NAMES
from inference.model.folder import WEIGHTS
from inference.segmenter import Segmenter
from phantom import Phantom
from tests.random_model import TINY
from tests.tilted_scans import scan_of
from training.ship.onnx import write_onnx

LEAST_DICE = 0.99


def by_example(model: Path, scan: Path, out: Path) -> np.ndarray:
    """Labels (z, y, x) by the example, after a look at the geometry of what it wrote."""
    onnx_segment.main(str(model), str(scan), str(out))
    labels, image = nib.load(out), nib.load(scan)
    assert labels.shape == image.shape and labels.get_data_dtype() == np.uint8
    assert np.array_equal(labels.affine, image.affine)
    return np.asarray(labels.dataobj).transpose()


def assert_alike(found: np.ndarray, wanted: np.ndarray) -> None:
    for value in NAMES:
        if (wanted == value).any() or (found == value).any():
            assert dice(found == value, wanted == value) >= LEAST_DICE, NAMES[value]


@pytest.mark.parametrize("axes", ["LPS", "RAS", "ASR", "ILA"])
def test_labels_are_the_boxs_whatever_the_axes(
    tmp_path: Path, tiny_model: Path, phantom: Phantom, axes: str
):
    write_onnx(tiny_model, tmp_path / "m.onnx")
    scan = scan_of(phantom, axes, tmp_path / "scan.nii.gz")
    found = by_example(tmp_path / "m.onnx", scan, tmp_path / "labels.nii.gz")
    box = Segmenter.load(tiny_model, "cpu", precision="f32")
    wanted = box.segment(scan, step=0.5, decode="linear").labels
    assert len(np.unique(wanted)) > 5
    assert (found == wanted).mean() > 0.999
    assert_alike(found, wanted)


def test_nothing_but_air_is_said(tmp_path: Path, make_model):
    model = make_model(intensity=replace(TINY.intensity, lower=-1000.0))
    write_onnx(model, tmp_path / "m.onnx")
    air = nib.Nifti1Image(np.full((8, 8, 8), -1000, np.int16), np.diag([8, 8, 8, 1]))
    nib.save(air, tmp_path / "air.nii.gz")
    with pytest.raises(SystemExit, match="nothing but air"):
        by_example(tmp_path / "m.onnx", tmp_path / "air.nii.gz", tmp_path / "out.nii.gz")


def test_it_imports_nothing_else():
    tree = ast.parse(Path(onnx_segment.__file__).read_text(encoding="utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"json", "sys", "itertools", "nibabel", "numpy", "onnxruntime"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_real_scans_with_a_shipped_model(tmp_path: Path, shared_data: Path):
    write_onnx(WEIGHTS / "tiny", tmp_path / "tiny.onnx")
    box = Segmenter.load(WEIGHTS / "tiny", "cpu", precision="f32")
    for name in ("totalsegmentator_slab", "cptac_pda_c3l_00189"):
        scan = shared_data / "ct" / f"{name}_0000.nii.gz"
        found = by_example(tmp_path / "tiny.onnx", scan, tmp_path / f"{name}.nii.gz")
        assert_alike(found, box.segment(scan, step=0.5).labels)
