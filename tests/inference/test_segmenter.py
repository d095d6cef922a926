"""The whole way of one scan: the same patient gives the same mask, however the scan is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference import Segmenter
from inference.errors import ModelError, OutputError, ScanError
from inference.grid import Direction, Grid
from inference.model.description import ModelDescription
from inference.scan.volume import Volume, read_labels, read_volume
from inference.steps.resample import resample_image
from inference.steps.windows import importance, window_starts
from phantom import Phantom, make_phantom
from tests.inference.orientations import AXIS_ALIGNED


@pytest.fixture(scope="module")
def segmenter(tiny_model: Path) -> Segmenter:
    return Segmenter.load(tiny_model, "cpu")


@pytest.fixture(scope="module")
def small() -> Phantom:
    """All axes of different length, none a multiple of the network's spacing."""
    return make_phantom((20, 34, 41), (10.0, 9.0, 8.5), seed=4)


@pytest.fixture(scope="module")
def labels(segmenter: Segmenter, small: Phantom) -> np.ndarray:
    """The phantom's labels in LPS order."""
    result = segmenter.segment(Volume.of_array(small.image_ZYX, small.grid)).labels
    assert len(np.unique(result)) > 5
    return result


def reoriented(image_ZYX: np.ndarray, grid: Grid, direction: Direction) -> tuple[np.ndarray, Grid]:
    """The same voxels at the same places, with the axes along ``direction``. By SimpleITK."""
    image = sitk.GetImageFromArray(image_ZYX)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    matrix = np.array(direction).reshape(3, 3)
    # Axis c of the new array is the patient's axis with this row.
    order = [int(np.flatnonzero(matrix[:, c])[0]) for c in range(3)]
    turned = sitk.PermuteAxes(image, order)
    signs = [bool(matrix[row, c] < 0) for c, row in enumerate(order)]
    turned = sitk.Flip(turned, signs, False)
    voxels = sitk.GetArrayFromImage(turned)
    return voxels, Grid(
        voxels.shape, turned.GetSpacing()[::-1], turned.GetOrigin(), turned.GetDirection()
    )


@pytest.mark.parametrize(
    "direction",
    [
        d if i % 4 == 1 else pytest.param(d, marks=pytest.mark.slow)
        for i, d in enumerate(AXIS_ALIGNED)
    ],
)
def test_every_orientation_gives_the_identical_physical_mask(
    segmenter: Segmenter, small: Phantom, labels: np.ndarray, direction: Direction
):
    voxels, grid = reoriented(small.image_ZYX, small.grid, direction)
    np.testing.assert_allclose(grid.direction, direction, atol=1e-12)
    result = segmenter.segment(Volume.of_array(voxels, grid))
    expected, _ = reoriented(labels, small.grid, direction)
    np.testing.assert_array_equal(result.labels, expected)
    assert result.grid == grid
    assert result.labels.flags.c_contiguous


