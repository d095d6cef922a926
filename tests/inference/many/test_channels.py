"""Numbered files: the channels of one patient, or patients?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.many.cases import find_cases
from tests.inference.many.conftest import warnings_of
from tests.inference.nifti_files import scan_voxels, write_nifti
from tests.inference.text_files import metaimage_bytes, nrrd_bytes, put

# A grid's origin tells whose a scan is.
PLACE, OTHER = (-10.0, -20.0, 30.0), (-10.0, -20.0, 31.0)


def scan_at(path: Path, origin: tuple[float, float, float]) -> None:
    """A small scan whose grid begins there (RAS for .nii.gz, LPS for others)."""
    voxels = scan_voxels()
    x, y, z = origin
    if path.suffix == ".nrrd":
        put(path, nrrd_bytes(voxels, space_origin=f"({x},{y},{z})"))
    elif path.suffix == ".mha":
        put(path, metaimage_bytes(voxels, Offset=f"{x} {y} {z}"))
    else:
        srow = (1, 0, 0, x, 0, 2, 0, y, 0, 0, 5, z)
        write_nifti(path, voxels, srow=srow, qform_code=0)


@pytest.mark.parametrize(
    ("names", "cases"),
    [
        (("X_0000", "X_0001"), ["X"]),
        (("X_0000", "X_0001", "X_0002", "Y_0000", "z"), ["X", "Y", "z"]),
        (("p_1_0000", "p_1_0001", "p_2_0000", "p_2_0001"), ["p_1", "p_2"]),
        # No channels: without the first, with a gap, or more than an image has.
        (("X_0001",), ["X_0001"]),
        (("X_0001", "X_0002"), ["X_0001", "X_0002"]),
        (("X_0000", "X_0007"), ["X", "X_0007"]),
        (("X_0001_0000", "X_0002_0000"), ["X_0001", "X_0002"]),
        (tuple(f"img_{n:04}" for n in range(5)),
         ["img", "img_0001", "img_0002", "img_0003", "img_0004"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_channels_of_nnunet_are_no_patients(
    folders: tuple[Path, Path], names: tuple[str, ...], cases: list[str], suffix: str
):
    source, target = folders
    for name in names:
        scan_at(source / f"{name}{suffix}", PLACE)
    assert [case.name for case in find_cases(source, target).cases] == cases
    left = len(names) - len(cases)
    said = warnings_of(source, target)
    assert len(said) == (left > 0)
    if left:
        assert f"{left} further nnU-Net channel" in said[0]
        assert said[0].endswith("left out; rename what is a patient of its own")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_patients_that_are_numbered_like_channels_are_not_lost(
    folders: tuple[Path, Path], count: int, suffix: str
):
    """Each is on a grid of its own; one that differs is enough."""
    source, target = folders
    names = [f"img_{number:04}" for number in range(count)]
    for number, name in enumerate(names):
        scan_at(source / f"{name}{suffix}", OTHER if number == count - 1 else PLACE)
    assert warnings_of(source, target) == []
    assert [case.name for case in find_cases(source, target).cases] == ["img", *names[1:]]


def test_each_group_is_channels_or_patients_for_itself(folders: tuple[Path, Path]):
    source, target = folders
    for name in ("a_0000", "a_0001", "b_0000"):
        scan_at(source / f"{name}.nii.gz", PLACE)
    scan_at(source / "b_0001.nii.gz", OTHER)
    assert [case.name for case in find_cases(source, target).cases] == ["a", "b", "b_0001"]


@pytest.mark.parametrize("odd", ["unreadable", "no geometry"])
def test_where_no_grid_tells_they_are_patients(folders: tuple[Path, Path], odd: str):
    """So that none is lost: an unreadable one gets its line."""
    source, target = folders
    eye = {"qform_code": 0, "srow": (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)}
    for name in ("img_0000.nii.gz", "img_0001.nii.gz"):
        write_nifti(source / name, scan_voxels(), (1.0, 1.0, 1.0), **eye)
    if odd == "unreadable":
        scan_at(source / "img_0000.nii.gz", PLACE)
        (source / "img_0001.nii.gz").write_bytes(b"\x1f\x8b no gzip")
    assert [case.name for case in find_cases(source, target).cases] == ["img", "img_0001"]


def test_the_challenge_s_names_need_no_look_into_a_file(folders: tuple[Path, Path]):
    source, target = folders
    names = [f"FLARE23Ts_{number:04}_0000.nii.gz" for number in range(3)]
    for name in names:
        os.mkfifo(source / name)  # which cannot be read without being waited for
    assert [case.name for case in find_cases(source, target).cases] == [n[:14] for n in names]
