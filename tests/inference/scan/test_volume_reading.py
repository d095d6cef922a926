"""Reading: the same voxels in the same places as SimpleITK, on any sound header."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import ScanError
from inference.grid import Grid
from inference.scan import encoded
from inference.scan.volume import Volume, read_labels, read_volume
from tests.inference.nifti_files import nifti_bytes, scan_voxels, write_nifti
from tests.inference.orientations import AXIS_ALIGNED, rotation, rotations

DTYPES = ("int16", "uint16", "uint8", "int8", "int32", "uint32", "float32", "float64")
SCALES = ((1.0, 0.0), (0.0, 0.0), (1.0, -1024.0), (2.0, -1024.0), (0.5, -10.25), (-1.0, 3.0))
per_example = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_equals_simpleitk(path: Path) -> Volume:
    volume = read_volume(path)
    image = sitk.ReadImage(str(path))
    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    expected = sitk.GetArrayFromImage(image)
    np.testing.assert_allclose(volume.voxels_ZYX, expected, rtol=1e-6, atol=1e-4)
    assert volume.grid.shape == expected.shape
    np.testing.assert_allclose(volume.grid.spacing[::-1], image.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(volume.grid.origin, image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(volume.grid.direction, image.GetDirection(), atol=2e-5)
    return volume


@st.composite
def rotations_and_flips(draw: st.DrawFn) -> np.ndarray:
    """Axis-aligned, oblique and left-handed directions."""
    if draw(st.booleans()):
        return np.array(draw(st.sampled_from(AXIS_ALIGNED))).reshape(3, 3)
    return draw(rotations()) * (1, 1, draw(st.sampled_from((1, -1))))


@st.composite
def sound_files(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    """Suffix and contents of a NIfTI-1 or NIfTI-2 file, and its twin in NIfTI-1.

    The twin is for SimpleITK, which reads no NIfTI-2. nibabel's header classes lay both out.
    """
    big = draw(st.booleans())
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape_ZYX = draw(st.tuples(*[st.integers(2, 5)] * 3))
    limits = (-20000, 20000) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    voxels = rng.uniform(limits[0] / 2, limits[1] / 2, shape_ZYX).astype(dtype)
    voxels.flat[:2] = (1, 2)  # never constant
    frames = draw(st.sampled_from(((), (1,), (1, 1))))
    spacing = draw(st.tuples(*[st.floats(0.05, 12.0)] * 3))
    affines = []
    for _ in range(2):
        affine = np.eye(4)
        affine[:3, :3] = draw(rotations_and_flips()) * spacing
        affine[:3, 3] = draw(st.tuples(*[st.floats(-400, 400)] * 3))
        affines.append(affine)
    # Some mirrored or half-turned forms ITK takes for the same as the other; there is no right
    # answer then, and the reader warns of the contradiction.
    between = affines[1][:3, :3] @ np.linalg.inv(affines[0][:3, :3])
    odd = np.linalg.det(between) < 0 or (between - np.eye(3)).max() < 1e-3
    if draw(st.booleans()) or odd:
        affines[1] = affines[0]
    codes = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    scale = draw(st.sampled_from(SCALES))
    units = draw(st.sampled_from((0, 2, 10)))
    gap = draw(st.sampled_from((0, 16, 208)))

    def contents(layout: type) -> bytes:
        header = layout(endianness=">" if big else "<")
        header.set_data_dtype(dtype)
        header.set_data_shape((*shape_ZYX[::-1], *frames))
        header.set_zooms((*spacing, *(1.0,) * len(frames)))
        header.set_qform(affines[0], code=codes[0])
        header.set_sform(affines[1], code=codes[1])
        header["xyzt_units"] = units
        header["scl_slope"], header["scl_inter"] = scale
        header["vox_offset"] = header["sizeof_hdr"] + 4 + gap
        stored = voxels.astype(dtype.newbyteorder(">" if big else "<")).tobytes()
        data: bytes = header.binaryblock + bytes(4 + gap) + stored
        return gzip.compress(data, 1, mtime=0) if suffix.endswith("gz") else data

    suffix = draw(st.sampled_from((".nii", ".nii.gz")))
    layout = draw(st.sampled_from((nib.Nifti1Header, nib.Nifti2Header)))
    return suffix, contents(layout), contents(nib.Nifti1Header)


@per_example
@given(sound_files())
def test_any_sound_nifti_reads_as_simpleitk_reads_it(
    tmp_path: Path, file: tuple[str, bytes, bytes]
):
    suffix, data, twin = file
    # Not one stem for both: for a.nii.gz, SimpleITK reads the voxels of an a.nii beside it.
    path = tmp_path / ("zipped.nii.gz" if suffix == ".nii.gz" else "plain.nii")
    path.write_bytes(data)
    if data == twin:
        assert_equals_simpleitk(path)
        return
    volume = read_volume(path)
    path.write_bytes(twin)
    expected = assert_equals_simpleitk(path)
    np.testing.assert_array_equal(volume.voxels_ZYX, expected.voxels_ZYX)
    assert volume.grid.shape == expected.grid.shape
    # The twin's quaternion is float32, which holds a small angle to the root of its precision.
    for name, within in (("spacing", 1e-4), ("origin", 1e-4), ("direction", 4e-4)):
        np.testing.assert_allclose(
            getattr(volume.grid, name), getattr(expected.grid, name), rtol=1e-6, atol=within
        )


def test_forms_that_contradict_each_other_are_warned_of(tmp_path: Path):
    mirrored = (1, 0, 0, -10, 0, 2, 0, -20, 0, 0, -5, 30)
    path = write_nifti(tmp_path / "a.nii", scan_voxels(), sform_code=2, srow=mirrored)
    assert any("qform and sform disagree" in warning for warning in read_volume(path).warnings)


@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", ".mha", ".mhd"])
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
def test_nrrd_and_metaimage_read_as_simpleitk_reads_them(tmp_path: Path, suffix: str, dtype: str):
    image = sitk.GetImageFromArray(scan_voxels().astype(dtype))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-100.5, 20.25, 3.0))
    image.SetDirection(rotation((0.9, 0.1, -0.3, 0.2)).ravel().tolist())
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(image, str(path))
    assert_equals_simpleitk(path)


@pytest.mark.parametrize("name", ["scan.NII.GZ", "scan.Nii", "scan with spaces ü.nii.gz"])
def test_names_are_no_obstacle(tmp_path: Path, name: str):
    path = tmp_path / name
    data = nifti_bytes(scan_voxels())
    path.write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)
    np.testing.assert_array_equal(read_volume(path).voxels_ZYX, scan_voxels())


def test_compression_is_seen_by_the_contents_not_the_name(tmp_path: Path):
    plain = tmp_path / "plain.nii.gz"
    plain.write_bytes(nifti_bytes(scan_voxels()))
    zipped = tmp_path / "zipped.nii"
    zipped.write_bytes(gzip.compress(nifti_bytes(scan_voxels())))
    for path in (plain, zipped):
        np.testing.assert_array_equal(read_volume(path).voxels_ZYX, scan_voxels())


@pytest.mark.parametrize("behind", [b"\r\n", b"\n" * 30, b"\0" * 600, b"\x1a", b" \r\n"])
def test_padding_behind_the_gzip_is_passed_over(tmp_path: Path, behind: bytes):
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes(scan_voxels())) + behind)
    np.testing.assert_array_equal(read_volume(path).voxels_ZYX, scan_voxels())


MAIL = b"\r\n-- \r\nA mailing list\r\n"


@pytest.mark.parametrize(
    "behind", [b"\x1f", b"x", b"\r\nx", b"\xff" * 9, MAIL, bytes(1 << 18) + b"x"]
)
def test_anything_else_behind_the_gzip_is_left_out_and_said(tmp_path: Path, behind: bytes):
    """As gzip itself, nibabel and ITK: the voxels are whole, and their checksum was seen."""
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes(scan_voxels())) + behind)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels_ZYX, scan_voxels())
    assert any("something else follows the compressed data" in w for w in volume.warnings)


def test_what_stands_between_two_gzip_members_does_not_hide_the_lack_of_the_second(tmp_path: Path):
    data = nifti_bytes(scan_voxels())
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(data[:600]) + b"x" + gzip.compress(data[600:]))
    with pytest.raises(ScanError, match="holds 248 of the 672 bytes"):
        read_volume(path)


def test_gzip_members_without_number_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each costs the same, however little it holds."""
    monkeypatch.setattr(encoded, "_MOST_MEMBERS", 50)
    data = nifti_bytes(scan_voxels())
    for size, sound in ((len(data) // 40, True), (len(data) // 60, False)):
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        path = tmp_path / "a.nii.gz"
        path.write_bytes(b"".join(map(gzip.compress, pieces)))
        if sound:
            np.testing.assert_array_equal(read_volume(path).voxels_ZYX, scan_voxels())
        else:
            with pytest.raises(ScanError, match="more than 50 pieces; compress it anew"):
                read_volume(path)


def test_several_gzip_members_are_one_file(tmp_path: Path):
    data = nifti_bytes(scan_voxels())
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
    np.testing.assert_array_equal(read_volume(path).voxels_ZYX, scan_voxels())


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "expected"),
    [
        ("int16", 1, 0, "int16"),
        ("int16", 0, 5, "int16"),  # slope 0 means: no scaling
        ("uint8", 1, 0, "int16"),
        ("uint16", 1, -1024, "int16"),
        ("int32", 1, 0, "int16"),
        ("float32", 1, 0, "float32"),
        ("float64", 1, 0, "float32"),
        ("int16", 0.5, 0, "float32"),
    ],
)
def test_voxels_stay_int16_where_that_is_exact(
    tmp_path: Path, dtype: str, slope: float, inter: float, expected: str
):
    voxels = np.abs(scan_voxels() % 200).astype(dtype)
    path = write_nifti(tmp_path / "a.nii", voxels, scl_slope=slope, scl_inter=inter)
    read = read_volume(path).voxels_ZYX
    assert read.dtype == expected
    wanted = voxels.astype(float) * slope + inter if slope else voxels
    np.testing.assert_allclose(read, wanted, rtol=1e-6)


