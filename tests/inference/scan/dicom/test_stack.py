"""Slices in order: missing, twice, uneven, shifted; right, or refused with their positions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from inference.errors import ScanError
from inference.scan.volume import Volume, read_volume
from tests.inference.scan.dicom.series_maker import Geometry, Slice, make_slices, write_series
from tests.inference.scan.dicom.test_places import check_probes

EVEN = tuple(4.0 * k for k in range(24))
GEOMETRY = Geometry(along=EVEN)
FIRST_Z = -700.0 - 46.0  # the stack's centre less half its extent


def read(folder: Path, along: tuple[float, ...], **more: object) -> tuple[Volume, list[Slice]]:
    slices = make_slices(replace(GEOMETRY, along=along))
    write_series(folder, slices, **more)  # type: ignore[arg-type]
    return read_volume(folder), slices


def without(*left_out: int) -> tuple[float, ...]:
    return tuple(s for k, s in enumerate(EVEN) if k not in left_out)


@pytest.mark.parametrize("gap", [(18,), (18, 19), (3, 18, 19, 21)])
def test_missing_slices_are_interpolated(tmp_path: Path, gap: tuple[int, ...]):
    volume, slices = read(tmp_path, without(*gap))
    assert volume.grid.shape[0] == 24
    assert volume.grid.spacing[0] == pytest.approx(4.0)
    check_probes(volume)
    (note,) = volume.warnings
    assert "between z = -678.00 and " in note
    assert note.count("missing between") == {1: 1, 2: 1, 4: 3}[len(gap)]
    kept = [k for k in range(24) if k not in gap]
    np.testing.assert_array_equal(volume.voxels_ZYX[kept], [s.hu for s in slices])
    after = next(k for k in kept if k > 18)
    low, high = volume.voxels_ZYX[17].astype(float), volume.voxels_ZYX[after].astype(float)
    expected = low + (high - low) / (after - 17)
    assert np.abs(volume.voxels_ZYX[18] - expected).max() <= 0.5
    source = volume.source
    assert source is not None and source.exact
    assert source.slices == tuple(kept)


@pytest.mark.parametrize("count", [3, 10])
def test_more_missing_slices_are_refused_with_their_place(tmp_path: Path, count: int):
    with pytest.raises(ScanError) as caught:
        read(tmp_path, without(*range(7, 7 + count)))
    after = FIRST_Z + 4 * (7 + count)
    words = (
        f"lacks slices: {count} missing between z = -722.00 and {after:.2f} mm; send the missing"
    )
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_lone_slice_between_two_gaps_is_no_step_of_its_own(tmp_path: Path):
    with pytest.raises(ScanError, match=r"3 missing between .*, 3 missing between"):
        read(tmp_path, without(5, 6, 7, 9, 10, 11))


def test_missing_at_the_ends_is_a_shorter_scan(tmp_path: Path):
    volume, slices = read(tmp_path, EVEN[2:-3])
    assert volume.grid.shape[0] == 19
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert volume.warnings == ()


def test_gaps_are_named_along_the_axis_that_they_lie_on(tmp_path: Path):
    slices = make_slices(replace(GEOMETRY, orientation="sagittal", along=without(9, 10, 11)))
    write_series(tmp_path, slices)
    with pytest.raises(ScanError, match=r"3 missing between x = "):
        read_volume(tmp_path)


def test_rounded_positions_are_even(tmp_path: Path):
    """0.625 mm written as 0.6 and 0.7."""
    along = tuple(round(0.625 * k, 1) for k in range(48))
    volume, slices = read(tmp_path, along)
    assert volume.source is not None and volume.source.exact
    assert volume.grid.spacing[0] == pytest.approx(0.625, abs=0.002)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert volume.warnings == ()


def test_two_zones_of_steps(tmp_path: Path):
    along = tuple(5.0 * k for k in range(8)) + tuple(35.0 + 1.0 * k for k in range(1, 41))
    volume, slices = read(tmp_path, along)
    check_probes(volume)
    assert "the slices lie 1.00 to 5.00 mm apart" in volume.warnings[0]
    assert volume.grid.shape[0] <= 2 * len(slices)
    assert volume.source is not None
    assert len(volume.source.frames) == len(slices)


def test_uneven_steps_take_the_nearest_slice_back(tmp_path: Path):
    along = (0.0, 3.0, 7.0, 10.0, 15.0, 18.0, 22.0, 26.0, 29.0, 34.0)
    volume, _ = read(tmp_path, along)
    source = volume.source
    assert source is not None and not source.exact
    step = volume.grid.spacing[0]
    labels = np.zeros(volume.grid.shape, np.uint8)
    labels[:] = np.arange(len(labels))[:, None, None]
    back = source.labels_on_frames(labels)[:, 0, 0]
    assert (np.abs(back * step - np.array(along)) <= step / 2 + 1e-6).all()


@pytest.mark.parametrize(("count", "words"), [(1, "1 slice is"), (6, "6 slices are")])
def test_equal_duplicates_are_dropped(tmp_path: Path, count: int, words: str):
    slices = make_slices(GEOMETRY)
    write_series(tmp_path, slices)
    write_series(tmp_path / "again", slices[3 : 3 + count])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert volume.warnings == (f"{words} there twice and equal: one of each is taken",)
    assert volume.source is not None
    assert {frame.file.folder for frame in volume.source.frames} == {tmp_path}


def test_unequal_duplicates_are_refused_with_place_and_files(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    write_series(tmp_path, slices)
    other = replace(slices[5], hu=slices[5].hu + (slices[5].hu == 500))
    other.hu[20, 20] += 1
    write_series(tmp_path / "again", [other])
    with pytest.raises(ScanError) as caught:
        read_volume(tmp_path)
    assert "different slices at one place" in str(caught.value)
    assert "-726) mm: IM0006 and IM0001; give each pass" in str(caught.value)


def test_slices_side_by_side_are_refused(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    moved = replace(slices[5], position=slices[5].position + slices[5].row * 40)
    write_series(tmp_path, [*slices, moved])
    with pytest.raises(ScanError, match=r"slices side by side \(IM00.. and IM00..\)"):
        read_volume(tmp_path)


def test_slices_that_jump_in_their_plane(tmp_path: Path):
    """A new centre of reconstruction half way: put in line for the network, and back exactly."""
    slices = make_slices(GEOMETRY)
    places = [
        replace(s, position=s.position + (k >= 12) * (2 * 2.4 * s.row + 3 * 2.6 * s.column))
        for k, s in enumerate(GEOMETRY.places())
    ]
    from tests.inference.scan.dicom.series_maker import scene

    slices = [replace(p, hu=scene(*np.moveaxis(p.points, 2, 0))) for p in places]
    write_series(tmp_path, slices)
    volume = read_volume(tmp_path)
    check_probes(volume)
    assert "shifted against each other by up to" in volume.warnings[0]
    source = volume.source
    assert source is not None and source.exact  # by whole pixels
    assert set(source.offsets) == {(0, 0), (3, 2)}


@pytest.mark.parametrize("numbers", ["none", "all the same", "backwards", "random"])
def test_instance_numbers_decide_nothing(tmp_path: Path, numbers: str):
    order = np.random.default_rng(1).permutation(24)

    def change(ds: Dataset, k: int) -> None:
        if numbers == "none":
            del ds.InstanceNumber
            return
        known = {"all the same": 1, "backwards": 24 - k, "random": int(order[k])}
        ds.InstanceNumber = known[numbers]
        ds.SliceLocation = str(order[k])

    volume, slices = read(tmp_path, EVEN, change=change)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert volume.warnings == ()


def test_pixel_spacing_that_differs_by_rounding(tmp_path: Path):
    def change(ds: Dataset, k: int) -> None:
        ds.PixelSpacing = ["2.6", "2.4"] if k % 2 else ["2.600001", "2.399999"]
        near = ["0.999999", "0.0005", "0", "-0.0005", "0.999999", "0"]
        ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"] if k % 3 else near

    volume, slices = read(tmp_path, EVEN, change=change)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])


@pytest.mark.parametrize(
    ("words", "orientation"),
    [
        ("whose vectors have not length 1", ["0", "0", "0", "0", "1", "0"]),
        ("not at right angles", ["1", "0", "0", "0.7", "0.7", "0"]),
    ],
)
def test_orientations_that_are_none(tmp_path: Path, words: str, orientation: list[str]):
    def change(ds: Dataset, k: int) -> None:
        ds.ImageOrientationPatient = orientation

    with pytest.raises(ScanError, match=words):
        read(tmp_path, EVEN, change=change)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("has a spacing of", {"PixelSpacing": ["0", "1"]}),
        ("has a spacing of", {"PixelSpacing": ["-2", "1"]}),
        ("claims a field of view", {"PixelSpacing": ["49", "49"]}),
    ],
)
def test_grids_that_no_ct_has(tmp_path: Path, words: str, changes: dict[str, list[str]]):
    slices = make_slices(replace(GEOMETRY, shape=(64, 64)))
    write_series(tmp_path, slices, change=lambda ds, k: ds.update(changes))
    with pytest.raises(ScanError, match=words):
        read_volume(tmp_path)
