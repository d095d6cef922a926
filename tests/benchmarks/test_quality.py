"""Degraded scans whose result a hand can compute, and the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import __main__ as command_line
from benchmarks.quality import absent as absent_module
from benchmarks.quality import tumor as tumor_module
from benchmarks.quality.degrade import cropped, degradations, noisy, scaled, slab, sliced
from benchmarks.quality.scan import Scan, mean_by_label, organ_mean
from benchmarks.quality.tables import table
from inference.labels import TUMOR
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image, write_labels
from phantom import Phantom


def _scan(spacing_z: float = 2.0) -> Scan:
    """Ten slices of HU 0, 10, 20, ...; the liver in slices 2 to 7."""
    voxels = np.repeat(np.arange(10, dtype=np.int16) * 10, 64).reshape(10, 8, 8)
    labels = np.zeros((10, 8, 8), np.uint8)
    labels[2:8, 2:6, 2:6] = 1
    return Scan("ramp", voxels, labels, (spacing_z, 1.0, 1.0), (1, 2))


def test_thick_slices_are_means() -> None:
    thick = sliced(_scan(), 4.0)
    assert thick.voxels_ZYX[:, 0, 0].tolist() == [5, 25, 45, 65, 85]
    assert thick.spacing == (4.0, 1.0, 1.0)
    assert thick.labels_ZYX[:, 3, 3].tolist() == [0, 1, 1, 1, 0]


def test_thick_slices_that_do_not_divide_the_scan_lie_in_its_middle() -> None:
    thick = sliced(_scan(), 6.0)  # 18 of 20 mm
    assert thick.voxels_ZYX[:, 0, 0].tolist() == [15, 45, 75]


def test_thin_slices_lie_between_the_old_ones() -> None:
    thin = sliced(_scan(), 1.0)
    assert thin.voxels_ZYX[3:9, 0, 0].tolist() == pytest.approx([12, 18, 22, 28, 32, 38], abs=1)
    assert len(thin.labels_ZYX) == 20 and (thin.labels_ZYX[4:16, 3, 3] == 1).all()


@pytest.mark.parametrize("hu", [20.0, 80.0])
def test_noise_has_the_asked_standard_deviation(hu: float) -> None:
    flat = Scan("flat", np.zeros((8, 64, 64), np.int16), np.zeros((8, 64, 64), np.uint8),
                (3.0, 0.8, 0.8), ())  # fmt: skip
    worse = noisy(flat, hu).voxels_ZYX
    assert worse.std() == pytest.approx(hu, rel=0.02)
    neighbours = np.corrcoef(worse[:, :, 1:].ravel(), worse[:, :, :-1].ravel())[0, 1]
    slices = np.corrcoef(worse[1:].ravel(), worse[:-1].ravel())[0, 1]
    assert neighbours > 0.3 and abs(slices) < 0.05


def test_missing_parts() -> None:
    scan = _scan()
    assert cropped(scan, top=1 / 3).voxels_ZYX[:, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert cropped(scan, bottom=1 / 3).voxels_ZYX[:, 0, 0].tolist() == [40, 50, 60, 70, 80, 90]
    assert slab(scan, 4.0).voxels_ZYX[:, 0, 0].tolist() == [40, 50]
    assert scaled(scan, 0.5).spacing == (1.0, 0.5, 0.5)


def test_every_degradation_leaves_a_scan() -> None:
    scan = _scan(6.0)
    for name, degrade in degradations().items():
        worse = degrade(scan)
        assert worse.voxels_ZYX.shape == worse.labels_ZYX.shape, name
        assert worse.voxels_ZYX.dtype == np.int16 and (worse.labels_ZYX == 1).any(), name
    assert next(iter(degradations().values()))(scan) is scan


def test_scores_leave_out_what_nobody_shows() -> None:
    scan = _scan()
    assert set(scan.score(scan.labels_ZYX)) == {1}
    wrong = scan.labels_ZYX.copy()
    wrong[0, 0, 0] = 2
    assert scan.score(wrong)[2] == (0.0, 0.0)


def test_table_means_over_scans_and_organs() -> None:
    first, second = {1: (0.9, 1.0), 14: (0.1, 0.0)}, {1: (0.7, 1.0), 2: (0.6, 0.5)}
    assert mean_by_label([first, second], 0) == pytest.approx({1: 0.8, 2: 0.6, 14: 0.1})
    assert organ_mean({1: 0.8, 2: 0.6, 14: 0.1}) == pytest.approx(0.7)
    text = table({"as it is": [first, second]})
    assert text.splitlines()[0] == "| | organs | Liver | RK | Lesion |"
    assert text.splitlines()[2] == "| as it is | 70.0 | 80.0 | 60.0 | 10.0 |"


def test_groups_and_tumors_of_named_scans(
    tmp_path: Path,
    tiny_model: Path,
    phantom: Phantom,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two scans, one of which is segmented perfectly; the other not at all."""
    grid, half = phantom.grid, phantom.labels_ZYX * (phantom.labels_ZYX != TUMOR)
    (tmp_path / "cases.csv").write_text(
        "name,split,image,label,annotated\n"
        f"a,train,{tmp_path}/i.nii.gz,{tmp_path}/a.nii.gz,1 2 3 14\n"
        f"b,validation,{tmp_path}/i.nii.gz,{tmp_path}/b.nii.gz,1 2 3\n"
    )
    header = NiftiHeader.of_grid(grid)
    write_image(tmp_path / "i.nii.gz", phantom.image_ZYX, header)
    write_labels(tmp_path / "a.nii.gz", phantom.labels_ZYX, header)
    write_labels(tmp_path / "b.nii.gz", half, header)
    perfect = {"a": phantom.labels_ZYX, "b": 0 * half}
    for module in (command_line, tumor_module):
        monkeypatch.setattr(module, "segment", lambda _, scan: perfect[scan.name])
    common = ["--data", str(tmp_path), "--model", str(tiny_model), "--device", "cpu", "--out"]
    out = tmp_path / "out.json"
    groups = ["--group", "one=a", "--group", "both=b,a"]
    assert command_line.main(["groups", *common, str(out), *groups]) == 0
    text = capsys.readouterr().out
    assert "| one | 100.0 |" in text and "| both | 50.0 |" in text
    assert command_line.main(["tumor", *common, str(out), "--cases", "a", "b"]) == 0
    ml = np.count_nonzero(phantom.labels_ZYX == TUMOR) * grid.voxel_ml
    text = capsys.readouterr().out
    assert f"| a | {ml:.1f} | {ml:.1f} | 1.00 |" in text and "| b | 0.0 | unknown | - |" in text
    assert command_line.main(["tumor", *common, str(out), "--cases", "c"]) == 1
    assert "has no case c" in capsys.readouterr().err


