"""Windows: where they lie, what they weigh, and how their logits come together."""

from __future__ import annotations

import itertools
import math
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference.steps.accumulator import UNSEEN_LOGIT, accumulator, memory_of
from inference.steps.bfloat16 import as_float32, weighted
from inference.steps.boxes import bounding_box, grown, window_box
from inference.steps.windows import (
    FIT_PATCHES,
    NoRoomError,
    Placement,
    Room,
    importance,
    mirror_index,
    window_starts,
)

CHANNELS = 3
PLENTY = Room(10**12, 100)


@given(st.data())
def test_starts_cover_the_axis_at_most_a_step_apart(data: st.DataObject):
    patch = data.draw(st.integers(1, 192))
    size = data.draw(st.integers(patch, 1000))
    step = data.draw(st.floats(1e-9, 1))
    starts = window_starts(size, patch, step)
    assert starts[0] == 0
    assert starts[-1] == size - patch
    gaps = np.diff(starts)
    assert (gaps >= 1).all()  # no window twice
    assert (gaps <= max(1, math.ceil(patch * step))).all()
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1  # evenly


def test_starts_by_hand():
    assert window_starts(128, 128, 0.5) == [0]
    assert window_starts(129, 128, 0.5) == [0, 1]
    assert window_starts(192, 128, 0.5) == [0, 64]
    assert window_starts(193, 128, 0.5) == [0, 32, 65]
    assert window_starts(256, 128, 1.0) == [0, 128]


def test_an_axis_shorter_than_the_patch_is_a_mistake():
    with pytest.raises(ValueError, match="shorter than the patch"):
        window_starts(31, 32, 0.5)


@pytest.mark.parametrize("patch", [(32, 32, 32), (8, 16, 48), (5, 7, 9)])
def test_importance_is_a_gaussian_with_a_floor(patch: tuple[int, int, int]):
    weight = importance(patch)
    assert weight.shape == patch
    assert weight.dtype == np.float32
    assert weight.max() == 1
    assert weight.min() == np.float32(1e-3)
    for axis in range(3):
        np.testing.assert_allclose(weight, np.flip(weight, axis), rtol=1e-5)
    centre = tuple(n // 2 for n in patch)
    for axis, n in enumerate(patch):
        line = weight[tuple(slice(None) if a == axis else centre[a] for a in range(3))]
        profile = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2)
        np.testing.assert_allclose(line, np.maximum(profile / profile.max(), 1e-3), rtol=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0, 0] = 0


