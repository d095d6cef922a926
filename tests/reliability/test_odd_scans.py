"""Odd scans that are accepted: a warning that names the file, and the labels they should get."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest

from inference.scan.contents import check_contents
from inference.scan.volume import read_volume
from inference.segmenter import Segmenter
from tests.inference.nifti_files import nifti_bytes, write_nifti
from tests.odd_kinds import HU, ODD, SPACING, SROW, Odd


@pytest.fixture(scope="module")
def segmenter(tiny_model: Path) -> Segmenter:
    return Segmenter.load(tiny_model, "cpu")


@pytest.fixture(scope="module")
def usual(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    path = write_nifti(tmp_path_factory.mktemp("usual") / "a.nii", HU, SPACING, srow=SROW)
    result = segmenter.segment(path)
    assert result.warnings == ()
    assert len(np.unique(result.labels)) > 5
    return result.labels


def write(folder: Path, name: str, odd: Odd) -> Path:
    data = nifti_bytes(odd.voxels(HU), odd.spacing, **odd.fields)
    path = folder / f"a{odd.suffix}"
    zipped = odd.suffix == ".nii.gz" or name.startswith("gzip")
    path.write_bytes(gzip.compress(data, 1) if zipped else data)
    return path


@pytest.mark.parametrize("name", ODD)
def test_odd_scan(tmp_path: Path, segmenter: Segmenter, usual: np.ndarray, name: str):
    odd = ODD[name]
    result = segmenter.segment(write(tmp_path, name, odd))
    if odd.words:
        assert any(odd.words in warning for warning in result.warnings), result.warnings
    else:
        assert result.warnings == ()
    assert np.array_equal(result.labels, usual) == odd.same


OTHER_SCALES = (
    ("", lambda hu: hu),
    ("HU times 10", lambda hu: hu * 10),
    ("1024 below HU", lambda hu: hu - 1024),
    ("offset of 1024", lambda hu: hu + 1024),
    ("grey levels or normalised", lambda hu: np.clip(hu, -1000, 1000) / 1000),
    ("grey levels or normalised", lambda hu: (hu - 90) / 140),
    ("grey levels or normalised", lambda hu: np.clip((hu - 40) * 127 // 200, -128, 127)),
)


@pytest.mark.slow
def test_real_scans_in_other_scales_are_warned_of_and_no_others(shared_data: Path):
    scans = sorted(shared_data.rglob("*_0000.nii.gz"))
    assert len(scans) >= 5
    for path in scans:
        hu = read_volume(path).voxels_ZYX[:60].astype(np.float32)
        for words, scaled in OTHER_SCALES:
            found = [note for note in check_contents(scaled(hu)) if "slices hold" not in note]
            assert len(found) == bool(words), (path, words, found)
            assert all(words in note for note in found), (path, words, found)


@pytest.mark.slow
def test_real_scans_times_two_are_told_by_their_air(shared_data: Path):
    """Padding of any kind is no air, and neither noise nor a small field of view makes it so."""
    told = 0
    for path in sorted(shared_data.rglob("*_0000.nii.gz")):
        hu = read_volume(path).voxels_ZYX[::2, ::4, ::4].astype(np.float32)
        noise = np.random.default_rng(0).normal(0, 3, hu.shape).round()
        y, x = np.ogrid[-1 : 1 : hu.shape[1] * 1j, -1 : 1 : hu.shape[2] * 1j]
        for radius, value in itertools.product((0.5, 0.9), (-2000, -2048, -3024)):
            padded = np.where(np.hypot(y, x) > radius, np.float32(value), hu)
            for odd in (padded, padded + noise, (padded[:, 1:] + padded[:, :-1]) / 2):
                assert not any("times 2" in note for note in check_contents(odd)), (path, value)
        notes = " ".join(check_contents(hu * 2))
        assert ("HU times 2" in notes) == bool(hu.min() < -900), (path, notes)
        told += "HU times 2" in notes
    assert told >= 5


def test_the_command_line_passes_the_warning_on(tmp_path: Path, tiny_model: Path, capfd):
    from inference.cli.main import main

    path = write(tmp_path, "", ODD["offset of 1024"])
    words = ["-i", path, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model]
    assert main([str(word) for word in words]) == 0
    err = capfd.readouterr().err.splitlines()
    assert err[0].startswith(f"warning: {path}: ")
    assert "1024" in err[0]
    # Behind it: a model of random weights may be doubted, and the summary.
    assert err[-1].startswith("1 done")
    assert all(line.startswith(f"warning: {path}: ") for line in err[:-1])


def test_a_usual_scan_gets_no_warning(shared_data: Path):
    """That the warnings mean something."""
    for path in sorted((shared_data / "ct").glob("*_0000.nii.gz")):
        assert read_volume(path).warnings == (), path