def test_uint16_beyond_int16_becomes_float32(tmp_path: Path):
    voxels = np.array([0, 1000, 40000, 65535] * 12, np.uint16).reshape(4, 3, 4)
    read = read_volume(write_nifti(tmp_path / "a.nii", voxels)).voxels_ZYX
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, voxels)


@pytest.mark.parametrize(
    ("unit", "factor"), [(0, 1.0), (1, 1000.0), (2, 1.0), (3, 0.001)], ids=["none", "m", "mm", "um"]
)
def test_units_of_length(tmp_path: Path, unit: int, factor: float):
    spacing = (5.0 / factor, 2.0 / factor, 1.0 / factor)
    z, y, x = spacing
    place = (-10 / factor, -20 / factor, 30 / factor)
    srow = (x, 0, 0, place[0], 0, y, 0, place[1], 0, 0, z, place[2])
    for codes in ((1, 0), (0, 1), (1, 1)):
        path = write_nifti(
            tmp_path / "a.nii", scan_voxels(), spacing, xyzt_units=unit, qoffset=place, srow=srow,
            qform_code=codes[0], sform_code=codes[1],
        )  # fmt: skip
        grid, image = read_volume(path).grid, sitk.ReadImage(str(path))
        np.testing.assert_allclose(grid.spacing, (5, 2, 1), rtol=1e-6)
        np.testing.assert_allclose(grid.origin, (10, 20, 30), rtol=1e-6)
        np.testing.assert_allclose(grid.origin, image.GetOrigin(), rtol=1e-6)


