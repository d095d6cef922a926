"""Resampling: NumPy, torch and the CUDA kernel's C source, held against SciPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.engines.cupy_steps import SAMPLE_SOURCE
from inference.engines.torch_steps import resample_image as torch_resample
from inference.model.description import Intensity
from inference.steps.resample import gather_labels, linear_taps, nearest_taps, resample_image
from tests.inference.gcc import compiled

HU = Intensity(lower=-160.0, upper=240.0, mean=83.5, std=61.25)
RANGE = (HU.upper - HU.lower) / HU.std
TOLERANCE = 1e-4 * RANGE

Shape = tuple[int, int, int]
Resample = Callable[[np.ndarray, Shape], np.ndarray]

shapes = st.tuples(*[st.integers(1, 23)] * 3)
dtypes = st.sampled_from(("int16", "float32"))
few = settings(max_examples=60, deadline=None)


def scan(shape: Shape, dtype: str, seed: int = 0) -> np.ndarray:
    """Values in and out of the clipping range."""
    values = np.random.default_rng(seed).uniform(-700, 800, shape)
    return (values if dtype == "float32" else np.round(values)).astype(dtype)


def reference(image: np.ndarray, shape: Shape) -> np.ndarray:
    """SciPy's edge-aligned linear zoom of the clipped and normalised scan, in double precision."""
    normalised = (np.clip(image.astype(np.float64), HU.lower, HU.upper) - HU.mean) / HU.std
    factors = [n / m for n, m in zip(shape, image.shape, strict=True)]
    zoomed = ndimage.zoom(normalised, factors, order=1, mode="nearest", grid_mode=True)
    assert zoomed.shape == shape
    return zoomed


def by_numpy(image: np.ndarray, shape: Shape) -> np.ndarray:
    return resample_image(image, HU, shape)


def by_torch(image: np.ndarray, shape: Shape) -> np.ndarray:
    return torch_resample(image, HU, shape, torch.device("cpu")).numpy()


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    """The kernel's arithmetic by the type of its voxels, compiled for the CPU by gcc."""
    folder = tmp_path_factory.mktemp("kernel")
    loops = """
    void resample(const VOXEL* image, float* out, int nz, int ny, int nx, int mz, int my, int mx,
                  float low, float high, float mean, float scale)
    {
        for (int z = 0; z < mz; ++z) for (int y = 0; y < my; ++y) for (int x = 0; x < mx; ++x)
            out[((long long)z * my + y) * mx + x] = abdobox_sample(
                image, nz, ny, nx, mz, my, mx, z, y, x, low, high, mean, scale);
    }
    void taps(int n_in, int n_out, int* lower, int* upper, float* fraction)
    {
        for (int i = 0; i < n_out; ++i)
            abdobox_tap(i, n_in, n_out, lower + i, upper + i, fraction + i);
    }
    """
    return {
        dtype: compiled(folder, SAMPLE_SOURCE + loops, "__device__=", f"VOXEL={voxel}")
        for dtype, voxel in (("int16", "short"), ("float32", "float"))
    }


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.fixture
def by_kernel(kernels: dict[str, ctypes.CDLL]) -> Resample:
    def run(image: np.ndarray, shape: Shape) -> np.ndarray:
        image = np.ascontiguousarray(image)
        out = np.full(shape, np.nan, np.float32)
        values = (HU.lower, HU.upper, HU.mean, 1.0 / HU.std)
        kernels[image.dtype.name].resample(
            pointer(image),
            pointer(out),
            *(ctypes.c_int(n) for n in (*image.shape, *shape)),
            *(ctypes.c_float(v) for v in values),
        )
        return out

    return run


@pytest.fixture(params=["numpy", "torch", "kernel"])
def resample(request: pytest.FixtureRequest) -> Resample:
    if request.param == "kernel":
        return request.getfixturevalue("by_kernel")
    return {"numpy": by_numpy, "torch": by_torch}[request.param]


