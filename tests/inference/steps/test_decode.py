"""Decoding: the rule voxel by voxel, and quick ways that give the same as the slow one."""

from __future__ import annotations

import ctypes
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from inference.engines.cupy_steps import DECIDE_SOURCE, CupyLinearDecoder
from inference.engines.torch_steps import torch_decoder
from inference.engines.torch_steps import winners as torch_winners
from inference.labels import NAMES, TUMOR
from inference.steps.decode import Decoder, numpy_decoder, winners
from inference.steps.resample import Taps
from inference.types import Box
from tests.inference.gcc import compiled

LABELS = len(NAMES)
CPU = torch.device("cpu")
Shape = tuple[int, int, int]
MakeDecoder = Callable[[str, Shape, Shape, Box], Decoder]


def decided(logits: np.ndarray) -> int:
    """The rule for one voxel: the highest logit that passes, but tumour over organs."""
    passing = {label: logits[label - 1] for label in NAMES if logits[label - 1] > 0}
    if TUMOR in passing:
        return TUMOR
    if not passing:
        return 0
    return max(passing, key=lambda label: (passing[label], -label))


# Few different values, so that ties and exact zeros occur.
some_logits = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.just(LABELS)),
    elements=st.sampled_from((-3.0, -1.0, -0.0, 0.0, 1e-6, 0.5, 2.0, 2.5, 40.0)),
)


@settings(deadline=None)
@given(some_logits)
def test_winners_follow_the_rule(logits_VC: np.ndarray):
    expected = [decided(logits) for logits in logits_VC]
    logits_CV = np.ascontiguousarray(logits_VC.T)
    assert winners(logits_CV).tolist() == expected
    in_torch = torch_winners(torch.from_numpy(logits_CV))
    assert in_torch.tolist() == expected
    assert winners(logits_CV).dtype == np.uint8
    assert in_torch.dtype == torch.uint8


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ({}, 0),
        ({1: 0.1}, 1),
        ({1: 0.1, 4: 0.2}, 4),
        ({1: 9.0, TUMOR: 0.01}, TUMOR),
        ({TUMOR: 0.01}, TUMOR),
        ({13: 3.0, TUMOR: 0.0}, 13),  # one half exactly does not pass
        ({5: 0.0}, 0),
    ],
)
def test_winners_by_hand(logits: dict[int, float], expected: int):
    values = np.full((LABELS, 1), -1, np.float32)
    for label, value in logits.items():
        values[label - 1] = value
    assert winners(values).tolist() == [expected]


