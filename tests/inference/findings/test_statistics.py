"""Measures of label maps, against a hand's computation and SimpleITK's."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.findings.hounsfield import hounsfield_by_label
from inference.findings.presence import Absent, CutOff, Present
from inference.findings.statistics import Statistics, statistics
from inference.grid import Direction, Grid, Orientation
from inference.labels import NAMES, TUMOR
from inference.scan.volume import read_labels, read_volume
from phantom import make_phantom
from tests.inference.orientations import AXIS_ALIGNED, oblique

LIVER, SPLEEN, LEFT_KIDNEY = 1, 3, 13


def test_a_box_that_a_hand_can_compute():
    """10 x 4 x 3 voxels of 2 x 3 x 5 mm, half of them of 40 HU, half of 60."""
    grid = Grid((12, 10, 20), (5.0, 3.0, 2.0), (100.0, -50.0, 7.0))
    labels, image = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.int16)
    labels[2:5, 1:5, 6:16] = LIVER
    image[2:5, 1:5, 6:11], image[2:5, 1:5, 11:16] = 40, 60
    found = statistics(labels, image, grid)
    liver = found.regions[LIVER]
    assert liver is not None
    assert found.states[LIVER] == Present()
    assert (liver.voxels, liver.pieces) == (120, 1)
    assert liver.ml == pytest.approx(3.6)
    assert liver.largest_ml == liver.ml
    assert (liver.hu.mean, liver.hu.sd) == (50, 10)
    assert (liver.hu.p5, liver.hu.p50, liver.hu.p95) == (40, 50, 60)
    assert liver.low_mm == (100 + 11, -50 + 1.5, 7 + 7.5)
    assert liver.high_mm == (100 + 31, -50 + 13.5, 7 + 22.5)
    assert liver.centroid_mm == (100 + 21, -50 + 7.5, 7 + 15)
    assert found.states[SPLEEN] == Absent()
    assert found.regions[SPLEEN] is None
    assert found.lesions == ()


@pytest.mark.parametrize(
    ("box", "face"),
    [
        (np.s_[0:3, 3:5, 3:5], "inferior"),
        (np.s_[6:8, 3:5, 3:5], "superior"),
        (np.s_[3:5, 0:2, 3:5], "anterior"),
        (np.s_[3:5, 7:8, 3:5], "posterior"),
        (np.s_[3:5, 3:5, 0:4], "right"),
        (np.s_[3:5, 3:5, 4:8], "left"),
    ],
)
def test_a_cut_organ_has_its_face_and_the_volume_that_is_seen(box, face: str):
    grid = Grid((8, 8, 8), (10.0, 10.0, 10.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[box] = SPLEEN
    found = statistics(labels, np.zeros(grid.shape, np.int16), grid)
    assert found.states[SPLEEN] == CutOff((face,))
    region = found.regions[SPLEEN]
    assert region is not None
    assert region.ml == labels[box].size


def test_nothing_but_background():
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0))
    found = statistics(np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.int16), grid)
    assert set(found.states.values()) == {Absent()}
    assert set(found.regions.values()) == {None}


def test_pieces_touch_at_a_corner_or_not_at_all():
    grid = Grid((9, 9, 9), (1.0, 1.0, 1.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = labels[6:8, 6, 6] = labels[8, 8, 8] = LIVER
    liver = statistics(labels, np.zeros(grid.shape, np.int16), grid).regions[LIVER]
    assert liver is not None
    assert (liver.pieces, liver.voxels) == (3, 5)
    assert liver.largest_ml == pytest.approx(0.002)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_hu_are_numpys(dtype: type):
    random = np.random.default_rng(3)
    labels = random.integers(0, 4, (7, 11, 13)).astype(np.uint8)
    image = random.normal(0, 9000, labels.shape).clip(-32768, 32767).astype(dtype)
    image[0, 0, :2], labels[0, 0, :2] = (-32768, 32767), 1
    found = hounsfield_by_label(labels, image)
    assert list(found) == [1, 2, 3]
    for label, hu in found.items():
        values = image[labels == label].astype(np.float64)
        assert hu.mean == pytest.approx(values.mean(), rel=1e-12)
        assert hu.sd == pytest.approx(values.std(), rel=1e-12)
        expected = np.percentile(values, (5, 50, 95))
        np.testing.assert_allclose((hu.p5, hu.p50, hu.p95), expected, rtol=1e-9)


def test_more_voxels_than_are_gathered_at_once():
    """1.2 million in one thread's share, in several rounds."""
    labels = np.ones((6, 700, 700), np.uint8)
    image = (np.arange(labels.size) % 201 - 100).astype(np.int16).reshape(labels.shape)
    hu = hounsfield_by_label(labels, image)[1]
    assert hu.mean == pytest.approx(float(image.mean(dtype=np.float64)))
    assert (hu.p5, hu.p50, hu.p95) == tuple(np.percentile(image, (5, 50, 95)))


