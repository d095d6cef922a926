"""Bad input (DESIGN section 8): one line that names the file, the cause and the remedy."""

from __future__ import annotations

import gzip
import math
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import resident_growth
from nifti_files import FIELDS, nifti_bytes, scan_voxels, write_nifti

from inference.errors import ScanError
from inference.volume import read_volume

# A warning of NumPy's would be a second line.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

SCAN = scan_voxels()
Make = Callable[[Path], Path]


def nifti(suffix: str = ".nii.gz", /, voxels: np.ndarray = SCAN, **changed: object) -> Make:
    """A maker of a NIfTI file with these header fields."""
    return lambda folder: write_nifti(folder / f"scan{suffix}", voxels, **changed)


def contents(data: bytes, name: str = "scan.nii.gz") -> Make:
    """A maker of a file with these bytes."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def zipped(data: bytes | None = None) -> bytes:
    return gzip.compress(nifti_bytes(SCAN) if data is None else data, mtime=0)


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0xFF
    return bytes(changed)


def with_voxel(value: float) -> np.ndarray:
    voxels = SCAN.astype(np.float32)
    voxels[1, 2, 3] = value
    return voxels


def dim(*sizes: int) -> dict[str, object]:
    return {"dim": (*sizes, *(1,) * (8 - len(sizes)))}


def spacing(x: float, y: float = 2.0, z: float = 5.0) -> dict[str, object]:
    return {"pixdim": (1, x, y, z, 1, 1, 1, 1)}


def sheared(cosine: float) -> dict[str, object]:
    return {"qform_code": 0, "srow": (1, cosine, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)}


def bomb(folder: Path) -> Path:
    """A small scan followed by 256 MiB of zeros, which compress to nothing."""
    with gzip.open(folder / "scan.nii.gz", "wb", compresslevel=1) as file:
        file.write(nifti_bytes(SCAN))
        for _ in range(256):
            file.write(bytes(1 << 20))
    return folder / "scan.nii.gz"


def directory(folder: Path) -> Path:
    (folder / "scan.nii.gz").mkdir()
    return folder / "scan.nii.gz"


def dangling_link(folder: Path) -> Path:
    (folder / "scan.nii.gz").symlink_to(folder / "nowhere.nii.gz")
    return folder / "scan.nii.gz"


def link_to_itself(folder: Path) -> Path:
    (folder / "scan.nii.gz").symlink_to("scan.nii.gz")
    return folder / "scan.nii.gz"


def simpleitk(name: str, voxels: np.ndarray = SCAN, **settings: object) -> Make:
    def make(folder: Path) -> Path:
        image = sitk.GetImageFromArray(voxels, isVector=bool(settings.get("vector")))
        sitk.WriteImage(image, str(folder / name), useCompression=bool(settings.get("compress")))
        return folder / name

    return make


def cut(make: Make, share: float) -> Make:
    """The file of another maker, cut off after a share of its bytes."""

    def make_cut(folder: Path) -> Path:
        path = make(folder)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    return make_cut


def edited(make: Make, old: bytes, new: bytes) -> Make:
    """The file of another maker with some of its text replaced."""

    def make_edited(folder: Path) -> Path:
        path = make(folder)
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))
        return path

    return make_edited


@dataclass(frozen=True)
class Bad:
    """A bad scan and a word that the message must have."""

    make: Make
    words: str


BAD: dict[str, Bad] = {
    # The gzip layer
    "gzip cut in the header": Bad(contents(zipped()[:6]), "truncated"),
    "gzip cut in the middle": Bad(contents(zipped()[:300]), "truncated"),
    "gzip cut before the trailer": Bad(contents(zipped()[:-8]), "truncated"),
    "gzip cut in the trailer": Bad(contents(zipped()[:-3]), "truncated"),
    "gzip data corrupt": Bad(contents(flipped(zipped(), 200)), "corrupt"),
    "gzip checksum wrong": Bad(contents(flipped(zipped(), -6)), "corrupt"),
    "gzip length wrong": Bad(contents(flipped(zipped(), -2)), "corrupt"),
    "gzip of nothing": Bad(contents(gzip.compress(b"")), "empty"),
    "garbage behind the gzip": Bad(contents(zipped() + b"garbage" * 9), "corrupt"),
    "gzip bomb": Bad(bomb, "far beyond"),
    # The file itself
    "empty file": Bad(contents(b""), "empty"),
    "one byte": Bad(contents(b"\x1f"), "no NIfTI"),
    "text named .nii.gz": Bad(contents(b"these are no voxels\n" * 50), "no NIfTI"),
    "a DICOM file named .nii.gz": Bad(contents(bytes(128) + b"DICM" + bytes(400)), "no NIfTI"),
    "header cut": Bad(contents(nifti_bytes(SCAN)[:200], "scan.nii"), "no NIfTI"),
    "a folder": Bad(directory, "directory"),
    "a link to nothing": Bad(dangling_link, "No such file"),
    "a link to itself": Bad(link_to_itself, "Too many levels"),
    "no such file": Bad(lambda folder: folder / "scan.nii.gz", "No such file"),
    # The header
    "wrong magic": Bad(nifti(magic=b"abc\0"), "magic"),
    "wrong header size": Bad(nifti(sizeof_hdr=347), "header size"),
    "a pair's header": Bad(nifti(magic=b"ni1\0", vox_offset=0), "pair"),
    "header larger than the data": Bad(nifti(**dim(3, 8, 7, 60)), "announces"),
    "header larger than the plain data": Bad(nifti(".nii", **dim(3, 8, 7, 7)), "announces"),
    "2D": Bad(nifti(**dim(2, 8, 7)), "2 dimensions"),
    "1D": Bad(nifti(**dim(1, 8)), "1 dimensions"),
    "no dimensions": Bad(nifti(**dim(0)), "0 dimensions"),
    "8 dimensions": Bad(nifti(**dim(8, 8, 7, 6)), "8 dimensions"),
    "4D with two frames": Bad(nifti(**dim(4, 8, 7, 3, 2)), "not one volume"),
    "5D vectors": Bad(nifti(**dim(5, 8, 7, 2, 1, 3)), "not one volume"),
    "zero-size axis": Bad(nifti(**dim(3, 8, 0, 6)), "empty or negative"),
    "negative axis": Bad(nifti(**dim(3, 8, -7, 6)), "empty or negative"),
    "one slice": Bad(nifti(**dim(3, 8, 7, 1)), "single slice"),
    "one column": Bad(nifti(**dim(3, 1, 7, 8)), "single slice"),
    "axis of 16k": Bad(nifti(**dim(3, 16384, 2, 2)), "8192 per axis"),
    "more voxels than memory": Bad(nifti(**dim(3, 8000, 8000, 8000)), "claims"),
    "zero spacing": Bad(nifti(**spacing(0)), "spacing"),
    "negative spacing": Bad(nifti(**spacing(-1)), "spacing"),
    "NaN spacing": Bad(nifti(**spacing(math.nan)), "spacing"),
    "infinite spacing": Bad(nifti(**spacing(math.inf)), "spacing"),
    "absurdly small spacing": Bad(nifti(**spacing(1e-4)), "spacing"),
    "absurdly large spacing": Bad(nifti(**spacing(1e4)), "spacing"),
    "field of view of a house": Bad(nifti(**spacing(40), **dim(3, 84, 2, 2)), "field of view"),
    "spacing in micrometres called metres": Bad(nifti(xyzt_units=1), "spacing"),
    "unknown unit": Bad(nifti(xyzt_units=5), "unit"),
    "sheared": Bad(nifti(**sheared(0.3)), "right angles"),
    "orientation singular": Bad(
        nifti(qform_code=0, srow=(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)), "orientation"
    ),
    "orientation NaN": Bad(nifti(quatern=(math.nan,) * 3, srow=(math.nan,) * 12), "orientation"),
    "origin NaN": Bad(nifti(sform_code=0, qoffset=(math.nan, 0, 0)), "origin"),
    "RGB": Bad(nifti(datatype=128, bitpix=24), "colour"),
    "complex": Bad(nifti(voxels=SCAN.astype(np.complex64)), "complex"),
    "binary voxels": Bad(nifti(datatype=1, bitpix=1), "type 1 "),
    "float128": Bad(nifti(datatype=1536, bitpix=128), "type 1536"),
    "wrong bits per voxel": Bad(nifti(bitpix=8), "bits per voxel"),
    "voxels inside the header": Bad(nifti(vox_offset=100), "byte 100"),
    "voxels at NaN": Bad(nifti(vox_offset=math.nan), "byte nan"),
    "voxels at minus one": Bad(nifti(vox_offset=-1), "byte -1"),
    "voxels beyond the file": Bad(nifti(vox_offset=1e6), "truncated"),
    "voxels far beyond any file": Bad(nifti(vox_offset=1e12), "byte 1e+12"),
    "slope NaN": Bad(nifti(scl_slope=math.nan), "scl_slope"),
    "intercept infinite": Bad(nifti(scl_inter=math.inf), "scl_inter"),
    # The voxels
    "NaN voxel": Bad(nifti(voxels=with_voxel(math.nan)), "NaN"),
    "infinite voxel": Bad(nifti(voxels=with_voxel(-math.inf)), "infinite"),
    "constant": Bad(nifti(voxels=np.full_like(SCAN, -1024)), "nothing but the value -1024"),
    "constant after scaling": Bad(nifti(scl_slope=1e-30, scl_inter=40), "nothing but the value 40"),
    "float64 beyond float32": Bad(nifti(voxels=with_voxel(0).astype(float) * 1e300), "infinite"),
    # Other formats
    "nrrd cut": Bad(cut(simpleitk("scan.nrrd"), 0.6), "SimpleITK"),
    "compressed nrrd cut": Bad(cut(simpleitk("scan.nrrd", compress=True), 0.6), "SimpleITK"),
    "nrrd cut in its header": Bad(cut(simpleitk("scan.nrrd"), 0.01), "SimpleITK"),
    "mha cut": Bad(cut(simpleitk("scan.mha"), 0.6), "SimpleITK"),
    "compressed mha cut": Bad(cut(simpleitk("scan.mha", compress=True), 0.6), "SimpleITK"),
    "nrrd empty": Bad(contents(b"", "scan.nrrd"), "SimpleITK"),
    "mha of text": Bad(contents(b"no header\n" * 9, "scan.mha"), "SimpleITK"),
    "nhdr without its data": Bad(
        contents(b"NRRD0004\ntype: short\ndimension: 3\nsizes: 8 7 6\nencoding: raw\n"
                 b"endian: little\ndata file: gone.raw\n", "scan.nhdr"), "SimpleITK",
    ),
    "nrrd missing": Bad(lambda folder: folder / "scan.nrrd", "No such file"),
    "nrrd folder": Bad(lambda folder: folder, "cannot be read"),
    "nrrd 2D": Bad(simpleitk("scan.nrrd", SCAN[0]), "not one volume"),
    "mha with colours": Bad(
        simpleitk("scan.mha", np.zeros((4, 5, 6, 3), np.uint8), vector=True), "grey values"
    ),
    "mha with one slice": Bad(simpleitk("scan.mha", SCAN[:1]), "single slice"),
    "mha constant": Bad(simpleitk("scan.mha", np.zeros_like(SCAN)), "nothing but the value 0"),
    "mha with NaN": Bad(simpleitk("scan.mha", with_voxel(math.nan)), "NaN"),
    "mha with huge axes": Bad(
        edited(simpleitk("scan.mha"), b"DimSize = 8 7 6", b"DimSize = 8000 8000 8000"), "claims"
    ),
    "mha with tiny spacing": Bad(
        edited(simpleitk("scan.mha"), b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1 1e-5"),
        "spacing",
    ),
    "mha sheared": Bad(
        edited(
            simpleitk("scan.mha"),
            b"TransformMatrix = 1 0 0 0 1 0 0 0 1",
            b"TransformMatrix = 1 0 0 0.5 0.866 0 0 0 1",
        ),
        "right angles",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_scan_gets_one_clear_line(tmp_path: Path, name: str):
    path = BAD[name].make(tmp_path)
    with pytest.raises(ScanError) as caught:
        read_volume(path)
    error = caught.value
    message = str(error)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert BAD[name].words in error.cause
    assert error.remedy


def huge_claims() -> dict[str, bytes]:
    shapes = {"a long axis": (32767, 2, 2), "many voxels": (8000, 8000, 8000)}
    return {name: nifti_bytes(SCAN, **dim(3, *shape)) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", huge_claims())
def test_huge_claims_are_refused_before_memory_is_taken(tmp_path: Path, name: str):
    path = contents(gzip.compress(huge_claims()[name]))(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ScanError, match="claims"):
            read_volume(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bomb, "far beyond"),
        # 1 GiB is claimed, 700 bytes are there: pages that nothing is read into stay untouched.
        (nifti(**dim(3, 800, 800, 800), pixdim=(1, 1, 1, 1, 1, 1, 1, 1)), "announces"),
    ],
    ids=["bomb", "claim within the limits"],
)
def test_what_is_not_there_does_not_fill_the_memory(tmp_path: Path, make: Make, words: str):
    path = make(tmp_path)
    with resident_growth() as grown, pytest.raises(ScanError, match=words):
        read_volume(path)
    assert grown() < 64 << 20


def test_every_truncation_of_a_gzip_is_noticed(tmp_path: Path):
    data = gzip.compress(nifti_bytes(SCAN[:2, :2, :2]))
    for length in range(len(data)):
        path = contents(data[:length])(tmp_path)
        with pytest.raises(ScanError):
            read_volume(path)


def test_every_truncation_of_a_plain_file_is_noticed(tmp_path: Path):
    data = nifti_bytes(SCAN[:2, :2, :2])
    for length in range(len(data)):
        path = contents(data[:length], "scan.nii")(tmp_path)
        with pytest.raises(ScanError):
            read_volume(path)


def test_every_flipped_byte_of_a_gzip_is_noticed_or_harmless(tmp_path: Path):
    small = SCAN[:3, :3, :3]
    data = gzip.compress(nifti_bytes(small), mtime=0)
    noticed = 0
    for at in range(len(data)):
        path = contents(flipped(data, at))(tmp_path)
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
    path = contents(bytes(data), "scan.nii")(tmp_path)
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
    path = contents(header.binaryblock + bytes(4) + SCAN.tobytes(), "scan.nii")(tmp_path)
    with pytest.raises(ScanError, match="orientation"):
        read_volume(path)


def test_an_intercept_beyond_int32_is_no_obstacle(tmp_path: Path):
    voxels = (SCAN.astype(np.int64) + 2**31 + 2**30).astype(np.uint32)
    path = write_nifti(tmp_path / "a.nii", voxels, scl_inter=-(2.0**31 + 2**30))
    np.testing.assert_allclose(read_volume(path).voxels_ZYX, SCAN, atol=256)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=700), st.sampled_from(("scan.nii", "scan.nii.gz")))
def test_noise_is_no_scan(tmp_path: Path, noise: bytes, name: str):
    with pytest.raises(ScanError):
        read_volume(contents(noise, name)(tmp_path))