def noise(shape: Shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(-1, 1.5, (LABELS, *shape)).astype(np.float32)


def smooth(shape: Shape, seed: int = 0) -> np.ndarray:
    """Blobs, as a trained network gives them."""
    rough = np.random.default_rng(seed).normal(0, 1, (LABELS, *shape))
    blurred = ndimage.gaussian_filter(rough, (0, 2, 2, 2))
    return (6 * blurred / blurred.std() - 3).astype(np.float32)


def enlarged(logits: np.ndarray, shape: Shape) -> np.ndarray:
    """All logits at full resolution, in double precision, by SciPy."""
    factors = [n / m for n, m in zip(shape, logits.shape[1:], strict=True)]
    return np.stack(
        [
            ndimage.zoom(channel, factors, order=1, mode="nearest", grid_mode=True)
            for channel in logits.astype(np.float64)
        ]
    )


def numpy_kind(mode: str, network: Shape, scan: Shape, region: Box) -> Decoder:
    return numpy_decoder(mode, network, scan, region)


def torch_kind(mode: str, network: Shape, scan: Shape, region: Box) -> Decoder:
    """The torch decoder, taking NumPy's arrays."""
    decoder = torch_decoder(mode, network, scan, region, CPU)

    class Converting:
        def push(self, logits: np.ndarray) -> None:
            decoder.push(torch.from_numpy(np.ascontiguousarray(logits)))

        def finish(self) -> np.ndarray:
            return decoder.finish()

    return Converting()


KINDS = {"numpy": numpy_kind, "torch": torch_kind}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> MakeDecoder:
    return KINDS[request.param]


def whole(shape: Shape) -> Box:
    z, y, x = (slice(0, n) for n in shape)
    return (z, y, x)


def decode(
    make: MakeDecoder, mode: str, logits: np.ndarray, scan: Shape, slabs: list[int] | None = None
) -> np.ndarray:
    """Push the logits in slabs of these heights, over and over; each is spoilt once pushed."""
    decoder = make(mode, logits.shape[1:], scan, whole(logits.shape[1:]))
    heights = slabs or [logits.shape[1]]
    first, turn = 0, 0
    while first < logits.shape[1]:
        slab = logits[:, first : first + heights[turn % len(heights)]].copy()
        decoder.push(slab)
        first, turn = first + slab.shape[1], turn + 1
        slab[:] = np.nan  # the accumulator will overwrite it
    labels = decoder.finish()
    assert labels.shape == scan
    assert labels.dtype == np.uint8
    return labels


CASES = {
    "up": ((12, 14, 10), (31, 40, 37)),
    "same": ((12, 14, 10), (12, 14, 10)),
    "down": ((20, 21, 22), (9, 10, 13)),
    "down and up": ((20, 8, 12), (9, 30, 12)),
    "doubled": ((10, 11, 12), (20, 22, 24)),
    "one plane": ((1, 9, 8), (5, 20, 20)),
    "one voxel": ((1, 1, 1), (2, 3, 4)),
    "to one plane": ((9, 9, 8), (1, 20, 20)),
}


@pytest.mark.parametrize("kind_of_logits", [noise, smooth])
@pytest.mark.parametrize("name", CASES)
def test_linear_equals_the_full_computation(
    make: MakeDecoder, name: str, kind_of_logits: Callable[..., np.ndarray]
):
    network, scan = CASES[name]
    logits = kind_of_logits(network)
    labels = decode(make, "linear", logits, scan)
    full = enlarged(logits, scan)
    expected = winners(full.astype(np.float32))
    differs = labels != expected
    # Only where rounding decides: two organs equally likely, or one at one half exactly.
    organs = np.sort(np.maximum(full[: TUMOR - 1], 0), axis=0)
    margin = np.minimum(organs[-1] - organs[-2], np.abs(full).min(axis=0))
    assert margin[differs].max(initial=0) < 1e-4
    assert differs.mean() < 1e-4 or differs.sum() <= 1


shapes = st.tuples(*[st.integers(1, 12)] * 3)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_slabs_make_no_difference(make: MakeDecoder, mode: str):
    @settings(max_examples=30, deadline=None)
    @given(shapes, shapes, st.lists(st.integers(1, 7), min_size=1, max_size=4))
    def check(network: Shape, scan: Shape, slabs: list[int]) -> None:
        logits = noise(network)
        np.testing.assert_array_equal(
            decode(make, mode, logits, scan, slabs), decode(make, mode, logits, scan)
        )

    check()


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@settings(max_examples=60, deadline=None)
@given(network=shapes, scan=shapes, seed=st.integers(0, 9))
def test_torch_equals_numpy(mode: str, network: Shape, scan: Shape, seed: int):
    logits = noise(network, seed)
    differs = decode(torch_kind, mode, logits, scan) != decode(numpy_kind, mode, logits, scan)
    if mode == "nearest":
        assert not differs.any()
    assert differs.sum() <= 1 + 1e-4 * differs.size  # ties


@pytest.mark.parametrize("name", CASES)
def test_nearest_is_nearest_exact_of_the_labels(make: MakeDecoder, name: str):
    network, scan = CASES[name]
    logits = noise(network)
    labels = winners(logits)
    tensor = torch.from_numpy(labels)[None, None].double()
    expected = F.interpolate(tensor, scan, mode="nearest-exact")[0, 0].numpy()
    np.testing.assert_array_equal(decode(make, "nearest", logits, scan), expected)


def test_equal_corners_need_no_interpolation_and_get_their_label(make: MakeDecoder):
    logits = np.full((LABELS, 6, 6, 6), -4, np.float32)
    logits[2, :3] = 5
    logits[6, 3:] = 5
    labels = decode(make, "linear", logits, (24, 24, 24))
    assert (labels[:12] == 3).all()
    assert (labels[12:] == 7).all()


def test_linear_needs_far_less_memory_than_the_logits():
    """14 channels at full resolution would be 14 * 4 bytes per voxel."""
    network, scan = (40, 24, 24), (200, 96, 96)
    logits = smooth(network)
    full = LABELS * 4 * int(np.prod(scan))
    decode(numpy_kind, "linear", logits, (20, 20, 20))  # what is loaded once
    tracemalloc.start()
    try:
        decode(numpy_kind, "linear", logits, scan, slabs=[4])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.1 * full


parts = st.tuples(*[st.tuples(st.integers(0, 11), st.integers(1, 12))] * 3)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_a_region_gives_what_the_whole_gives_inside_and_background_around(
    make: MakeDecoder, mode: str
):
    @settings(max_examples=60, deadline=None)
    @given(shapes, shapes, parts)
    def check(network: Shape, scan: Shape, part: tuple) -> None:
        region = tuple(
            slice(first % n, min(n, first % n + size))
            for (first, size), n in zip(part, network, strict=True)
        )
        logits = noise(network)
        decoder = make(mode, network, scan, region)
        decoder.push(logits[(slice(None), *region)].copy())
        found = decoder.finish()
        # What lies around the region has the logits of its edge, but is background.
        held = logits[(slice(None), *region)]
        padding = [(r.start, n - r.stop) for r, n in zip(region, network, strict=True)]
        held = np.pad(held, [(0, 0), *padding], mode="edge")
        expected = decode(make, mode, held, scan)
        inside = np.zeros(scan, bool)
        reach = [(2 * np.arange(m) + 1) * n // (2 * m) for n, m in zip(network, scan, strict=True)]
        inside[
            np.ix_(*((r >= p.start) & (r < p.stop) for r, p in zip(reach, region, strict=True)))
        ] = True
        np.testing.assert_array_equal(found, np.where(inside, expected, 0))

    check()


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_logits_in_bfloat16_channels_last(mode: str):
    """As OpenVINO hands them on: the same labels as from the same values in float32."""
    network, scan = (9, 14, 10), (21, 33, 25)
    for make_logits in (noise, smooth):
        bits = (make_logits(network).view(np.uint32) >> 16).astype(np.uint16)
        rounded = (bits.astype(np.uint32) << 16).view(np.float32)
        last = np.moveaxis(np.ascontiguousarray(np.moveaxis(bits, 0, -1)), -1, 0)
        decoder = numpy_decoder(mode, network, scan, whole(network))
        decoder.push(last[:, :4])
        decoder.push(last[:, 4:])
        np.testing.assert_array_equal(decoder.finish(), decode(numpy_kind, mode, rounded, scan))


def test_interpolating_some_places_or_all_is_the_same(monkeypatch: pytest.MonkeyPatch):
    """The two ways of LinearDecoder round alike, bit by bit."""
    from inference.steps import decode as module

    for logits in (noise((9, 14, 10)), smooth((9, 14, 10))):
        ways = []
        for share in (-1.0, 2.0):
            monkeypatch.setattr(module, "_DENSE", share)
            ways.append(decode(numpy_kind, "linear", logits, (20, 37, 31)))
        np.testing.assert_array_equal(*ways)


def test_the_kernels_arithmetic_equals_numpy(tmp_path_factory: pytest.TempPathFactory):
    """The CUDA kernel's rule for one voxel, compiled by gcc, in whatever layout logits come."""
    folder = tmp_path_factory.mktemp("kernel")
    decide = compiled(folder, DECIDE_SOURCE, "__device__=", "LOGIT=float").abdobox_decide
    decide.restype = ctypes.c_ubyte

    class ByKernel(CupyLinearDecoder):
        def _decide(self, planes: torch.Tensor, z: Taps) -> torch.Tensor:
            values = planes.numpy()
            strides = [ctypes.c_longlong(stride // 4) for stride in values.strides]
            axes = (z, *(Taps(*(tap.numpy() for tap in taps)) for taps in (self._y, self._x)))

            def at(*index: int) -> int:
                near = [
                    value
                    for taps, i in zip(axes, index, strict=True)
                    for value in (int(taps.lower[i]), int(taps.upper[i]),
                                  ctypes.c_float(taps.fraction[i]))
                ]  # fmt: skip
                pointer = values.ctypes.data_as(ctypes.c_void_p)
                return decide(pointer, LABELS, TUMOR, *strides, *near)

            sizes = [len(taps.lower) for taps in axes]
            found = [at(*index) for index in np.ndindex(*sizes)]
            return torch.tensor(found, dtype=torch.uint8).reshape(sizes)

    for name, logits in (("up", noise((6, 7, 5))), ("down", smooth((6, 7, 5)))):
        scan = (9, 12, 11) if name == "up" else (4, 5, 9)
        for last in (False, True):
            tensor = torch.from_numpy(logits)
            if last:
                tensor = tensor.movedim(0, -1).contiguous().movedim(-1, 0)
            decoder = ByKernel((6, 7, 5), scan, whole((6, 7, 5)), CPU)
            decoder.push(tensor)
            expected = decode(numpy_kind, "linear", logits, scan)
            np.testing.assert_array_equal(decoder.finish(), expected)
