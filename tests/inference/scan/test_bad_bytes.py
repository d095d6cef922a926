"""Any byte of a scan may be lost or wrong: it is noticed, or it does not matter."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import ScanError
from inference.scan.volume import read_volume
from tests.bad_files import SCAN, contents, flipped
from tests.inference.nifti_files import FIELDS, nifti_bytes, write_nifti

# A warning of NumPy's would be a second line.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def test_every_truncation_of_a_gzip_is_noticed(tmp_path: Path):
    data = gzip.compress(nifti_bytes(SCAN[:2, :2, :2]))
    for length in range(len(data)):
        path = contents(data[:length])(tmp_path / "scan")
        with pytest.raises(ScanError):
            read_volume(path)


def test_every_truncation_of_a_plain_file_is_noticed(tmp_path: Path):
    data = nifti_bytes(SCAN[:2, :2, :2])
    for length in range(len(data)):
        path = contents(data[:length], ".nii")(tmp_path / "scan")
        with pytest.raises(ScanError):
            read_volume(path)


def test_every_flipped_byte_of_a_gzip_is_noticed_or_harmless(tmp_path: Path):
    small = SCAN[:3, :3, :3]
    data = gzip.compress(nifti_bytes(small), mtime=0)
    noticed = 0
    for at in range(len(data)):
        path = contents(flipped(data, at))(tmp_path / "scan")
        try:
            voxels = read_volume(path).voxels_ZYX
        except ScanError:
            noticed += 1
        else:
            np.testing.assert_array_equal(voxels, small)
    # Time stamp, system and the like in the ten bytes of gzip's header do not matter.
    assert noticed >= len(data) - 8


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(sorted(FIELDS)),
    st.lists(st.binary(min_size=8, max_size=8), min_size=6, max_size=6),
    st.booleans(),
)
def test_random_header_fields_give_a_sound_volume_or_a_clear_error(
    tmp_path: Path, name: str, noise: list[bytes], big: bool
):
    offset, code = FIELDS[name]
    size = struct.calcsize(f"<{code}")
    data = bytearray(nifti_bytes(SCAN, big_endian=big))
    data[offset : offset + size] = b"".join(noise)[:size]
    path = contents(bytes(data), ".nii")(tmp_path / "scan")
    try:
        volume = read_volume(path)
    except ScanError as error:
        assert "\n" not in str(error)
        return
    assert np.isfinite(volume.voxels_ZYX).all()
    assert all(math.isfinite(v) and v > 0 for v in volume.grid.spacing)
    assert all(math.isfinite(v) for v in volume.grid.origin)
    matrix = np.array(volume.grid.direction).reshape(3, 3)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-3)


@pytest.mark.parametrize("values", [(1e200, 0, 0), (1e160, 1e160, 1e160), (math.nan, 0, 0)])
def test_nifti2_quaternions_beyond_all_numbers_are_refused(tmp_path: Path, values: tuple):
    header = nib.Nifti2Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(SCAN.shape[::-1])
    header["qform_code"] = 1
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = values
    header["vox_offset"] = 544
    path = contents(header.binaryblock + bytes(4) + SCAN.tobytes(), ".nii")(tmp_path / "scan")
    with pytest.raises(ScanError, match="orientation"):
        read_volume(path)


def test_an_intercept_beyond_int32_is_no_obstacle(tmp_path: Path):
    voxels = (SCAN.astype(np.int64) + 2**31 + 2**30).astype(np.uint32)
    path = write_nifti(tmp_path / "a.nii", voxels, scl_inter=-(2.0**31 + 2**30))
    np.testing.assert_allclose(read_volume(path).voxels_ZYX, SCAN, atol=256)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=700), st.sampled_from((".nii", ".nii.gz")))
def test_noise_is_no_scan(tmp_path: Path, noise: bytes, suffix: str):
    with pytest.raises(ScanError):
        read_volume(contents(noise, suffix)(tmp_path / "scan"))
