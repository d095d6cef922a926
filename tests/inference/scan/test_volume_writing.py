"""Writing: the scan's geometry bit for bit."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, reject, settings

from inference.grid import Grid
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_labels, read_volume, write_labels
from tests.inference.nifti_files import nifti_bytes, scan_voxels, write_nifti
from tests.inference.orientations import direction_of, rotation
from tests.inference.scan.test_volume_reading import sound_files

GEOMETRY = ("pixdim", "qform_code", "sform_code", "qoffset_x", "qoffset_y", "qoffset_z",
            "quatern_b", "quatern_c", "quatern_d", "srow_x", "srow_y", "srow_z", "dim",
            "xyzt_units")  # fmt: skip


def some_labels(shape: tuple[int, ...]) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 15).reshape(shape).astype(np.uint8)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sound_files())
def test_labels_carry_the_scans_geometry_bit_for_bit(
    tmp_path: Path, file: tuple[str, bytes, bytes]
):
    suffix, data, _ = file
    source = tmp_path / ("zipped.nii.gz" if suffix == ".nii.gz" else "plain.nii")
    source.write_bytes(data)
    volume = read_volume(source)
    target = tmp_path / "labels.nii.gz"
    labels = some_labels(volume.grid.shape)
    write_labels(target, labels, volume.header)

    try:
        scan = nib.load(source)
    except ValueError:  # of a quaternion a hair longer than 1, which it takes for damage
        reject()
    written = nib.load(target)
    assert type(written) is type(scan)
    assert written.get_data_dtype() == np.uint8
    assert written.header.get_slope_inter() in ((1.0, 0.0), (None, None))
    for name in GEOMETRY:
        np.testing.assert_array_equal(written.header[name], scan.header[name], err_msg=name)
    np.testing.assert_array_equal(written.affine, scan.affine)
    stored = np.asarray(written.dataobj).reshape(labels.shape[::-1])
    np.testing.assert_array_equal(stored, labels.T)
    again, grid = read_labels(target)
    np.testing.assert_array_equal(again, labels)
    assert grid == volume.grid


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sound_files())
def test_simpleitk_puts_labels_where_it_puts_the_scan(
    tmp_path: Path, file: tuple[str, bytes, bytes]
):
    suffix, _, data = file  # SimpleITK reads NIfTI-1 only
    source = tmp_path / ("zipped.nii.gz" if suffix == ".nii.gz" else "plain.nii")
    source.write_bytes(data)
    volume = read_volume(source)
    labels = some_labels(volume.grid.shape)
    write_labels(tmp_path / "labels.nii.gz", labels, volume.header)
    scan, written = sitk.ReadImage(str(source)), sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
    assert written.GetPixelID() == sitk.sitkUInt8
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(written, what)() == getattr(scan, what)()
    stored = sitk.GetArrayFromImage(written).reshape(labels.shape)
    np.testing.assert_array_equal(stored, labels)


@pytest.mark.parametrize("flip", [1, -1])
def test_labels_of_other_formats_lie_where_their_scan_lies(tmp_path: Path, flip: int):
    direction = direction_of(rotation((0.9, 0.1, -0.3, 0.2)) * (1, 1, flip))
    grid = Grid((5, 6, 7), (2.5, 0.8, 0.7), (-100.5, 20.25, 3.0), direction)
    target = tmp_path / "a.nii.gz"
    write_labels(target, some_labels(grid.shape), NiftiHeader.of_grid(grid))
    image = sitk.ReadImage(str(target))
    np.testing.assert_allclose(image.GetSpacing(), grid.spacing[::-1], rtol=1e-6)
    np.testing.assert_allclose(image.GetOrigin(), grid.origin, rtol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), direction, atol=1e-5)
    # nibabel prefers the sform; the qform must say the same.
    loaded = nib.load(target)
    np.testing.assert_allclose(loaded.get_qform(), loaded.get_sform(), atol=1e-4)


def test_labels_from_any_strides_are_written_in_their_order(tmp_path: Path):
    volume = read_volume(write_nifti(tmp_path / "a.nii", scan_voxels()))
    labels = some_labels((8, 7, 6)).transpose(2, 1, 0)[:, ::-1]
    write_labels(tmp_path / "l.nii.gz", labels, volume.header)
    np.testing.assert_array_equal(read_labels(tmp_path / "l.nii.gz")[0], labels)


def test_the_same_labels_give_the_same_bytes(tmp_path: Path):
    header = read_volume(write_nifti(tmp_path / "a.nii", scan_voxels())).header
    for name in ("b.nii.gz", "c.nii.gz"):
        write_labels(tmp_path / name, some_labels((6, 7, 8)), header)
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()


def test_old_text_in_the_scans_header_is_not_passed_on(tmp_path: Path):
    """Descriptions may name the patient."""
    data = bytearray(nifti_bytes(scan_voxels()))
    for offset, size in ((148, 80), (228, 24), (328, 16)):  # descrip, aux_file, intent_name
        data[offset : offset + size] = (b"Jane Doe" * 10)[:size]
    (tmp_path / "a.nii").write_bytes(data)
    write_labels(
        tmp_path / "l.nii.gz", some_labels((6, 7, 8)), read_volume(tmp_path / "a.nii").header
    )
    assert b"Jane" not in gzip.decompress((tmp_path / "l.nii.gz").read_bytes())


@pytest.mark.parametrize(("frames", "shape"), [(1, (8, 7, 6, 1)), (0, (8, 7, 6))])
def test_labels_have_the_scans_axes_but_for_one_of_0(
    tmp_path: Path, frames: int, shape: tuple[int, ...]
):
    scan = write_nifti(tmp_path / "a.nii", scan_voxels(), dim=(4, 8, 7, 6, frames, 0, 0, 0))
    volume = read_volume(scan)
    write_labels(tmp_path / "l.nii.gz", some_labels((6, 7, 8)), volume.header)
    loaded = nib.load(tmp_path / "l.nii.gz")
    assert loaded.shape == shape
    np.testing.assert_array_equal(loaded.affine, nib.load(scan).affine)
