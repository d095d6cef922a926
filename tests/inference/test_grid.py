"""Orientation: an exact inverse, and every voxel stays where it was in the patient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.grid import IDENTITY, Direction, Grid, Orientation
from tests.inference.orientations import AXIS_ALIGNED, oblique

SHAPE = (2, 3, 4)


def grid_of(direction: Direction) -> Grid:
    return Grid(SHAPE, (5.0, 0.7, 1.1), (-12.5, 40.0, 7.25), direction)


def physical_points(grid: Grid, values_ZYX: np.ndarray) -> dict[int, np.ndarray]:
    """Where each voxel value (all different) lies."""
    indices = itertools.product(*map(range, grid.shape))
    return {int(values_ZYX[index]): grid.physical(index) for index in indices}


def assert_same_places(direction: Direction) -> None:
    grid = grid_of(direction)
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    orientation = Orientation.of(direction)
    canonical = orientation.apply(voxels)
    there = physical_points(orientation.canonical(grid), canonical)
    for value, point in physical_points(grid, voxels).items():
        np.testing.assert_allclose(there[value], point, atol=1e-9)


def test_there_are_48_axis_aligned_orientations():
    assert len(set(AXIS_ALIGNED)) == 48


@pytest.mark.parametrize("direction", AXIS_ALIGNED)
def test_axis_aligned_orientations_become_the_identity(direction: Direction):
    orientation = Orientation.of(direction)
    assert orientation.canonical(grid_of(direction)).direction == IDENTITY
    assert_same_places(direction)


@pytest.mark.parametrize("direction", AXIS_ALIGNED)
def test_inverse_is_exact_and_both_ways_are_views(direction: Direction):
    orientation = Orientation.of(direction)
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    canonical = orientation.apply(voxels)
    back = orientation.invert(canonical)
    np.testing.assert_array_equal(back, voxels)
    assert np.shares_memory(back, voxels)
    np.testing.assert_array_equal(orientation.apply(orientation.invert(canonical)), canonical)


def test_the_48_orientations_are_all_different():
    assert len({Orientation.of(direction) for direction in AXIS_ALIGNED}) == 48


@given(oblique())
def test_oblique_scans_keep_their_places_and_go_to_the_nearest_axes(direction: Direction):
    assert_same_places(direction)
    orientation = Orientation.of(direction)
    matrix = np.array(orientation.canonical(grid_of(direction)).direction).reshape(3, 3)
    # No other permutation and no other flips bring the columns closer to the axes.
    assert (np.diag(matrix) >= 0).all()
    closest = max(
        sum(abs(matrix[row, column]) for row, column in enumerate(columns))
        for columns in itertools.permutations(range(3))
    )
    assert np.trace(matrix) == pytest.approx(closest, abs=1e-5)
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    np.testing.assert_array_equal(orientation.invert(orientation.apply(voxels)), voxels)


@given(oblique(), st.tuples(*[st.floats(-9, 9)] * 3), st.tuples(*[st.floats(-9, 9)] * 3))
def test_physical_distances_are_those_of_the_spacing(direction: Direction, first, second):
    grid = grid_of(direction)
    steps = (np.array(first) - np.array(second)) * grid.spacing
    distance = np.linalg.norm(grid.physical(first) - grid.physical(second))
    assert distance == pytest.approx(np.linalg.norm(steps), abs=1e-9)


def test_extent_and_voxel_volume():
    grid = grid_of(IDENTITY)
    assert grid.extent_mm == pytest.approx((10.0, 2.1, 4.4))
    assert grid.voxel_ml == pytest.approx(0.00385)


@given(
    st.tuples(*[st.integers(1, 600)] * 3),
    st.tuples(*[st.floats(0.3, 8.0)] * 3),
    st.tuples(*[st.floats(0.5, 8.0)] * 3),
)
def test_resampled_shape_keeps_the_field_of_view(shape, spacing, wanted):
    grid = Grid(shape, spacing)
    for n, extent, step in zip(grid.resampled_shape(wanted), grid.extent_mm, wanted, strict=True):
        assert n >= 1
        assert abs(n * step - extent) <= step / 2 + 1e-6 or n == 1