@given(st.integers(1, 60), st.integers(1, 200))
def test_mirroring_equals_numpys_symmetric_padding(size: int, wanted: int):
    index, before = mirror_index(size, wanted)
    values = np.arange(size)
    missing = max(0, wanted - size)
    expected = np.pad(values, (missing // 2, missing - missing // 2), mode="symmetric")
    np.testing.assert_array_equal(values[index], expected)
    np.testing.assert_array_equal(values[index][before : before + size], values)


def test_mirroring_by_hand():
    assert mirror_index(3, 8)[0].tolist() == [1, 0, 0, 1, 2, 2, 1, 0]


def test_placement_leaves_out_only_windows_without_body():
    shape, patch = (40, 64, 64), (16, 32, 32)
    body = np.zeros(shape, bool)
    body[20:, 10:30, 12:20] = True
    everything = Placement.plan(shape, patch, 0.5)
    placement = Placement.plan(shape, patch, 0.5, body)
    starts = [window_starts(n, p, 0.5) for n, p in zip(shape, patch, strict=True)]
    every = set(itertools.product(*starts))
    assert {s for layer in everything.layers for s in layer} == every
    kept = {s for layer in placement.layers for s in layer}
    assert placement.count == len(kept) < everything.count == len(every)
    for start in every:
        assert (start in kept) == bool(body[window_box(start, patch)].any())
    covered = np.zeros(shape, bool)
    for start in kept:
        covered[window_box(start, patch)] = True
    assert covered[body].all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_windows_cut_to_the_patient_cover_the_patient(data: st.DataObject):
    divisor = data.draw(st.tuples(*[st.sampled_from((1, 2, 4, 8))] * 3))
    patch = tuple(d * data.draw(st.integers(1, 5)) for d in divisor)
    shape = tuple(data.draw(st.integers(1, 70)) for _ in range(3))
    firm = data.draw(st.booleans())
    room = data.draw(st.sampled_from((Room(1000 * prod(patch), 200, firm), PLENTY)))
    # A network may compute nothing rightly that is narrower than two voxels of its deepest map.
    room = room._replace(least=(1, 1, data.draw(st.sampled_from((1, 2))) * divisor[2]))
    body = np.zeros(shape, bool)
    low, high = zip(
        *(sorted(data.draw(st.tuples(*[st.integers(0, n - 1)] * 2))) for n in shape), strict=True
    )
    body[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = True
    margin = tuple(d // 2 for d in divisor)
    found = bounding_box(body, margin)
    for side, n, a, b, more in zip(found, shape, low, high, margin, strict=True):
        assert side == slice(max(0, a - more), min(n, b + 1 + more))
    size = tuple(side.stop - side.start for side in found)
    try:
        placement = Placement.fit(size, patch, divisor, room)
    except NoRoomError:
        assume(False)
    window = placement.patch
    assert all(w % d == 0 for w, d in zip(window, divisor, strict=True))
    assert all(w >= n for w, n in zip(window, room.least, strict=True))
    assert prod(window) <= FIT_PATCHES * prod(patch)
    gathered = memory_of(placement, 14)
    taken = room.per_voxel * prod(window) + gathered
    if taken > room.total:
        assert not room.firm
        with pytest.raises(NoRoomError):
            Placement.fit(size, patch, divisor, room._replace(firm=True))
    region = grown(found, window, shape)
    for side, inner, n, w, m in zip(region, found, shape, window, placement.shape, strict=True):
        assert 0 <= side.start <= inner.start < inner.stop <= side.stop <= n
        assert side.stop - side.start == max(inner.stop - inner.start, min(w, n))
        assert m == max(side.stop - side.start, w)  # mirrored only where the image ends
    covered = np.zeros(placement.shape, bool)
    firsts = []
    for layer in placement.layers:
        firsts.append({start[0] for start in layer})
        for start in layer:
            inside = window_box(start, window)
            assert all(s >= 0 for s in start)
            assert covered[inside].shape == window  # none reaches over the edge
            covered[inside] = True
    assert covered.all()
    assert all(len(first) == 1 for first in firsts)
    assert firsts == sorted(firsts, key=min)


def test_layers_ascend_and_none_is_empty():
    body = np.zeros((90, 40, 40), bool)
    body[40:45] = True
    placement = Placement.plan(body.shape, (20, 30, 30), 0.5, body)
    firsts = [{start[0] for start in layer} for layer in placement.layers]
    assert all(len(first) == 1 for first in firsts)
    flat = [first.pop() for first in firsts]
    assert flat == sorted(flat)
    assert flat[0] > 0


def test_memory_of_the_accumulator():
    placement = Placement.plan((90, 40, 50), (20, 32, 32), 0.5)
    made = []

    def zeros(shape: tuple[int, ...]) -> np.ndarray:
        made.append(np.zeros(shape, np.float32))
        return made[-1]

    def sums(channels: int, shape: tuple[int, int, int]) -> np.ndarray:
        return zeros((channels, *shape))

    def array(values: np.ndarray) -> np.ndarray:
        made.append(values.copy())
        return made[-1]

    accumulator(placement, CHANNELS, sums, zeros, array)
    assert memory_of(placement, CHANNELS) == sum(array.nbytes for array in made)
    # It does not grow with the length of the scan.
    assert memory_of(Placement.plan((900, 40, 50), (20, 32, 32), 0.5), CHANNELS) == memory_of(
        placement, CHANNELS
    )


def test_a_stack_keeps_only_the_overlap():
    placement = Placement(patch=(20, 32, 32), shape=(50, 32, 32), layers=STACK)
    assert placement.stacked
    overlap, blended = 5 * CHANNELS, 8 * (CHANNELS + 1)
    assert memory_of(placement, CHANNELS) == 4 * (overlap + blended) * 32 * 32
    for shape, layers in (
        ((50, 32, 33), STACK),  # not the whole plane
        ((51, 32, 32), STACK),  # a plane is left out at the end
        ((50, 32, 32), STACK[::2]),  # and in the middle
        ((50, 32, 32), (*STACK[:2], ((18, 0, 0),), STACK[2])),  # three windows on some planes
    ):
        assert not Placement((20, 32, 32), shape, layers).stacked


STACK = (((0, 0, 0),), ((15, 0, 0),), ((30, 0, 0),))


def window_logits(placement: Placement) -> dict[tuple[int, int, int], np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        start: rng.normal(0, 3, (CHANNELS, *placement.patch)).astype(np.float32)
        for layer in placement.layers
        for start in layer
    }


def dense(placement: Placement, windows: dict) -> np.ndarray:
    """All windows added up in one volume, in double precision."""
    total = np.zeros((CHANNELS, *placement.shape))
    weights = np.zeros(placement.shape)
    weight = importance(placement.patch).astype(np.float64)
    for start, logits in windows.items():
        inside = window_box(start, placement.patch)
        total[(slice(None), *inside)] += weight * logits
        weights[inside] += weight
    unseen = weights == 0
    return np.where(unseen, UNSEEN_LOGIT, total / np.where(unseen, 1, weights))


def streamed(placement: Placement, windows: dict, kind: str) -> np.ndarray:
    """The same through the accumulator, as the segmenter uses it."""

    def convert(values: np.ndarray) -> object:
        return values.copy() if kind == "numpy" else torch.tensor(values)

    def zeros(shape: tuple[int, ...]) -> object:
        return convert(np.zeros(shape, np.float32))

    def sums(channels: int, shape: tuple[int, int, int]) -> object:
        return zeros((channels, *shape))

    gathered = accumulator(placement, CHANNELS, sums, zeros, convert)
    result = np.full((CHANNELS, *placement.shape), np.nan)
    following = 0

    def hand_on(until: int) -> None:
        nonlocal following
        for first, logits in gathered.advance(until):
            assert first == following
            following = first + logits.shape[1]
            result[:, first:following] = np.asarray(logits)

    for layer in placement.layers:
        hand_on(layer[0][0])
        for start in layer:
            gathered.add(start, convert(windows[start]))
    hand_on(placement.shape[0])
    assert following == placement.shape[0]
    return result


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    patch = draw(st.tuples(st.sampled_from((2, 4, 8, 40)), *[st.sampled_from((2, 4, 6, 8))] * 2))
    shape = tuple(p + draw(st.integers(0, 17)) for p in patch)
    step = draw(st.sampled_from((0.25, 0.5, 0.7, 1.0)))
    if not draw(st.booleans()):
        return Placement.plan(shape, patch, step)
    if draw(st.booleans()):  # windows one above the other
        return Placement.plan((shape[0], *patch[1:]), patch, step)
    body = np.zeros(shape, bool)
    for _ in range(draw(st.integers(1, 3))):
        body[tuple(draw(st.integers(0, n - 1)) for n in shape)] = True
    return Placement.plan(shape, patch, step, body)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_accumulator_equals_a_dense_sum(kind: str):
    @settings(max_examples=60, deadline=None)
    @given(placements())
    def check(placement: Placement) -> None:
        windows = window_logits(placement)
        np.testing.assert_allclose(
            streamed(placement, windows, kind), dense(placement, windows), rtol=1e-4, atol=1e-4
        )

    check()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_windows_that_agree_come_back_as_they_were(kind: str):
    """Whatever the weights, the mean of equal logits is those logits, next to borders too."""
    placement = Placement.plan((21, 18, 23), (8, 8, 8), 0.5)
    volume = np.random.default_rng(3).normal(size=(CHANNELS, *placement.shape)).astype(np.float32)
    windows = {
        start: volume[(slice(None), *window_box(start, placement.patch))]
        for layer in placement.layers
        for start in layer
    }
    np.testing.assert_allclose(streamed(placement, windows, kind), volume, rtol=1e-5, atol=1e-5)


def test_one_window_where_the_patient_fits_and_several_where_not():
    patch, divisor = (80, 96, 96), (16, 16, 16)
    placement = Placement.fit((61, 86, 121), patch, divisor, PLENTY)
    assert placement.count == 1
    assert placement.patch == (64, 96, 128)
    long = Placement.fit((400, 90, 110), patch, divisor, PLENTY)
    assert long.count > 1
    assert long.stacked
    covered = long.count * prod(long.patch)
    assert covered < 0.5 * Placement.plan((400, 96, 110), patch, 0.5).count * prod(patch)
    # Less memory, smaller windows.
    tight = Placement.fit((400, 90, 110), patch, divisor, Room(200_000_000, 150))
    assert 150 * prod(tight.patch) <= 200_000_000 < 150 * prod(long.patch)
    least = Placement.fit((400, 90, 110), patch, divisor, Room(100, 1))
    assert prod(least.patch) < prod(tight.patch)
    with pytest.raises(NoRoomError, match="do not fit"):
        Placement.fit((400, 90, 110), patch, divisor, Room(100, 1, firm=True))


@pytest.mark.parametrize("kind", ["bfloat16", "float32", "torch"])
def test_weighted_logits_keep_their_layout(kind: str):
    rng = np.random.default_rng(3)
    logits_ZYXC = rng.normal(size=(4, 5, 6, 14)).astype(np.float32)
    bits = (logits_ZYXC.view(np.uint32) >> 16).astype(np.uint16)
    weights = rng.random((4, 1, 6), dtype=np.float32)
    values: Any = bits if kind == "bfloat16" else logits_ZYXC
    values = np.moveaxis(values, 3, 0)
    unchanged = values.copy()
    expected = as_float32(values) * weights
    if kind == "torch":
        product = weighted(torch.from_numpy(values), torch.from_numpy(weights)).numpy()
    else:
        product = weighted(values, weights)
    np.testing.assert_array_equal(product, expected)
    np.testing.assert_array_equal(values, unchanged)
    assert product.dtype == np.float32 and product.strides[0] == 4, "channels are last in memory"
