"""The fingerprint against numpy's percentiles and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training.dataset_files import save
from training.data.fingerprint import hounsfield_histogram, intensity_of, main


def test_percentiles_and_moments_match_numpy() -> None:
    values = np.random.default_rng(0).normal(80, 60, 200_001).round()
    intensity = intensity_of(hounsfield_histogram(values))
    lower, upper = np.percentile(values, (0.5, 99.5), method="inverted_cdf")
    assert (intensity.lower, intensity.upper) == (lower, upper)
    clipped = np.clip(values, lower, upper)
    assert intensity.mean == pytest.approx(clipped.mean())
    assert intensity.std == pytest.approx(clipped.std())


def test_values_beyond_the_range_count_at_its_ends() -> None:
    histogram = hounsfield_histogram(np.array([-3000.0, 9000.0, 9000.0]))
    assert histogram[0] == 1 and histogram[-1] == 2


def write_dataset(root: Path) -> None:
    """Two training scans (one of them of clipped HU) and one held-out scan."""
    rows = ["name,patient,split,image,label,annotated,agreement"]
    for name, split, low in (
        ("a", "train", 0),
        ("clipped_b", "train", 500),
        ("c", "validation", 900),
    ):
        image = np.full((10, 10, 10), -1000, np.int16)
        image[2:8] = low + np.arange(600).reshape(6, 10, 10) % 100
        label = np.zeros((10, 10, 10), np.uint8)
        label[2:8] = 1
        files = (save(root / f"{name}_0000.nii.gz", image), save(root / f"{name}.nii.gz", label))
        rows.append(f"{name},{name},{split},{files[0]},{files[1]},1,1.0")
    (root / "cases.csv").write_text("\n".join(rows) + "\n")


def test_command_uses_the_foreground_of_training_cases_that_are_not_excluded(
    tmp_path: Path,
) -> None:
    write_dataset(tmp_path)
    out = tmp_path / "plans" / "fingerprint.json"
    status = main(
        ["--data", str(tmp_path), "--out", str(out), "--exclude", "clipped_*", "--workers", "1"]
    )
    assert status == 0
    plan = json.loads(out.read_text())
    assert plan["cases"] == ["a"]
    assert plan["intensity_hu"]["lower"] == 0
    assert plan["intensity_hu"]["upper"] == 99
    assert plan["intensity_hu"]["mean"] == pytest.approx(49.5)
    assert plan["spacing_mm_ZYX"]["50"] == [2, 2, 2]


def test_cases_weigh_the_same_whatever_their_size(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    main(["--data", str(tmp_path), "--out", str(tmp_path / "f.json"), "--workers", "1"])
    plan = json.loads((tmp_path / "f.json").read_text())
    assert plan["intensity_hu"]["mean"] == pytest.approx(299.5, abs=0.1)


def test_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(tmp_path), "--out", str(tmp_path / "f.json")]
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path / 'cases.csv'}: cannot be read (No such file")
    assert error.endswith("run python -m training fuse first\n") and "Errno" not in error
    (tmp_path / "cases.csv").write_text("name,image\na,b\n")
    assert main(words) == 1
    assert "has no column split, label" in capsys.readouterr().err
    (tmp_path / "cases.csv").write_text("name,split,image,label\na,train\n")
    assert main(words) == 1
    assert "row 1 has too few cells" in capsys.readouterr().err