def test_what_there_is_to_compute_is_known_before_anything_is(
    tmp_path: Path,
    tiny_model: Path,
    phantom: Phantom,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A model without ranges, and a data set of which nothing is held out."""
    (tmp_path / "cases.csv").write_text(
        "name,split,image,label,annotated\n"
        f"a,train,{tmp_path}/i.nii.gz,{tmp_path}/a.nii.gz,1 2 3 14\n"
    )
    header = NiftiHeader.of_grid(phantom.grid)
    write_image(tmp_path / "i.nii.gz", phantom.image_ZYX, header)
    write_labels(tmp_path / "a.nii.gz", phantom.labels_ZYX, header)
    monkeypatch.setattr(command_line, "segment", lambda *_: phantom.labels_ZYX)
    common = [
        "--data",
        str(tmp_path),
        "--model",
        str(tiny_model),
        "--out",
        str(tmp_path / "o.json"),
    ]
    for command in ("precisions", "robustness", "tumor"):
        assert command_line.main([command, *common, "--device", "cpu"]) == 1
        assert "has no validation cases; hold some out" in capsys.readouterr().err
    assert command_line.main(["precisions", *common, "--device", "cpu", "--cases", "a"]) == 0
    text = capsys.readouterr()
    assert "left out int8: model random has no ranges" in text.err
    assert "| OpenVINO on CPU, f32, default | 100.0 |" in text.out
    assert command_line.main(["precisions", *common, "--device", "gpu", "--cases", "a"]) == 1
    assert "gpu" in capsys.readouterr().err
    (tmp_path / "cases.csv").unlink()
    assert command_line.main(["tumor", *common, "--device", "cpu"]) == 1
    assert "cases.csv: cannot be read" in capsys.readouterr().err


def test_what_is_drawn_where_an_organ_was_taken_away(
    phantom: Phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that knows every organ but the spleen's absence, and half a right kidney."""
    scan = Scan("p", phantom.image_ZYX, phantom.labels_ZYX, phantom.grid.spacing, (1, 2, 3, 13))
    right = np.argwhere(phantom.labels_ZYX == 2)
    half = np.count_nonzero(right[:, 0] < np.median(right[:, 0]))

    def drawn(_, seen):
        labels = seen.labels_ZYX.copy()
        labels[phantom.labels_ZYX == 3] = 3
        if not (labels == 2).any():
            z = np.arange(len(labels))[:, None, None]
            labels[(phantom.labels_ZYX == 2) & (z < np.median(right[:, 0]))] = 2
        return labels

    monkeypatch.setattr(absent_module, "segment", drawn)
    results = {r.organ: r for r in absent_module.absent_results(None, [scan])}
    ml = phantom.grid.voxel_ml
    spleen = ml * np.count_nonzero(phantom.labels_ZYX == 3)
    assert results[3].taken_ml == results[3].kept_ml == results[3].drawn_ml == spleen
    assert results[2].drawn_ml == ml * half and results[2].kept_ml == ml * len(right)
    assert results[13].drawn_ml == 0
    text = absent_module.absent_table(results.values())
    assert f"| spleen | 1 | 1 | {spleen:.1f} | {spleen:.1f} | 100% |" in text
    assert "| left kidney | 1 | 0 | 0.0 | 0.0 | 0% |" in text