SIZES: dict[str, tuple[Shape, Shape]] = {
    "same": ((7, 9, 11), (7, 9, 11)),
    "down": ((20, 31, 33), (7, 16, 11)),
    "up": ((5, 7, 9), (13, 14, 20)),
    "down and up": ((30, 8, 21), (11, 19, 21)),
    "from one slice": ((1, 12, 10), (6, 5, 9)),
    "to one slice": ((9, 12, 10), (1, 5, 20)),
    "from one voxel": ((1, 1, 1), (3, 4, 5)),
    "primes": ((17, 19, 23), (13, 29, 7)),
    "many slices": ((70, 6, 5), (41, 5, 6)),
}


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("name", SIZES)
def test_equals_scipy(resample: Resample, name: str, dtype: str):
    before, after = SIZES[name]
    image = scan(before, dtype)
    result = resample(image, after)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, reference(image, after), atol=TOLERANCE)


@few
@given(shapes, shapes, dtypes, st.integers(0, 99))
def test_numpy_equals_scipy_on_any_sizes(before: Shape, after: Shape, dtype: str, seed: int):
    image = scan(before, dtype, seed)
    np.testing.assert_allclose(by_numpy(image, after), reference(image, after), atol=TOLERANCE)


@few
@given(shapes, shapes, dtypes, st.integers(0, 99))
def test_torch_equals_scipy_on_any_sizes(before: Shape, after: Shape, dtype: str, seed: int):
    image = scan(before, dtype, seed)
    np.testing.assert_allclose(by_torch(image, after), reference(image, after), atol=TOLERANCE)


def test_kernel_equals_scipy_on_any_sizes(by_kernel: Resample):
    @few
    @given(shapes, shapes, dtypes, st.integers(0, 99))
    def check(before: Shape, after: Shape, dtype: str, seed: int) -> None:
        image = scan(before, dtype, seed)
        np.testing.assert_allclose(by_kernel(image, after), reference(image, after), atol=TOLERANCE)

    check()


