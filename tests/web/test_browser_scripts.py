"""The browser's reading, resampling and windows, against the box's, on made headers and arrays."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.onnx_segment import resampled
from inference.errors import ScanError
from inference.grid import Grid
from inference.scan.volume import read_volume
from inference.steps.windows import importance, mirror_index, window_starts
from tests.chromium import chromium
from tests.inference.nifti_files import nifti_bytes
from tests.inference.orientations import AXIS_ALIGNED, rotation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SCRIPTS = Path(__file__).parents[2] / "web" / "browser"
SPACING = (5.0, 2.0, 1.0)


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium() as browser:
        page = browser.new_page()
        for name in ("volume.js", "segment.js"):
            page.add_script_tag(path=SCRIPTS / name)
        yield page


READ = """async (files) => {
  const answers = [];
  for (const file of files) {
    const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
    try {
      const scan = await readScan(bytes);
      const { shape, spacing, steps, first, stored, slope, intercept } = scan;
      const hu = [];
      for (let k = 0; k < shape[0]; k++)
        for (let j = 0; j < shape[1]; j++)
          for (let i = 0; i < shape[2]; i++)
            hu.push(stored[first + k * steps[0] + j * steps[1] + i * steps[2]] * slope + intercept);
      answers.push({ shape, spacing, hu });
    } catch (error) {
      answers.push({ refused: String(error.message), known: error instanceof ScanError });
    }
  }
  return answers;
}"""


def read(page: Any, files: list[bytes]) -> list[dict[str, Any]]:
    return page.evaluate(READ, [base64.b64encode(file).decode() for file in files])


def srow(matrix: np.ndarray) -> tuple[float, ...]:
    """Of unit columns (x, y, z)."""
    scaled = matrix * np.array(SPACING[::-1])
    return tuple(np.column_stack((scaled, (-10, -20, 30))).ravel())


def made_files() -> list[bytes]:
    """Headers with qform and sform of every kind, agreeing or not."""
    rng = np.random.default_rng(0)
    kinds = ("uint8", "int16", "int32", "float32", "float64", "int8", "uint16", "uint32")
    files = []
    for number in range(400):
        voxels = rng.integers(0, 100, (3, 4, 5)).astype(kinds[number % len(kinds)])
        aligned = np.array(AXIS_ALIGNED[number % 48]).reshape(3, 3)
        sform = aligned if number % 3 else rotation(tuple(rng.normal(size=4)))
        if number % 7 == 0:  # sheared, up to what no one takes
            sform = sform + rng.normal(0, 10.0 ** rng.uniform(-6, -1), (3, 3))
        quatern = rng.normal(size=3)
        quatern *= rng.uniform(0, 1) / np.linalg.norm(quatern)
        files.append(
            nifti_bytes(
                voxels,
                SPACING,
                big_endian=bool(number % 2),
                qform_code=int(rng.integers(0, 3)),
                sform_code=int(rng.integers(0, 3)),
                quatern=tuple(quatern),
                srow=srow(sform),
                pixdim=(float(rng.choice([-1, 1])), 1, 2, 5, 1, 1, 1, 1),
                # Some of a unit that is none, some with an intercept that is no number.
                xyzt_units=int(rng.choice([0, 2, 2, 3 if number % 50 == 0 else 2, 5])),
                scl_slope=float(rng.choice([0, 1, 2, np.nan])),
                scl_inter=float(rng.choice([0, -50, np.nan if number % 20 == 0 else 0])),
            )
        )
    return files


def test_scans_are_read_and_turned_as_the_box_does(page: Any, tmp_path: Path):
    files = made_files()
    refused = 0
    for number, (file, found) in enumerate(zip(files, read(page, files), strict=True)):
        path = tmp_path / "a.nii"
        path.write_bytes(file)
        try:
            volume = read_volume(path)
        except ScanError as error:
            assert found.get("known"), (number, str(error), found)
            refused += 1
            continue
        assert "refused" not in found, (number, found)
        image, grid = volume.canonical()
        assert tuple(found["shape"]) == image.shape, number
        np.testing.assert_allclose(found["spacing"], grid.spacing, rtol=1e-6)
        assert np.array_equal(np.array(found["hu"]), image.ravel()), number
    assert 0 < refused < 60


def test_the_networks_grid(page: Any):
    rng = np.random.default_rng(1)
    # 2.5 and 3.5 voxels among them: Python rounds halves to the even number.
    cases = [((5, 7, 9), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))]
    for _ in range(200):
        shape = tuple(int(n) for n in rng.integers(1, 600, 3))
        spacings = [tuple(float(s) for s in rng.uniform(0.3, 8, 3)) for _ in range(2)]
        cases.append((shape, *spacings))
    found = page.evaluate(
        "(cases) => cases.map(([shape, spacing, to]) => networkShape({ shape, spacing }, to))",
        cases,
    )
    wanted = [[*Grid(shape, spacing).resampled_shape(to)] for shape, spacing, to in cases]
    assert found == wanted


def test_windows(page: Any):
    sizes = [(size, window) for window in (16, 80, 96) for size in range(window, 4 * window, 7)]
    found = page.evaluate("(sizes) => sizes.map(([size, window]) => starts(size, window))", sizes)
    assert found == [window_starts(size, window, 0.5) for size, window in sizes]
    sizes = [(size, window) for window in (16, 96) for size in (1, 2, 5, 15, 16, 40, 95, 97)]
    found = page.evaluate(
        "(sizes) => sizes.map((size) => mirrored(...size)).map((m) => [[...m.index], m.before])",
        sizes,
    )
    for size, (index, before) in zip(sizes, found, strict=True):
        wanted, first = mirror_index(*size)
        assert (index, before) == ([*wanted], first), size
    weights = page.evaluate("[...gaussian([8, 16, 32])]")
    np.testing.assert_allclose(weights, importance((8, 16, 32)).ravel(), rtol=1e-6)


IMAGE = """([values, shape, to, model]) => {
  const [, ny, nx] = shape;
  const scan = { shape, stored: Int16Array.from(values), first: 0, steps: [ny * nx, nx, 1] };
  return [...networkImage({ ...scan, slope: 1, intercept: 0 }, to, model)];
}"""
DECIDED = """([values, shape, to, channels]) => {
  const [nz, ny, nx] = to;
  const scan = { shape: to, stored: new Int16Array(nz * ny * nx), first: nz * ny * nx - 1 };
  const backwards = { ...scan, steps: [-ny * nx, -nx, -1] };
  return [...decided(Float32Array.from(values), shape, backwards, channels)];
}"""


@pytest.mark.parametrize("to", [(7, 9, 5), (3, 20, 11), (1, 1, 1), (6, 8, 10)])
def test_resampling(page: Any, to: tuple[int, int, int]):
    rng = np.random.default_rng(2)
    image = rng.integers(-1024, 1500, (6, 8, 10)).astype(np.int16)
    model = {"clip_hu": [-900, 300], "mean_hu": 80.0, "std_hu": 110.0}
    found = page.evaluate(IMAGE, [image.ravel().tolist(), image.shape, to, model])
    wanted = np.clip(image.astype(np.float32), -900, 300)
    for axis, n in enumerate(to):
        wanted = resampled(wanted, axis, n)
    np.testing.assert_allclose(found, ((wanted - 80) / 110).ravel(), atol=1e-4)


@pytest.mark.parametrize("to", [(11, 17, 9), (4, 5, 6), (2, 9, 3)])
def test_decisions(page: Any, to: tuple[int, int, int]):
    """Also where the scan is stored backwards; smooth logits, so that organs have insides."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (4, 2, 3, 3)).astype(np.float32)
    for axis, n in enumerate((4, 5, 6), 1):
        logits = resampled(logits, axis, n)
    found = page.evaluate(DECIDED, [logits.ravel().tolist(), logits.shape[1:], to, 4])
    enlarged = logits
    for axis, n in enumerate(to, 1):
        enlarged = resampled(enlarged, axis, n)
    wanted = np.where(enlarged.max(axis=0) > 0, enlarged.argmax(axis=0) + 1, 0)
    wanted = np.where(enlarged[-1] > 0, 4, wanted)
    assert len(np.unique(wanted)) >= 4
    assert np.array_equal(np.array(found).reshape(to)[::-1, ::-1, ::-1], wanted)
