"""Many scans in one run: the contract on files, failures and what a person sees."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.cli.main import main
from inference.scan.volume import read_labels
from inference.segmenter import Segmenter
from inference.types import Image
from tests.inference.scan_folders import NAMES, Run, contents, spoil


def test_a_folder(
    run: Run,
    scans: Path,
    tmp_path: Path,
    tiny_model: Path,
    capfd: pytest.CaptureFixture[str],
):
    target = tmp_path / "deep" / "out"
    assert run(scans, target) == 0
    out, err = capfd.readouterr()
    assert out == ""
    # No terminal: whole lines, nothing rewritten. A network of random weights is doubted.
    *doubts, last = err.splitlines(keepends=True)
    assert last == f"3 done, 0 failed: {target}\n"
    assert all(line.startswith(f"warning: {scans}") for line in doubts)
    assert sorted(contents(target)) == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    segmenter = Segmenter.load(tiny_model, "cpu")
    for name in NAMES:
        scan = sitk.ReadImage(str(scans / f"{name}_0000.nii.gz"))
        written = sitk.ReadImage(str(target / f"{name}.nii.gz"))
        for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(written, what)() == getattr(scan, what)()
        assert written.GetPixelID() == sitk.sitkUInt8
        expected = segmenter.segment(scans / f"{name}_0000.nii.gz").labels
        np.testing.assert_array_equal(sitk.GetArrayFromImage(written), expected)


def test_one_scan_into_a_folder_or_under_a_name(run: Run, scans: Path, tmp_path: Path, clean: dict):
    target = tmp_path / "out"
    assert run(scans / "b_0000.nii.gz", target) == 0
    assert contents(target) == {"b.nii.gz": clean["b.nii.gz"]}
    assert run(scans / "b_0000.nii.gz", target / "mine.nii.gz") == 0
    assert contents(target)["mine.nii.gz"] == clean["b.nii.gz"]


def test_options_reach_the_model(run: Run, scans: Path, tmp_path: Path, clean: dict):
    for number, options in enumerate((("--decode", "nearest"), ("--step", "0.1"))):
        target = tmp_path / f"out{number}"
        assert run(scans, target, *options) == 0
        assert contents(target).keys() == clean.keys()
    labels = read_labels(tmp_path / "out0" / "a.nii.gz")[0]
    assert (labels != read_labels(tmp_path / "clean" / "a.nii.gz")[0]).any()


def test_bad_scans_do_not_harm_the_others(
    run: Run, scans: Path, tmp_path: Path, clean: dict, capfd: pytest.CaptureFixture[str]
):
    spoil(scans)
    capfd.readouterr()
    assert run(scans, tmp_path / "out") == 1
    assert contents(tmp_path / "out") == clean
    out, err = capfd.readouterr()
    assert out == ""
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 3
    for name in ("Abad_0000.nii.gz", "aa.nii.gz", "d.nii.gz and d_0000.nii.gz"):
        assert any(f"{scans / name}: " in line for line in errors)
    assert err.splitlines()[-1] == f"3 done, 3 failed: {tmp_path / 'out'}"


def test_errors_are_shown_even_when_quiet(
    run: Run, scans: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    spoil(scans)
    assert run(scans, tmp_path / "out", "--quiet") == 1
    err = capfd.readouterr().err.splitlines()
    assert len(err) == 3
    assert all(line.startswith("error: ") for line in err)


def test_skip_existing(
    run: Run, scans: Path, tmp_path: Path, clean: dict, capfd: pytest.CaptureFixture[str]
):
    target = tmp_path / "out"
    target.mkdir()
    (target / "b.nii.gz").write_bytes(b"kept")
    capfd.readouterr()
    assert run(scans, target, "--skip-existing") == 0
    assert contents(target) == {**clean, "b.nii.gz": b"kept"}
    assert "2 done, 1 skipped, 0 failed" in capfd.readouterr().err
    (target / "b.nii.gz").unlink()  # a link to labels is skipped, one to nothing replaced
    (tmp_path / "kept").write_bytes(b"kept")
    (target / "a.nii.gz").unlink()
    (target / "a.nii.gz").symlink_to(tmp_path / "kept")
    (target / "b.nii.gz").symlink_to(tmp_path / "nothing")
    assert run(scans, target, "--skip-existing") == 0
    assert contents(target) == {**clean, "a.nii.gz": b"kept"}
    assert not (tmp_path / "nothing").exists()
    assert run(scans, target) == 0  # without it, all is made anew
    assert contents(target) == clean


@pytest.mark.parametrize("make", ["empty", "text only", "duplicates only", "link to nothing"])
def test_nothing_to_do_is_a_failure(
    run: Run, tmp_path: Path, make: str, capfd: pytest.CaptureFixture[str]
):
    source = tmp_path / "in"
    source.mkdir()
    if make == "text only":
        (source / "notes.txt").write_text("none")
    elif make == "duplicates only":
        (source / "a.nii.gz").touch()
        (source / "a_0000.nii.gz").touch()
    elif make == "link to nothing":
        (source / "x.nii.gz").symlink_to(tmp_path / "x.nii.gz")
    assert run(source, tmp_path / "out") == 1
    assert not (tmp_path / "out").exists()
    err = capfd.readouterr().err
    assert err.count("error: ") == 1
    assert str(source) in err


def test_a_scan_is_never_overwritten(
    run: Run, scans: Path, clean: dict, capfd: pytest.CaptureFixture[str]
):
    (scans / "c_0000.nii.gz").rename(scans / "c.nii.gz")
    scan = (scans / "c.nii.gz").read_bytes()
    assert run(scans / "c.nii.gz", scans) == 1
    assert (scans / "c.nii.gz").read_bytes() == scan
    assert "would be overwritten" in capfd.readouterr().err
    assert run(scans / "a_0000.nii.gz", scans) == 0
    assert (scans / "a.nii.gz").read_bytes() == clean["a.nii.gz"]


def test_an_output_folder_that_cannot_be_made(
    run: Run, scans: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_bytes(b"")
    assert run(scans, tmp_path / "file" / "out") == 1
    err = capfd.readouterr().err
    assert err.count("cannot be made") == 3
    assert str(tmp_path / "file" / "out") in err


def test_a_failing_write_is_one_cases_failure(
    run: Run,
    scans: Path,
    tmp_path: Path,
    clean: dict,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "b.nii.gz":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert run(scans, tmp_path / "out") == 1
    expected = {name: data for name, data in clean.items() if name != "b.nii.gz"}
    assert contents(tmp_path / "out") == expected
    err = capfd.readouterr().err
    assert "b.nii.gz: cannot be written (No space left on device)" in err


@pytest.mark.parametrize("stage", ["doubts", "write_case"])
def test_a_lack_of_memory_behind_the_network_is_named(
    run: Run, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd, stage: str
):
    from inference.many import batch
    from inference.segmentation import Segmentation

    def lacks(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Segmentation if stage == "doubts" else batch, stage, lacks)
    assert run(scans, tmp_path / "out") == 1
    err = capfd.readouterr().err
    assert err.count("there is not enough memory; give more, or crop the scan") == len(NAMES)
    assert "internal error" not in err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "has not enough memory for the scan"),
        (RuntimeError("two\nlines"), "internal error (RuntimeError: two lines)"),
        (ZeroDivisionError("x"), "internal error (ZeroDivisionError: x)"),
    ],
)
def test_what_goes_wrong_inside_names_the_scan_in_one_line(
    run: Run,
    scans: Path,
    tmp_path: Path,
    clean: dict,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    words: str,
):
    from inference.engines.numpy_arrays import NumpyArrays

    resample = NumpyArrays.network_image

    def second_fails(self: NumpyArrays, image_ZYX: Image, *args: object) -> object:
        if len(image_ZYX) == 11:  # b's slices
            raise error
        return resample(self, image_ZYX, *args)

    monkeypatch.setattr(NumpyArrays, "network_image", second_fails)
    capfd.readouterr()
    assert run(scans, tmp_path / "out") == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    assert line.startswith(f"error: {scans / 'b_0000.nii.gz'}: ")
    assert words in line
    assert contents(tmp_path / "out") == {n: d for n, d in clean.items() if n != "b.nii.gz"}


@pytest.mark.parametrize("damage", ["weights", "description"])
def test_a_damaged_model_is_one_line(
    make_model: Callable[..., Path],
    scans: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    damage: str,
):
    model = make_model()
    if damage == "weights":
        (model / "model.safetensors").write_bytes(b"other")
    else:
        (model / "model.json").write_text("{}")
    words = ["-i", str(scans), "-o", str(tmp_path / "out"), "--model", str(model)]
    assert main(words) == 1
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