def test_slightly_oblique_scans_are_segmented_as_if_they_were_straight(
    segmenter: Segmenter, small: Phantom, labels: np.ndarray
):
    turn = np.deg2rad(8)
    direction = (np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0, 0, 0, 1)
    grid = Grid(
        small.grid.shape, small.grid.spacing, small.grid.origin, tuple(map(float, direction))
    )
    np.testing.assert_array_equal(
        segmenter.segment(Volume.of_array(small.image_ZYX, grid)).labels, labels
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_the_type_of_the_voxels_does_not_matter(
    segmenter: Segmenter, small: Phantom, labels: np.ndarray, dtype: str
):
    volume = Volume.of_array(small.image_ZYX.astype(dtype), small.grid)
    np.testing.assert_array_equal(segmenter.segment(volume).labels, labels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("given", ["path", "text", "volume", "image"])
def test_the_file_format_does_not_matter(
    request: pytest.FixtureRequest, tmp_path: Path, suffix: str, given: str
):
    segmenter, small, labels = map(request.getfixturevalue, ("segmenter", "small", "labels"))
    image = sitk.GetImageFromArray(small.image_ZYX)
    image.SetSpacing(small.grid.spacing[::-1])
    image.SetOrigin(small.grid.origin)
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image, str(path))
    forms = {
        "path": path,
        "text": str(path),
        "volume": read_volume(path),
        "image": sitk.ReadImage(str(path)),
    }
    result = segmenter.segment(forms[given])
    np.testing.assert_array_equal(result.labels, labels)
    result.write(tmp_path / "labels.nii.gz")
    written, grid = read_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(written, labels)
    np.testing.assert_allclose(grid.origin, small.grid.origin, rtol=1e-6)
    np.testing.assert_allclose(grid.spacing, small.grid.spacing, rtol=1e-6)


def slow_logits(segmenter: Segmenter, phantom: Phantom, step: float) -> np.ndarray:
    """Logits on the network's grid, step by step: pad by mirroring, all windows, dense sums."""
    description = segmenter.description
    shape = phantom.grid.resampled_shape(description.spacing)
    image = resample_image(phantom.image_ZYX, description.intensity, shape)
    missing = [max(0, p - n) for p, n in zip(description.patch, shape, strict=True)]
    padding = [(m // 2, m - m // 2) for m in missing]
    image = np.pad(image, padding, mode="symmetric")
    total = np.zeros((14, *image.shape))
    weights = np.zeros(image.shape)
    weight = importance(description.patch).astype(np.float64)
    axes = [window_starts(n, p, step) for n, p in zip(image.shape, description.patch, strict=True)]
    for z in axes[0]:
        for y in axes[1]:
            for x in axes[2]:
                inside = tuple(
                    slice(s, s + p) for s, p in zip((z, y, x), description.patch, strict=True)
                )
                logits = segmenter.network.forward([np.ascontiguousarray(image[inside])])[0]
                total[(slice(None), *inside)] += logits * weight
                weights[inside] += weight
    cropped = tuple(slice(a, n - b) for (a, b), n in zip(padding, image.shape, strict=True))
    return (total / weights)[(slice(None), *cropped)]


SHAPES = {
    "thinner than the window": ((9, 60, 44), (5.0, 6.0, 7.0)),
    "smaller everywhere": ((10, 12, 14), (12.0, 13.0, 14.0)),
    "two slices": ((2, 40, 40), (5.0, 8.0, 8.0)),
    "long": ((60, 34, 30), (8.0, 8.0, 8.0)),
    "coarse": ((15, 40, 30), (20.0, 8.0, 8.0)),
}


@pytest.mark.parametrize("device", ["cpu", pytest.param("torch-cpu", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SHAPES)
def test_equals_the_slow_way(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, device: str, name: str
):
    """Every window, dense sums, logits enlarged by SciPy: what the streaming is a short cut for."""
    from inference import pipeline as module
    from inference.steps.decode import winners
    from tests.inference.steps.test_decode import enlarged

    monkeypatch.setattr(module, "body_mask", lambda image, *_: np.ones(image.shape, bool))
    phantom = make_phantom(*SHAPES[name], seed=5)
    logits = slow_logits(Segmenter.load(tiny_model, "cpu", precision="f32"), phantom, 0.5)
    expected = winners(enlarged(logits, phantom.grid.shape).astype(np.float32))
    volume = Volume.of_array(phantom.image_ZYX, phantom.grid)
    segmenter = Segmenter.load(tiny_model, device, precision="f32")
    result = segmenter.segment(volume, decode="linear", step=0.5)
    assert len(np.unique(expected)) > 5
    assert (result.labels == expected).mean() > (0.9999 if device == "cpu" else 0.998)


def test_decode_and_step_are_the_callers_or_the_models(
    make_model: Callable[..., Path], small: Phantom
):
    volume = Volume.of_array(small.image_ZYX, small.grid)
    linear = Segmenter.load(make_model("linear", decode="linear", step=0.2), "cpu")
    nearest = Segmenter.load(make_model("nearest", decode="nearest", step=1.0), "cpu")
    by_default = nearest.segment(volume)
    named = linear.segment(volume, decode="nearest", step=1.0)
    np.testing.assert_array_equal(by_default.labels, named.labels)
    assert by_default.windows == named.windows < linear.segment(volume).windows
    assert (linear.segment(volume).labels != by_default.labels).any()


def test_windows_cut_to_the_patient(make_model: Callable[..., Path], phantom: Phantom):
    """Fewer windows, one label for every voxel, and the same in every orientation."""
    segmenter = Segmenter.load(make_model("fit", step=None), "cpu")
    result = segmenter.segment(Volume.of_array(phantom.image_ZYX, phantom.grid))
    sliding = segmenter.segment(Volume.of_array(phantom.image_ZYX, phantom.grid), step=0.5)
    assert result.windows < sliding.windows
    assert len(np.unique(result.labels)) > 5
    turned = (0.0, -1.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0)
    voxels, grid = reoriented(phantom.image_ZYX, phantom.grid, turned)
    expected, _ = reoriented(result.labels, phantom.grid, turned)
    again = segmenter.segment(Volume.of_array(voxels, grid))
    np.testing.assert_array_equal(again.labels, expected)


@pytest.mark.parametrize(
    "wrong", [{"decode": "cubic"}, {"step": 0.0}, {"step": 1.1}, {"step": -1.0}]
)
def test_wrong_options_are_mistakes(segmenter: Segmenter, small: Phantom, wrong: dict):
    with pytest.raises(ValueError, match="out of range"):
        segmenter.segment(Volume.of_array(small.image_ZYX, small.grid), **wrong)


def test_timings_windows_and_warnings_are_told(segmenter: Segmenter, small: Phantom):
    shifted = Volume.of_array(small.image_ZYX + np.int16(1024), small.grid)
    result = segmenter.segment(shifted)
    stages = {"read", "resample", "body", "waiting", "compile"}
    stages |= {"network", "accumulate", "decode", "orient"}
    assert set(result.timings) == stages
    assert all(seconds >= 0 for seconds in result.timings.values())
    assert result.windows > 0
    assert any("1024" in warning for warning in result.warnings)


def test_a_segmenter_keeps_nothing_of_the_last_scan(
    segmenter: Segmenter, small: Phantom, labels: np.ndarray, phantom: Phantom
):
    segmenter.segment(Volume.of_array(phantom.image_ZYX, phantom.grid))
    again = segmenter.segment(Volume.of_array(small.image_ZYX, small.grid))
    np.testing.assert_array_equal(again.labels, labels)


def test_the_scan_in_memory_is_left_as_it_was(segmenter: Segmenter, small: Phantom):
    for dtype in (np.int16, np.float32):
        voxels = small.image_ZYX.astype(dtype)
        segmenter.segment(Volume.of_array(voxels, small.grid))
        np.testing.assert_array_equal(voxels, small.image_ZYX)


def test_images_that_are_no_scan(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    colours = sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True)
    flat = sitk.GetImageFromArray(np.zeros((4, 5), np.int16))
    constant = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    for image in (colours, flat, constant, tmp_path / "missing.nii.gz"):
        with pytest.raises(ScanError):
            segmenter.segment(image)
    monkeypatch.chdir(tmp_path)
    for name in ("README.md", "README"):
        Path(name).write_text("No scan.")
        with pytest.raises(ScanError, match=r"is no scan: its name ends in none of \.nii\.gz"):
            segmenter.segment(name)
    with pytest.raises(ScanError, match="holds no CT series"):  # a folder, this one
        segmenter.segment("")


@pytest.mark.parametrize("image", [np.zeros((4, 5, 6), np.int16), None, 3, b"a.nii.gz"])
def test_what_is_neither_path_nor_image(segmenter: Segmenter, image: object):
    words = (
        rf"a scan is a file's path, a Volume .* or a SimpleITK image, not {type(image).__name__}"
    )
    with pytest.raises(TypeError, match=words):
        segmenter.segment(image)


def test_labels_are_written_under_no_other_formats_name(
    segmenter: Segmenter, small: Phantom, tmp_path: Path
):
    result = segmenter.segment(Volume.of_array(small.image_ZYX, small.grid))
    for name in ("a.nii", "a.nrrd", "a"):
        with pytest.raises(OutputError, match=r"is no name for labels; end it in \.nii\.gz"):
            result.write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    result.write(str(tmp_path / "A.NII.GZ"))


def test_loading_a_damaged_model(make_model: Callable[..., Path], tmp_path: Path):
    folder = make_model()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match="SHA-256"):
        Segmenter.load(folder, "cpu")
    with pytest.raises(ModelError):
        Segmenter.load(tmp_path / "nothing", "cpu")


def test_loading_from_a_folder_of_models(make_model: Callable[..., Path]):
    folder = make_model("one").parent
    make_model("two", version="7")
    (folder / "default").write_text("one\n")
    assert Segmenter.load(folder, "cpu").description.version == "0"
    assert Segmenter.load(folder, "cpu", model="two").description.version == "7"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["totalsegmentator_slab", "cptac_pda_c3l_00189"])
def test_real_scans(tiny_model: Path, shared_data: Path, tmp_path: Path, name: str):
    """Read, segmented and written with their geometry; a random model finds no sense in them."""
    path = shared_data / "ct" / f"{name}_0000.nii.gz"
    result = Segmenter.load(tiny_model, "cpu").segment(path)
    result.write(tmp_path / "a.nii.gz")
    scan, written = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(written, what)() == getattr(scan, what)()


def test_the_description_is_at_hand(segmenter: Segmenter, tiny_model: Path):
    assert segmenter.description == ModelDescription.load(tiny_model)
    assert segmenter.folder == tiny_model
