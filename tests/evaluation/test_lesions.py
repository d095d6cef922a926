"""Lesion-wise detection on blocks that a hand can count, and against a second way to count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from evaluation.lesions import (
    ALL,
    LARGE,
    MEDIUM,
    SMALL,
    Counts,
    Lesion,
    count_lesions,
    diameter_mm,
    find_lesions,
)

MM = (1.0, 1.0, 1.0)


def line(*pieces: tuple[int, int], length: int = 60) -> np.ndarray:
    """A mask of one row with a block from the first to behind the last voxel for each piece."""
    mask = np.zeros((1, 1, length), bool)
    for first, stop in pieces:
        mask[..., first:stop] = True
    return mask


def outcomes(pred: np.ndarray, ref: np.ndarray) -> list[tuple[str, float]]:
    return [(lesion.outcome, round(lesion.iou, 4)) for lesion in find_lesions(pred, ref, MM)]


@pytest.mark.parametrize(
    ("pred", "ref", "expected"),
    [
        ((), (), []),
        (((0, 10),), (), [("false positive", 0)]),
        ((), ((0, 10),), [("missed", 0)]),
        (((0, 10),), ((0, 10),), [("detected", 1)]),
        # Exactly a tenth: 1 common voxel of 10, then of 11.
        (((9, 10),), ((0, 10),), [("detected", 0.1)]),
        (((10, 11),), ((0, 10),), [("missed", 0), ("false positive", 0)]),
        (((9, 11),), ((0, 10),), [("missed", 0.0909), ("false positive", 0.0909)]),
        # One long lesion in two pieces: the larger one hits, the other is a fragment.
        (((0, 4), (5, 10)), ((0, 10),), [("detected", 0.5), ("fragment", 0.4)]),
        # A speck in a large lesion could hit nothing.
        (((0, 9), (19, 20)), ((0, 20),), [("detected", 0.45), ("false positive", 0.05)]),
        # One blob over two lesions finds one of them.
        (((0, 20),), ((0, 9), (10, 20)), [("missed", 0.45), ("detected", 0.5)]),
        # As many hits as can be, although the first piece overlaps more with the second lesion.
        (((6, 20),), ((0, 10), (11, 20)), [("missed", 0.2), ("detected", 0.6429)]),
        (((6, 20), (21, 23)), ((0, 10), (11, 31)), [("detected", 0.2), ("detected", 0.1)]),
    ],
)
def test_by_hand(
    pred: tuple[tuple[int, int], ...],
    ref: tuple[tuple[int, int], ...],
    expected: list[tuple[str, float]],
) -> None:
    assert outcomes(line(*pred), line(*ref)) == expected


def test_voxels_that_meet_at_a_corner_are_one_lesion() -> None:
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[2, 2, 2] = True
    assert [lesion.volume_ml for lesion in find_lesions(mask, mask, MM)] == [pytest.approx(0.003)]


def test_sizes_are_those_of_spheres() -> None:
    assert diameter_mm(math.pi / 6) == pytest.approx(10)  # a cubic centimetre is 1 ml
    cube = np.zeros((30, 30, 30), bool)
    cube[:8, :8, :8] = True  # 0.512 ml: 9.93 mm
    cube[:9, 10:18, :8] = True  # 0.576 ml: 10.32 mm
    cube[:, :, 10:20] = True  # 9 ml: 25.8 mm
    lesions = find_lesions(~cube & cube, cube, MM)
    assert sorted((round(lesion.diameter_mm, 2), lesion.size) for lesion in lesions) == [
        (9.93, SMALL),
        (10.32, MEDIUM),
        (25.81, LARGE),
    ]
    thick = find_lesions(cube[:, 10:18, :8], cube[:, 10:18, :8], (2.0, 0.5, 0.5))
    assert thick[0].volume_ml == pytest.approx(9 * 8 * 8 * 0.5 / 1000)


@pytest.mark.parametrize(
    ("mm", "size"), [(9.999, SMALL), (10, MEDIUM), (20, MEDIUM), (20.1, LARGE)]
)
def test_bounds_of_the_sizes(mm: float, size: str) -> None:
    assert Lesion("missed", 1.0, mm, 0.0).size == size


def test_counts_by_size() -> None:
    lesions = [
        Lesion("detected", 0.0, 5.0, 0.5),
        Lesion("missed", 0.0, 6.0, 0.0),
        Lesion("detected", 0.0, 30.0, 0.5),
        Lesion("false positive", 0.0, 7.0, 0.0),
        Lesion("fragment", 0.0, 7.0, 0.3),
    ]
    assert count_lesions(lesions) == count_lesions(lesions, ALL) == Counts(3, 2, 1)
    assert count_lesions(lesions, SMALL) == Counts(2, 1, 1)
    assert count_lesions(lesions, MEDIUM) == Counts(0, 0, 0)
    assert count_lesions(lesions, LARGE) == Counts(1, 1, 0)


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        find_lesions(line(), line(length=3), MM)


def most_hits(iou: np.ndarray) -> int:
    """The largest one-to-one matching of pairs of at least 0.10, by trying all."""
    if not len(iou):
        return 0
    rest = iou[1:]
    best = most_hits(rest)
    for column in np.flatnonzero(iou[0] >= 0.10):
        best = max(best, 1 + most_hits(np.delete(rest, column, axis=1)))
    return best


masks = hnp.arrays(bool, (3, 5, 7), elements=st.sampled_from((False, False, True)))


@settings(max_examples=100, deadline=None)
@given(pred=masks, ref=masks)
def test_against_scipys_components_mask_by_mask(pred: np.ndarray, ref: np.ndarray) -> None:
    structure = np.ones((3, 3, 3))
    predicted, p = ndimage.label(pred, structure)
    referenced, r = ndimage.label(ref, structure)
    iou = np.zeros((r, p))
    for i in range(r):
        for j in range(p):
            one, other = referenced == i + 1, predicted == j + 1
            iou[i, j] = (one & other).sum() / (one | other).sum()
    lesions = find_lesions(pred, ref, MM)
    counts = count_lesions(lesions)
    assert counts.references == r
    assert counts.detected == most_hits(iou)
    assert counts.false_positives == int((iou < 0.10).all(axis=0).sum())
    fragments = sum(lesion.outcome == "fragment" for lesion in lesions)
    assert counts.detected + counts.false_positives + fragments == p
    assert sum(lesion.volume_ml for lesion in lesions[:r]) == pytest.approx(ref.sum() / 1000)
