"""Surfels of neighbourhoods and of solids whose surface is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from evaluation.surfels import neighbourhoods, on_surface, surfel_areas

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from surface_distance import lookup_tables


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.1, 0.7), (0.5, 2.0, 0.8)])
def test_all_256_areas_are_those_of_surface_distance(spacing: tuple[float, float, float]) -> None:
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    # The package's codes hold the voxel at (0, 0, 0) in the highest bit, ours in the lowest.
    reversed_bits = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    np.testing.assert_allclose(surfel_areas(spacing), theirs[reversed_bits], rtol=1e-12)


def test_areas_are_shared_and_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        surfel_areas((1.0, 1.0, 1.0))[3] = 5.0


def test_one_voxel_has_eight_corners() -> None:
    codes = neighbourhoods(np.ones((1, 1, 1), bool))
    # Each corner of the voxel sees it in another place of its 2x2x2 block.
    np.testing.assert_array_equal(codes.ravel(), [128, 64, 32, 16, 8, 4, 2, 1])
    # Eight triangles that cut the corners at half an edge: an octahedron.
    spacing = (3.0, 2.0, 1.0)
    areas = surfel_areas(spacing)[codes]
    expected = np.sqrt((2 * 1 / 8) ** 2 + (3 * 1 / 8) ** 2 + (3 * 2 / 8) ** 2)
    np.testing.assert_allclose(areas, expected)


def test_a_flat_wall_has_the_area_of_its_voxel_faces() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[:3] = True
    codes = neighbourhoods(mask)
    inner = codes[3, 1:-1, 1:-1]
    assert set(inner.ravel()) == {0b00001111}
    assert surfel_areas((5.0, 2.0, 3.0))[0b00001111] == pytest.approx(2.0 * 3.0)


def test_the_inside_and_the_outside_are_no_surface() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[1:4, 1:4, 1:4] = True
    surface = on_surface(neighbourhoods(mask))
    assert surface.sum() == 4**3 - 2**3
    assert not surface[2:4, 2:4, 2:4].any()


@pytest.mark.parametrize("order", ["C", "F"])
def test_views_of_any_memory_order(order: str) -> None:
    mask = np.asarray(np.random.default_rng(1).random((3, 4, 5)) < 0.5, order=order)  # type: ignore[call-overload]
    np.testing.assert_array_equal(neighbourhoods(mask[::-1]), neighbourhoods(mask[::-1].copy()))
