"""NSD: phantoms by hand, google-deepmind/surface-distance as oracle, and laws it must obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.surface import bounding_box, nsd
from tests.evaluation.oracle import package_nsd

Spacing = tuple[float, float, float]

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7))
# Many distances equal a tolerance exactly (0.5, 1, 1.5, 2.5), the others never do.
lengths = st.sampled_from((0.5, 1.0, 1.5, 2.5)) | st.floats(0.3, 5.0)
spacings = st.tuples(lengths, lengths, lengths)
tolerances = st.sampled_from((0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 7.0)) | st.floats(0.0, 10.0)


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two non-empty masks of one shape."""
    pred = draw(masks)
    ref = draw(hnp.arrays(bool, pred.shape))
    assume(pred.any() and ref.any())
    return pred, ref


def _voxels(shape: tuple[int, int, int], *indices: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for index in indices:
        mask[index] = True
    return mask


@pytest.mark.parametrize(
    ("tolerance", "expected"),
    [(0.0, 0.0), (1.99, 0.0), (2.0, 0.5), (3.99, 0.5), (4.0, 1.0)],
)
def test_two_voxels_two_steps_apart(tolerance: float, expected: float) -> None:
    # Corners at x = 2, 3 and at x = 4, 5, times 2 mm: the near four corners of each voxel are 2 mm
    # from the other one's, the far four 4 mm. All eight surfels have the same area.
    pred, ref = _voxels((3, 3, 8), (1, 1, 2)), _voxels((3, 3, 8), (1, 1, 4))
    assert nsd(pred, ref, (9.0, 9.0, 2.0), tolerance) == pytest.approx(expected)


def test_neighbouring_voxels_share_a_face() -> None:
    # Four of the eight corners of each are common, the other four 1 mm away.
    pred, ref = _voxels((1, 1, 2), (0, 0, 0)), _voxels((1, 1, 2), (0, 0, 1))
    assert nsd(pred, ref, (1.0, 1.0, 1.0), 0.0) == pytest.approx(0.5)
    assert nsd(pred, ref, (1.0, 1.0, 1.0), 1.0) == pytest.approx(1.0)


def test_distance_follows_the_axis_of_the_spacing() -> None:
    pred, ref = _voxels((4, 1, 1), (0, 0, 0)), _voxels((4, 1, 1), (1, 0, 0))
    assert nsd(pred, ref, (5.0, 1.0, 1.0), 4.9) == pytest.approx(0.5)
    assert nsd(pred, ref, (5.0, 1.0, 1.0), 5.0) == pytest.approx(1.0)


def test_a_spacing_may_be_a_list_or_an_array() -> None:
    pred, ref = _voxels((3, 3, 5), (1, 1, 1)), _voxels((3, 3, 5), (1, 1, 3))
    wanted = nsd(pred, ref, (2.0, 1.0, 0.5), 0.5)
    assert 0 < wanted < 1
    for spacing in ([2.0, 1.0, 0.5], np.array([2.0, 1.0, 0.5])):
        assert nsd(pred, ref, spacing, 0.5) == wanted  # type: ignore[arg-type]


def test_empty_masks() -> None:
    empty, full = np.zeros((2, 3, 4), bool), np.ones((2, 3, 4), bool)
    assert math.isnan(nsd(empty, empty, (1.0, 1.0, 1.0), 2.0))
    assert nsd(empty, full, (1.0, 1.0, 1.0), 99.0) == 0.0
    assert nsd(full, empty, (1.0, 1.0, 1.0), 99.0) == 0.0


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(pair=mask_pairs(), spacing=spacings, tolerance=tolerances)
def test_equal_to_surface_distance(
    pair: tuple[np.ndarray, np.ndarray], spacing: Spacing, tolerance: float
) -> None:
    pred, ref = pair
    # The package sees (x, y, z) arrays, as the official script gives them to it.
    expected = package_nsd(pred.T, ref.T, spacing[::-1], tolerance)
    assert nsd(pred, ref, spacing, tolerance) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (1.5, 0.7, 1.2)])
@pytest.mark.parametrize("tolerance", [2.0, 3.0, 5.0, 7.0])
def test_equal_to_surface_distance_on_organs(spacing: Spacing, tolerance: float) -> None:
    z, y, x = np.ogrid[:24, :40, :40]
    bumps = np.random.default_rng(3).random((24, 40, 40)) < 0.02
    ref = ((z - 12) / 9) ** 2 + ((y - 20) / 15) ** 2 + ((x - 5) / 14) ** 2 < 1  # cut at x = 0
    pred = (((z - 13) / 9) ** 2 + ((y - 18) / 15) ** 2 + ((x - 6) / 12) ** 2 < 1) | bumps
    expected = package_nsd(pred.T, ref.T, spacing[::-1], tolerance)
    assert 0.1 < expected < 0.99
    assert nsd(pred, ref, spacing, tolerance) == pytest.approx(expected, abs=1e-9)


