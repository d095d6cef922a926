"""Passes over the patient within one series, told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from tests.inference.scan.dicom.series_maker import (
    write_enhanced,
    write_series,
)
from tests.inference.scan.dicom.trees import by, flat, look, reasons, values_of


@pytest.mark.parametrize("name", ["acquisition", "an acquisition for each slice", "time", "kernel"])
def test_passes_over_one_place_are_told_apart(tmp_path: Path, name: str):
    for number, value in ((1, 40), (2, 140)):
        write_series(tmp_path / str(number), flat(value), change=by(name)(number))
    found, left_out = look(tmp_path)
    assert left_out == []
    assert len(found) == 2
    assert sorted(values_of(series) for series in found.values()) == [40, 140]
    for series in found.values():
        assert len(series.headers) == 10


def test_passes_in_one_folder_are_numbered_in_their_order(tmp_path: Path):
    slices = [s for pair in zip(flat(40), flat(140), strict=True) for s in pair]

    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber = 2 + k % 2

    write_series(tmp_path, slices, change=change)
    found, _ = look(tmp_path)
    assert {name: values_of(series) for name, series in found.items()} == {
        "3_1_1": 40,
        "3_1_2": 140,
    }


def test_passes_whose_slices_lie_between_each_other(tmp_path: Path):
    """Half a step apart: neither of them lacks a slice, and together they would look like one."""
    one, two = flat(40), flat(140)
    two = [replace(s, position=s.position + np.array([0, 0, 3.0])) for s in two]
    write_series(tmp_path / "a", one, change=by("acquisition")(1))
    write_series(tmp_path / "b", two, change=by("acquisition")(2))
    found, _ = look(tmp_path)
    assert sorted(values_of(series) for series in found.values()) == [40, 140]


def test_acquisitions_one_after_another_are_one_scan(tmp_path: Path):
    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber = 1 + k // 4
        ds.AcquisitionTime = f"1000{k:02}"

    write_series(tmp_path, flat(40), change=change)
    (series,) = look(tmp_path)[0].values()
    assert len(series.headers) == 10


def test_slices_of_bolus_tracking_are_left_out(tmp_path: Path):
    slices = flat(40)
    tracked = [replace(slices[5], hu=slices[5].hu + n) for n in (1, 2)]

    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber = 1 if k < 2 else 2

    write_series(tmp_path, [*tracked, *slices], change=change)
    found, left_out = look(tmp_path)
    assert [values_of(series) for series in found.values()] == [40]
    assert reasons(left_out) == {"fewer than 8 slices (1)": 2}


def test_frames_of_two_stacks_in_one_file(tmp_path: Path):
    def change(ds: Dataset) -> None:
        for k, groups in enumerate(ds.PerFrameFunctionalGroupsSequence):
            groups.FrameContentSequence[0].StackID = str(1 + k % 2)

    slices = [s for pair in zip(flat(40), flat(140), strict=True) for s in pair]
    write_enhanced(tmp_path / "ct.dcm", slices, change=change)
    found, _ = look(tmp_path)
    assert {name: values_of(series) for name, series in found.items()} == {
        "3_1_1": 40,
        "3_1_2": 140,
    }