def test_extension_between_header_and_voxels_is_passed_over(tmp_path: Path):
    for suffix in (".nii", ".nii.gz"):
        data = nifti_bytes(scan_voxels(), vox_offset=352 + 4096)
        data = data[:348] + b"\1\0\0\0" + bytes(range(256)) * 16 + data[352:]
        path = tmp_path / f"scan{suffix}"
        path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
        np.testing.assert_array_equal(read_volume(path).voxels_ZYX, scan_voxels())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"qform_code": 0, "sform_code": 0}, "neither qform nor sform"),
        ({"quatern": (0, 0, 1)}, "disagree"),
        ({"srow": (1, 0, 0, -10, 0, 2, 0.01, -20, 0, 0, 5, 30), "qform_code": 0}, "sheared"),
        ({"pixdim": (1, 1.5, 2, 5, 1, 1, 1, 1), "qform_code": 0}, "disagree on the spacing"),
    ],
)
def test_oddities_are_accepted_with_a_warning(tmp_path: Path, changes: dict, words: str):
    volume = read_volume(write_nifti(tmp_path / "a.nii", scan_voxels(), **changes))
    assert any(words in warning for warning in volume.warnings), volume.warnings


def test_offset_hounsfield_units_are_warned_of(tmp_path: Path):
    volume = read_volume(write_nifti(tmp_path / "a.nii", scan_voxels() + np.int16(1024)))
    assert any("1024" in warning for warning in volume.warnings)
    usual = write_nifti(tmp_path / "b.nii", scan_voxels(), (5.0, 40.0, 40.0))
    assert read_volume(usual).warnings == ()


def test_arrays_in_memory_are_checked_as_files_are():
    grid = Grid((6, 7, 8), (5.0, 2.0, 1.0))
    volume = Volume.of_array(scan_voxels().astype(np.int64), grid)
    np.testing.assert_array_equal(volume.voxels_ZYX, scan_voxels())
    broken = {
        "shape": (scan_voxels()[1:], grid),
        "nothing but the value 0": (np.zeros((6, 7, 8)), grid),
        "NaN": (np.full((6, 7, 8), np.nan), grid),
        "spacing": (scan_voxels(), Grid((6, 7, 8), (5.0, -2.0, 1.0))),
        "type": (scan_voxels() > 0, grid),
    }
    for words, (voxels, where) in broken.items():
        with pytest.raises(ScanError, match=words):
            Volume.of_array(voxels, where)


def test_label_maps_read_back_and_anything_else_is_refused(tmp_path: Path):
    labels = (np.arange(6 * 7 * 8) % 15).reshape(6, 7, 8)
    for dtype, suffix in itertools.product(("uint8", "int16", "float32"), (".nii.gz", ".nii")):
        path = write_nifti(tmp_path / f"a{suffix}", labels.astype(dtype))
        read, grid = read_labels(path)
        np.testing.assert_array_equal(read, labels)
        assert read.dtype == np.uint8
        assert grid == read_volume(path).grid
    sitk.WriteImage(sitk.GetImageFromArray(labels.astype(np.uint8)), str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.mha")[0], labels)
    for bad in (labels - 1, labels * 100, labels + 0.5):
        path = write_nifti(tmp_path / "bad.nii.gz", bad.astype(np.float32))
        with pytest.raises(ScanError, match="labels"):
            read_labels(path)
