"""Contours along the edges of pixels, and holes by keyholes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from inference.scan.dicom.contours import Points, contours
from tests.inference.scan.dicom.oracles import fill

MASKS = arrays.arrays(
    bool, st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), elements=st.booleans()
)


def area(points: Points) -> float:
    """Signed, by the shoelace formula, in pixels."""
    r, c = points.T
    return float((c * np.roll(r, -1) - r * np.roll(c, -1)).sum() / 2)


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_pixel_centres_within_the_contours_are_the_mask(mask: np.ndarray):
    for plane, rings in zip(mask, contours(mask), strict=True):
        together = np.zeros(plane.shape, bool)
        odd = np.zeros(plane.shape, bool)
        for ring in rings:
            inside = fill(ring, plane.shape)
            together |= inside
            odd ^= inside
        np.testing.assert_array_equal(together, plane)
        # Whoever reads all contours of a slice by one even-odd rule finds the same.
        np.testing.assert_array_equal(odd, plane)
        assert sum(abs(area(ring)) for ring in rings) == plane.sum()


@settings(max_examples=60, deadline=None)
@given(MASKS, st.integers(2, 7), st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)))
def test_centres_on_any_other_raster_see_their_nearest_pixel(
    mask: np.ndarray, finer: int, offset: tuple[float, float]
):
    """Contours filled on rasters of their own, finer or coarser, as planning systems do."""
    for scale in (finer * 0.61, 1 / (finer * 0.61)):
        plane = mask[0]
        size = tuple(int(n * scale) + 2 for n in plane.shape)
        # Where the raster's centres lie, in the mask's pixels.
        at = [(np.arange(n) + o) / scale - 0.5 for n, o in zip(size, offset, strict=True)]
        pixel = [np.floor(a + 0.5).astype(int) for a in at]
        within = [(p >= 0) & (p < n) for p, n in zip(pixel, plane.shape, strict=True)]
        nearest = np.zeros(size, bool)
        nearest[np.ix_(*within)] = plane[
            np.ix_(*(p[w] for p, w in zip(pixel, within, strict=True)))
        ]
        filled = np.zeros(size, bool)
        for ring in contours(mask[:1])[0]:
            filled |= fill((ring + 0.5) * scale - np.array(offset), size)
        np.testing.assert_array_equal(filled, nearest)


@settings(max_examples=80, deadline=None)
@given(MASKS)
def test_each_piece_is_one_contour_all_run_the_same_way_round(mask: np.ndarray):
    for plane, rings in zip(mask, contours(mask), strict=True):
        assert len(rings) == ndimage.label(plane)[1]  # 4-connected
        assert all(len(ring) >= 3 for ring in rings)
        assert len({np.sign(area(ring)) for ring in rings}) <= 1
        for ring in rings:
            ahead = np.roll(ring, -1, 0) - ring
            behind = np.roll(ahead, 1, 0)
            straight = behind[:, 0] * ahead[:, 1] == behind[:, 1] * ahead[:, 0]
            assert not (straight & ((behind * ahead).sum(1) > 0)).any()


def test_one_pixel_is_a_square():
    mask = np.zeros((1, 5, 6), bool)
    mask[0, 2, 3] = True
    ((ring,),) = contours(mask)
    assert {tuple(p) for p in ring} == {(1.5, 2.5), (1.5, 3.5), (2.5, 2.5), (2.5, 3.5)}


def test_a_long_side_has_no_points_between_its_ends():
    mask = np.zeros((1, 30, 40), bool)
    mask[0, 5:25, 5:35] = True
    ((ring,),) = contours(mask)
    assert len(ring) == 4


def nested() -> np.ndarray:
    """A disk with two holes side by side, one above the other, and an island in one of them."""
    mask = np.ones((21, 23), bool)
    for top, left in ((2, 2), (2, 12), (12, 5)):
        mask[top : top + 7, left : left + 8] = False
    mask[4:6, 4:7] = True
    mask[4, 5] = True
    return np.pad(mask, 1)


def test_holes_are_cut_in_from_outside_and_an_island_stands_alone():
    mask = nested()
    ((outer, island),) = contours(mask[None])
    assert abs(area(outer)) > abs(area(island))
    np.testing.assert_array_equal(fill(outer, mask.shape) | fill(island, mask.shape), mask)
    # The way in is the way out: three holes, so three channels, walked there and back.
    steps = [(tuple(a), tuple(b)) for a, b in zip(outer, np.roll(outer, -1, 0), strict=True)]
    assert sum((b, a) in steps for a, b in steps) == 2 * 3


def test_keyholes_run_through_the_mask_alone():
    """Programs that draw the edges of polygons, too, would else find pixels outside."""
    mask = nested()
    for ring in contours(mask[None])[0]:
        steps = [(tuple(a), tuple(b)) for a, b in zip(ring, np.roll(ring, -1, 0), strict=True)]
        for a, b in steps:
            if (b, a) in steps:
                (top, column), (bottom, other) = sorted((a, b))
                assert column == other == int(column)
                assert mask[int(top + 0.5) : int(bottom + 0.5), int(column)].all()


def test_a_chain_of_many_holes_is_no_recursion():
    mask = np.ones((2501, 5), bool)
    mask[1:-1:2, 1:-1] = False
    ((ring,),) = contours(mask[None])
    np.testing.assert_array_equal(fill(ring, mask.shape), mask)


def test_slabs_of_slices_make_no_difference(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    mask = ndimage.gaussian_filter(rng.normal(size=(9, 20, 30)), 1.5) > 0.1
    whole = contours(mask)
    monkeypatch.setattr("inference.scan.dicom.contours._SLAB_VOXELS", 1500)
    for a, b in zip(whole, contours(mask), strict=True):
        assert len(a) == len(b)
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_nothing_gives_nothing():
    assert contours(np.zeros((3, 4, 5), bool)) == [[], [], []]
