"""Labels as programs store them: bytes, floats, and integers that a header scales."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import HeaderError, ScanError
from inference.scan.label_values import label_values
from inference.scan.volume import read_label_map, read_labels

LABELS = (np.arange(30, dtype=np.uint8) % 15).reshape(3, 2, 5)


def test_bytes_come_back_as_they_are_without_a_copy() -> None:
    labels, rounded = label_values(LABELS)
    assert labels is LABELS
    assert rounded is None


@pytest.mark.parametrize("kind", ["i1", "<i2", ">i2", "u4", "i8", "f4", ">f8"])
def test_whole_numbers_of_any_type(kind: str) -> None:
    labels, rounded = label_values(LABELS.astype(kind))
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, LABELS)
    assert rounded is None


@given(
    kind=st.sampled_from(("u1", "i2", "u2", "i4")),
    highest=st.integers(1, 14),
    lowest=st.integers(-3, 0),
)
def test_labels_spread_over_an_integer_types_range_come_back(
    kind: str, highest: int, lowest: int
) -> None:
    """As nibabel stores a float array: from the type's lowest value to its highest."""
    limits = np.iinfo(kind)
    slope = float(np.float32((highest - lowest) / (limits.max - limits.min)))
    intercept = float(np.float32(lowest - limits.min * slope))
    labels = np.arange(highest + 1)
    stored = np.rint((labels - intercept) / slope).clip(limits.min, limits.max).astype(kind)
    found, rounded = label_values(stored, slope, intercept)
    assert found.tolist() == labels.tolist()
    exact = (stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)) == labels
    assert (rounded is None) == bool(exact.all())


def test_a_file_that_nibabel_has_scaled_by_itself(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(LABELS.T.astype(np.float64), np.diag((1, 1, 2, 1)))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii.gz")
    assert nibabel.load(tmp_path / "a.nii.gz").dataobj.slope != 1
    found = read_label_map(tmp_path / "a.nii.gz")
    assert np.array_equal(found.labels_ZYX, LABELS)
    (note,) = found.warnings
    assert note.startswith("the labels are stored with a slope of 0.000213")
    assert read_labels(tmp_path / "a.nii.gz")[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("stored", "scale", "cause"),
    [
        (np.array([0.0, np.nan]), (), "no labels (NaN or infinite)"),
        (np.array([0.0, np.inf], np.float32), (), "no labels (NaN or infinite)"),
        (np.array([1, 2]), (np.nan, 0.0), "no labels"),
        (np.array([0.0, 0.5]), (), "no labels (0.5)"),
        (np.array([0.0, 2.02]), (), "no labels (2.02)"),
        (np.array([0, 256]), (), "no labels 0..255 (256)"),
        (np.array([-1, 3]), (), "no labels 0..255 (-1)"),
        (np.array([0, 255], np.uint8), (-1.0, 0.0), "no labels 0..255 (-255)"),
        (np.array([0, 128, 255], np.uint8), (1 / 255, 0.0), "its header scales them by 0.0039"),
        (np.array([0, 1j]), (), "voxels of type complex128"),
    ],
)
def test_what_is_no_label(stored: np.ndarray, scale: tuple[float, ...], cause: str) -> None:
    with pytest.raises(HeaderError) as caught:
        label_values(stored, *scale)
    assert cause in str(caught.value)


def test_a_nan_is_named_and_nothing_else_is_said(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    labels = LABELS.T.astype(np.float32)
    labels[0, 0, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "a.nii.gz")
    recwarn.clear()
    with pytest.raises(ScanError, match=r"a\.nii\.gz: holds .*NaN.*; set those voxels to 0"):
        read_labels(tmp_path / "a.nii.gz")
    assert list(recwarn) == []


@pytest.mark.parametrize(("value", "whole"), [(2.99995, 3), (3.009, 3), (0.995, 1), (-0.004, 0)])
def test_floats_within_a_hundredth_are_rounded_and_that_is_said(value: float, whole: int) -> None:
    labels, rounded = label_values(np.array([0, value]))
    assert labels.tolist() == [0, whole]
    assert rounded is not None and "no whole numbers" in rounded and f"{value:g}" in rounded