def test_kernel_reads_the_slices_that_it_is_given(kernels: dict[str, ctypes.CDLL]):
    """A part of the scan is brought to the device, from the lowest to the highest slice by NumPy's
    account: the kernel must not come to another."""
    # Positions that are whole numbers, but for their rounding.
    lengths = [(342, 150), (285, 125), (399, 175), (684, 300), (195, 291), (12, 44), (36, 132)]
    lengths += [(n, m) for n in range(1, 90, 4) for m in range(1, 90)]
    for n_in, n_out in lengths:
        lower, upper = np.empty(n_out, np.int32), np.empty(n_out, np.int32)
        fraction = np.empty(n_out, np.float32)
        kernels["int16"].taps(n_in, n_out, *map(pointer, (lower, upper, fraction)))
        for ours, expected in zip((lower, upper, fraction), linear_taps(n_in, n_out), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_long_axes_lose_no_precision(resample: Resample):
    """In single precision, positions on a long axis would be off by 1e-4 of a voxel and more."""
    image = scan((2, 3, 4999), "int16")
    shape = (2, 3, 2713)
    np.testing.assert_allclose(resample(image, shape), reference(image, shape), atol=3 * TOLERANCE)


def test_views_need_no_copy(resample: Resample):
    image = scan((9, 10, 11), "int16")
    for view in (image[::-1], image[:, ::-1, ::-1], image.transpose(2, 0, 1), image.T[:, ::-1]):
        shape = (6, 7, 13)
        np.testing.assert_array_equal(resample(view, shape), resample(view.copy(), shape))


def test_the_scan_is_left_as_it_was(resample: Resample):
    image = scan((9, 10, 11), "float32")
    kept = image.copy()
    resample(image, (9, 5, 6))
    np.testing.assert_array_equal(image, kept)


def test_values_are_clipped_before_they_are_interpolated(resample: Resample):
    """Metal of 3000 HU beside air must not bleed further than the clip's upper limit does."""
    image = np.array([-1000, 3000], np.int16).reshape(1, 1, 2)
    result = resample(image, (1, 1, 4))[0, 0] * HU.std + HU.mean
    np.testing.assert_allclose(result, [-160, -60, 140, 240], atol=1e-3)


@given(st.integers(1, 400), st.integers(1, 400))
def test_taps_interpolate_at_the_edge_aligned_position(n_in: int, n_out: int):
    taps = linear_taps(n_in, n_out)
    for i in range(n_out):
        exact = Fraction(2 * i + 1, 2) * n_in / n_out - Fraction(1, 2)
        exact = min(max(exact, Fraction(0)), Fraction(n_in - 1))
        lower, upper, fraction = taps.lower[i], taps.upper[i], float(taps.fraction[i])
        assert 0 <= lower <= upper <= min(lower + 1, n_in - 1)
        assert lower + (upper - lower) * fraction == pytest.approx(float(exact), abs=1e-5)


@given(st.integers(1, 400), st.integers(1, 400))
def test_nearest_is_exact_in_rational_arithmetic(n_in: int, n_out: int):
    """The voxel that holds the sample's place; on the edge of two, the upper one."""
    expected = [int(Fraction(2 * i + 1, 2) * n_in / n_out) for i in range(n_out)]
    np.testing.assert_array_equal(nearest_taps(n_in, n_out), expected)


def gathered(labels: np.ndarray, shape: Shape) -> np.ndarray:
    """Labels brought to another grid as the decoder does it; nothing is left unfilled."""
    out = np.full(shape, 255, np.uint8)
    taps = (nearest_taps(n, m) for n, m in zip(labels.shape, shape, strict=True))
    gather_labels(labels, *taps, out)
    return out


@few
@given(shapes, shapes, dtypes, st.data())
def test_a_region_is_that_part_of_all(before: Shape, after: Shape, dtype: str, data: st.DataObject):
    image = scan(before, dtype)
    ends = (data.draw(st.tuples(*[st.integers(0, n)] * 2).filter(lambda e: e[0] != e[1]))
            for n in after)  # fmt: skip
    z, y, x = (slice(min(e), max(e)) for e in ends)
    expected = by_numpy(image, after)[z, y, x]
    np.testing.assert_array_equal(resample_image(image, HU, after, (z, y, x)), expected)
    by_slabs = torch_resample(image, HU, after, torch.device("cpu"), (z, y, x))
    np.testing.assert_allclose(by_slabs.numpy(), expected, atol=TOLERANCE)


@few
@given(shapes, shapes)
def test_labels_equal_torchs_nearest_exact(before: Shape, after: Shape):
    labels = np.random.default_rng(1).integers(0, 15, before).astype(np.uint8)
    # In double precision: torch places samples in the precision of its input.
    tensor = torch.from_numpy(labels)[None, None].double()
    expected = F.interpolate(tensor, after, mode="nearest-exact")[0, 0].numpy()
    # Where a sample falls on the edge of two voxels, rounding decides in torch.
    edge = np.zeros(after, bool)
    for axis, (n_in, n_out) in enumerate(zip(before, after, strict=True)):
        on_edge = np.array([(2 * i + 1) * n_in % (2 * n_out) == 0 for i in range(n_out)])
        edge |= on_edge.reshape([-1 if a == axis else 1 for a in range(3)])
    np.testing.assert_array_equal(gathered(labels, after)[~edge], expected[~edge])


def test_labels_of_flipped_views():
    labels = np.random.default_rng(1).integers(0, 15, (5, 6, 7)).astype(np.uint8)
    view = labels.transpose(1, 2, 0)[::-1]
    np.testing.assert_array_equal(gathered(view, (9, 4, 11)), gathered(view.copy(), (9, 4, 11)))


@given(shapes)
def test_labels_on_their_own_grid_stay(shape: Shape):
    labels = np.random.default_rng(1).integers(0, 15, shape).astype(np.uint8)
    np.testing.assert_array_equal(gathered(labels, shape), labels)


@given(shapes, st.tuples(*[st.integers(1, 3)] * 3))
def test_labels_enlarged_by_whole_numbers_are_repeated(shape: Shape, factors: Shape):
    labels = np.random.default_rng(1).integers(0, 15, shape).astype(np.uint8)
    after = tuple(n * f for n, f in zip(shape, factors, strict=True))
    np.testing.assert_array_equal(
        gathered(labels, after), np.kron(labels, np.ones(factors, np.uint8))
    )