def test_a_cuboid_lesion():
    """8 x 6 x 4 voxels of 1 x 2 x 3 mm in the liver; on its left lies the kidney."""
    grid = Grid((12, 20, 24), (3.0, 2.0, 1.0))
    labels = np.full(grid.shape, LIVER, np.uint8)
    labels[:, :, 14:] = LEFT_KIDNEY
    labels[4:8, 5:11, 6:14] = TUMOR
    (lesion,) = statistics(labels, np.zeros(grid.shape, np.int16), grid).lesions
    assert lesion.ml == pytest.approx(8 * 6 * 4 * 6 / 1000)
    # From the middle of one outermost edge to that of the opposite one: 8 mm by (6 - 1) * 2 mm, or
    # 7 mm by 12 mm.
    assert lesion.longest_axial_mm == pytest.approx(max(math.hypot(8, 10), math.hypot(7, 12)))
    assert math.dist(*lesion.ends_mm) == pytest.approx(lesion.longest_axial_mm)
    assert lesion.centroid_mm == pytest.approx((9.5, 15, 16.5))
    assert lesion.host == LIVER
    z, y, x = 8 * 12, 8 * 12, 12 * 12  # mm2 of its faces; one across x touches the kidney
    assert lesion.host_share == pytest.approx(1 - x / (2 * (z + y + x)))
    assert lesion.state == Present()


def test_lesions_come_by_size_and_a_bridge_over_a_corner_joins_them():
    grid = Grid((10, 20, 20), (1.0, 1.0, 1.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2, 2, 2] = labels[5:7, 5:8, 5:8] = labels[7, 8, 8] = labels[9, 15, 15:18] = TUMOR
    found = statistics(labels, np.zeros(grid.shape, np.int16), grid).lesions
    assert [round(lesion.ml * 1000) for lesion in found] == [19, 3, 1]
    assert [lesion.host for lesion in found] == [None, None, None]
    assert [lesion.host_share for lesion in found] == [0, 0, 0]
    assert found[1].longest_axial_mm == 3  # a row of three voxels
    assert found[2].longest_axial_mm == 1
    assert found[1].state == CutOff(("superior",))
    assert [lesion.state for lesion in (found[0], found[2])] == [Present(), Present()]


@pytest.mark.parametrize("radius", [6.0, 14.5, 25.0])
def test_a_balls_diameter(radius: float):
    grid = Grid((30, 70, 70), (2.0, 0.8, 0.8))
    z, y, x = np.indices(grid.shape)
    distance = np.hypot(np.hypot((z - 14.6) * 2, (y - 35.2) * 0.8), (x - 34.7) * 0.8)
    labels = (distance <= radius).astype(np.uint8) * np.uint8(TUMOR)
    (lesion,) = statistics(labels, np.zeros(grid.shape, np.int16), grid).lesions
    assert lesion.longest_axial_mm == pytest.approx(2 * radius, abs=0.8)


def connected(mask: np.ndarray) -> np.ndarray:
    """SimpleITK's 26-connected pieces, numbered from 1."""
    components = sitk.ConnectedComponentImageFilter()
    components.FullyConnectedOn()
    return sitk.GetArrayFromImage(
        components.Execute(sitk.GetImageFromArray((mask != 0).astype(np.uint8)))
    )


def every_pair(mask_YX: np.ndarray, spacing: tuple[float, float]) -> float:
    """The largest distance of the middles of all voxels' edges."""
    y, x = np.nonzero(mask_YX)
    points = np.concatenate(
        [np.stack([y + dy, x + dx], 1) for dy, dx in ((0, 0.5), (0, -0.5), (0.5, 0), (-0.5, 0))]
    ) * np.array(spacing)
    return float(np.hypot(*(points[:, None] - points[None]).T).max())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(1.0, 1.0), (0.7, 1.9)]))
def test_the_longest_diameter_is_that_of_every_pair(seed: int, spacing: tuple[float, float]):
    random = np.random.default_rng(seed)
    labels = (random.random((3, 9, 12)) < random.uniform(0.05, 0.7)).astype(np.uint8) * TUMOR
    labels[1, 4, 5] = TUMOR
    labels = labels.astype(np.uint8)
    grid = Grid(labels.shape, (1.0, *spacing))
    pieces = connected(labels)
    expected = [
        max(every_pair(plane, spacing) for plane in pieces == number if plane.any())
        for number in range(1, pieces.max() + 1)
    ]
    found = statistics(labels, np.zeros(grid.shape, np.int16), grid).lesions
    assert sorted(lesion.longest_axial_mm for lesion in found) == pytest.approx(sorted(expected))


def turned(array: np.ndarray, direction: Direction) -> np.ndarray:
    """A canonical array as a scan of this direction stores it."""
    return np.ascontiguousarray(Orientation.of(direction).invert(array))