def test_equal_to_surface_distance_on_masks_that_fill_the_array() -> None:
    full = np.ones((4, 5, 6), bool)
    holed = full.copy()
    holed[1:3, 2, 2:4] = False
    expected = package_nsd(holed, full, (1.0, 2.0, 3.0), 1.0)
    assert nsd(holed, full, (1.0, 2.0, 3.0), 1.0) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(pair=mask_pairs(), spacing=spacings, tolerance=tolerances)
def test_symmetric_and_between_0_and_1(
    pair: tuple[np.ndarray, np.ndarray], spacing: Spacing, tolerance: float
) -> None:
    pred, ref = pair
    value = nsd(pred, ref, spacing, tolerance)
    assert 0.0 <= value <= 1.0
    assert nsd(ref, pred, spacing, tolerance) == pytest.approx(value, abs=1e-12)


@settings(deadline=None)
@given(pair=mask_pairs(), spacing=spacings, tolerances=st.tuples(tolerances, tolerances))
def test_a_wider_tolerance_is_never_stricter(
    pair: tuple[np.ndarray, np.ndarray], spacing: Spacing, tolerances: tuple[float, float]
) -> None:
    narrow, wide = (nsd(*pair, spacing, tolerance) for tolerance in sorted(tolerances))
    assert narrow <= wide + 1e-12


@given(pair=mask_pairs(), spacing=spacings)
def test_equal_masks_agree_at_any_tolerance(
    pair: tuple[np.ndarray, np.ndarray], spacing: Spacing
) -> None:
    assert nsd(pair[0], pair[0], spacing, 0.0) == pytest.approx(1.0)


@settings(deadline=None)
@given(pair=mask_pairs(), spacing=spacings, before=st.integers(0, 3), after=st.integers(0, 3))
def test_padding_changes_nothing(
    pair: tuple[np.ndarray, np.ndarray], spacing: Spacing, before: int, after: int
) -> None:
    pred, ref = (np.pad(mask, (before, after)) for mask in pair)
    assert nsd(pred, ref, spacing, 2.0) == pytest.approx(nsd(*pair, spacing, 2.0), abs=1e-12)


@settings(deadline=None)
@given(
    pair=mask_pairs(),
    spacing=spacings,
    axes=st.permutations((0, 1, 2)),
    flips=st.tuples(*[st.sampled_from((1, -1))] * 3),
)
def test_the_storage_order_of_the_axes_changes_nothing(
    pair: tuple[np.ndarray, np.ndarray],
    spacing: Spacing,
    axes: list[int],
    flips: tuple[int, int, int],
) -> None:
    pred, ref = (m.transpose(axes)[tuple(slice(None, None, f) for f in flips)] for m in pair)
    turned = (spacing[axes[0]], spacing[axes[1]], spacing[axes[2]])
    # No tolerance that a distance could equal: there, the order of a sum could decide.
    tolerance = math.pi / 2
    assert nsd(pred, ref, turned, tolerance) == pytest.approx(nsd(*pair, spacing, tolerance))


def test_bounding_box() -> None:
    mask = _voxels((5, 6, 7), (1, 2, 6), (3, 2, 4))
    assert bounding_box(mask) == (slice(1, 4), slice(2, 3), slice(4, 7))
    assert bounding_box(np.zeros((2, 2, 2), bool)) is None


@pytest.mark.parametrize(
    ("pred", "ref", "spacing", "tolerance", "message"),
    [
        (np.ones((2, 2, 2)), np.ones((2, 2, 2), bool), (1, 1, 1), 1, "boolean"),
        (np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), (1, 1, 1), 1, "one shape"),
        (np.ones((2, 2), bool), np.ones((2, 2), bool), (1, 1, 1), 1, "3D"),
        (np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), (1, 0, 1), 1, "positive"),
        (np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), (1, math.nan, 1), 1, "positive"),
        (np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), (1, 1, 1), -1, "negative"),
    ],
)
def test_misuse_is_named(
    pred: np.ndarray, ref: np.ndarray, spacing: Spacing, tolerance: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nsd(pred, ref, spacing, tolerance)
