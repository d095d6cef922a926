"""Images that SimpleITK read and wrote again carry what their former headers said: no matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import ScanError
from inference.scan.volume import read_volume
from tests.inference.nifti_files import nifti_bytes, scan_voxels
from tests.inference.text_files import metaimage_bytes

SUFFIXES = ("mha", "mhd", "nrrd", "nhdr")
# MetaIO takes what comes before the first = or : for the name.
KEYS = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="=:#\\"),
    min_size=1,
    max_size=40,
).map(lambda key: f"0010|{key}")
VALUES = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=80)


def assert_as_simpleitk_has_it(path: Path) -> None:
    image, volume = sitk.ReadImage(str(path)), read_volume(path)
    np.testing.assert_array_equal(volume.voxels_ZYX, sitk.GetArrayFromImage(image))
    assert volume.grid.spacing[::-1] == image.GetSpacing()
    assert volume.grid.origin == image.GetOrigin()
    assert volume.grid.direction == image.GetDirection()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_nifti_file_that_simpleitk_converted(tmp_path: Path, suffix: str):
    """Its fields come along: dim[0], srow_x, descrip ..."""
    source, path = tmp_path / "scan.nii", tmp_path / f"scan.{suffix}"
    source.write_bytes(nifti_bytes(scan_voxels()))
    image = sitk.ReadImage(str(source))
    assert "dim[0]" in image.GetMetaDataKeys()
    sitk.WriteImage(image, str(path))
    assert_as_simpleitk_has_it(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_real_series_that_simpleitk_converted(shared_data: Path, tmp_path: Path, suffix: str):
    """Every attribute comes along, an address of four lines among them."""
    folder, path = shared_data / "dicom" / "totalsegmentator_slab", tmp_path / f"scan.{suffix}"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.MetaDataDictionaryArrayUpdateOn()
    image = reader.Execute()
    for key in reader.GetMetaDataKeys(0):
        image.SetMetaData(key, reader.GetMetaData(0, key))
    sitk.WriteImage(image, str(path))
    assert_as_simpleitk_has_it(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(notes=st.dictionaries(KEYS, VALUES, max_size=4))
def test_notes_of_any_name(tmp_path: Path, suffix: str, notes: dict[str, str]):
    image = sitk.GetImageFromArray(scan_voxels())
    for key, value in notes.items():
        image.SetMetaData(key, value)
    path = tmp_path / f"scan.{suffix}"
    sitk.WriteImage(image, str(path))
    assert_as_simpleitk_has_it(path)


@pytest.mark.parametrize(
    "value",
    ["Petersgraben\r\nBasel\r\nCHE", "a\n\nb", "side: left\nside: right", "a\n= b", "a\n: b\nc"],
)
def test_a_note_of_several_lines(tmp_path: Path, value: str):
    """ITK writes them as they are; each is a line of the header then."""
    voxels, path = scan_voxels(), tmp_path / "scan.mha"
    raw = metaimage_bytes(voxels, voxels.tobytes())
    path.write_bytes(raw.replace(b"NDims", f"0008|0081 = {value}\nNDims".encode(), 1))
    np.testing.assert_array_equal(read_volume(path).voxels_ZYX, voxels)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("DimSize = 3 3 3", "states DimSize twice, in two ways"),
        ("no field", "line 2 of its header is no field"),  # ObjectType is no note
        ("note = text\nOffset 1 2 3", "line 3 of its header is no field"),
    ],
)
def test_a_field_that_lacks_its_sign_or_is_there_twice_is_no_note(
    tmp_path: Path, line: str, cause: str
):
    voxels, path = scan_voxels(), tmp_path / "scan.mha"
    raw = metaimage_bytes(voxels, voxels.tobytes())
    path.write_bytes(raw.replace(b"NDims", line.encode() + b"\nNDims", 1))
    with pytest.raises(ScanError, match=cause):
        read_volume(path)