def assert_alike(found: Statistics, expected: Statistics) -> None:
    assert found.states == expected.states
    for label in NAMES:
        one, other = found.regions[label], expected.regions[label]
        if one is None or other is None:
            assert one is other
            continue
        for what in ("voxels", "hu", "pieces"):
            assert getattr(one, what) == getattr(other, what)
        for what in ("ml", "largest_ml", "low_mm", "high_mm", "centroid_mm"):
            assert getattr(one, what) == pytest.approx(getattr(other, what), abs=1e-6)
    assert len(found.lesions) == len(expected.lesions)
    for one, other in zip(found.lesions, expected.lesions, strict=True):
        assert (one.host, one.state) == (other.host, other.state)
        for what in ("ml", "longest_axial_mm", "host_share", "centroid_mm"):
            assert getattr(one, what) == pytest.approx(getattr(other, what), abs=1e-6)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_all_48_orientations_give_the_same(seed: int):
    random = np.random.default_rng(seed)
    labels = random.choice([0, 0, 0, 1, 3, TUMOR], (4, 5, 6)).astype(np.uint8)
    image = random.integers(-1000, 1000, labels.shape).astype(np.int16)
    spacing, origin = (2.5, 0.9, 0.7), (3.0, -8.0, 11.0)
    grid = Grid((4, 5, 6), spacing, origin)
    expected = statistics(labels, image, grid)
    for direction in AXIS_ALIGNED:
        orientation = Orientation.of(direction)
        stored = turned(labels, direction)
        back = [orientation.axes.index(axis) for axis in range(3)]
        turned_grid = Grid(
            stored.shape, tuple(spacing[axis] for axis in back), (0, 0, 0), direction
        )
        # Moved to where its first canonical voxel lies as before.
        shift = np.array(origin) - np.array(orientation.canonical(turned_grid).origin)
        there = Grid(stored.shape, turned_grid.spacing, tuple(shift.tolist()), direction)
        assert_alike(statistics(stored, turned(image, direction), there), expected)


def sitk_image(array: np.ndarray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def assert_as_simpleitk(labels: np.ndarray, image: np.ndarray, grid: Grid) -> int:
    """How many labels were compared."""
    found = statistics(labels, image, grid)
    shape, intensity = sitk.LabelShapeStatisticsImageFilter(), sitk.LabelStatisticsImageFilter()
    shape.Execute(sitk_image(labels, grid))
    intensity.Execute(sitk_image(image, grid), sitk_image(labels, grid))
    assert {label for label, region in found.regions.items() if region} == set(shape.GetLabels())
    for label in shape.GetLabels():
        region = found.regions[label]
        assert region is not None
        assert region.voxels == shape.GetNumberOfPixels(label)
        assert region.ml == pytest.approx(shape.GetPhysicalSize(label) / 1000)
        assert region.centroid_mm == pytest.approx(shape.GetCentroid(label), abs=1e-3)
        assert region.hu.mean == pytest.approx(intensity.GetMean(label), abs=1e-6)
        # SimpleITK divides by one voxel less.
        n = region.voxels
        sigma = intensity.GetSigma(label) * math.sqrt((n - 1) / n)
        assert region.hu.sd == pytest.approx(sigma, abs=1e-3)
        if grid.direction == Grid(grid.shape, grid.spacing).direction:
            x, y, z, *size = shape.GetBoundingBox(label)
            low = np.array(grid.origin) + (np.array([x, y, z]) - 0.5) * grid.spacing[::-1]
            assert region.low_mm == pytest.approx(low, abs=1e-6)
            high = low + np.array(size) * grid.spacing[::-1]
            assert region.high_mm == pytest.approx(high, abs=1e-6)
        assert region.pieces == connected(labels == label).max()
    return len(shape.GetLabels())


def test_a_phantom_as_simpleitk_measures_it():
    phantom = make_phantom((30, 40, 48), (8.0, 7.0, 6.0), seed=1)
    assert assert_as_simpleitk(phantom.labels_ZYX, phantom.image_ZYX, phantom.grid) == 14


@settings(max_examples=10, deadline=None)
@given(oblique())
def test_an_oblique_scan_as_simpleitk_measures_it(direction: Direction):
    random = np.random.default_rng(0)
    labels = random.choice([0, 0, 0, 1, 3], (4, 5, 6)).astype(np.uint8)
    image = random.integers(-1000, 1000, labels.shape).astype(np.int16)
    grid = Grid((4, 5, 6), (2.5, 0.9, 0.7), (5.0, 6.0, 7.0), direction)
    assert assert_as_simpleitk(labels, image, grid) == 2


@pytest.mark.slow
def test_real_scans_as_simpleitk_measures_them(shared_data: Path):
    scans = sorted((shared_data / "ct").glob("*_0000.nii.gz"))
    assert scans
    for path in scans:
        labels, grid = read_labels(
            shared_data / "pseudo_labels" / "hk" / path.name.replace("_0000", "")
        )
        assert assert_as_simpleitk(labels, read_volume(path).voxels_ZYX, grid) >= 9, path
