"""NRRD and MetaImage: what is read, how it is placed, and what is said of it."""

from __future__ import annotations

import bz2
import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from inference.errors import ScanError
from inference.grid import Grid
from inference.scan.given import of_simpleitk
from inference.scan.volume import Volume, read_labels, read_volume, write_labels
from phantom import make_phantom
from tests.inference.scan.plain_scan import GZIP, RAW, VOXELS, WORDS, ZLIB, mha, nrrd, zipped
from tests.inference.text_files import ORIGIN, SPACING, metaimage_bytes, nrrd_bytes, put

MEMBERS = b"".join(gzip.compress(RAW[i : i + 100]) for i in range(0, len(RAW), 100))
PLAIN_GRID = Grid(VOXELS.shape, SPACING[::-1], ORIGIN)


BIG = VOXELS.astype(">i2")
AS_THE_PLAIN_SCAN: dict[str, tuple[str, bytes]] = {
    "nrrd": ("nrrd", nrrd()),
    "nrrd, big endian": ("nrrd", nrrd_bytes(BIG)),
    "nrrd, lines that end as on Windows": ("nrrd", nrrd_bytes(VOXELS, end="\r\n")),
    "nrrd, names in other ways": (
        "nrrd",
        nrrd(b"", space_origin=None).rstrip()
        + b"\nSpaceOrigin: (-100.5, 20.25, 3)\n# a remark: here\na key:=of: mine\nb:=\n\n" + RAW,
    ),
    "nrrd, blanks in vectors": (
        "nrrd", nrrd(space_directions="( 0.75, 0,0)  (0 ,0.875,0) (0,0,2.5e0 )")
    ),
    "nrrd, gzip": ("nrrd", nrrd(GZIP, encoding="gzip")),
    "nrrd, gzip of a byte skip of 0": ("nrrd", nrrd(GZIP, encoding="gzip", byte_skip="0")),
    "nrrd, gzip of a line skip of 0": ("nrrd", nrrd(GZIP, encoding="gz", line_skip="0")),
    "nrrd, gzip of a byte skip": (
        "nrrd", nrrd(gzip.compress(b"abc" + RAW), encoding="gz", byte_skip="3")
    ),
    "nrrd, gzip of a line skip": (
        "nrrd", nrrd(b"a line\n" + GZIP, encoding="gz", line_skip="1")
    ),
    "nrrd, gzip members": ("nrrd", nrrd(MEMBERS, encoding="gzip")),
    "nrrd, gzip and line feeds": ("nrrd", nrrd(GZIP + b"\r\n\n", encoding="gzip")),
    "nrrd, gzip of more than the voxels": (
        "nrrd", nrrd(gzip.compress(RAW + bytes(99)), encoding="gzip")
    ),
    "nrrd, bzip2": ("nrrd", nrrd(bz2.compress(RAW), encoding="bzip2")),
    "nrrd, bzip2 streams": (
        "nrrd", nrrd(bz2.compress(RAW[:99]) + bz2.compress(RAW[99:]), encoding="bz2")
    ),
    "nrrd, hexadecimal": ("nrrd", nrrd(RAW.hex(" ", 16).encode(), encoding="hex")),
    "nrrd, text": ("nrrd", nrrd(WORDS, encoding="ascii", endian=None)),
    "nrrd, text in lines": ("nrrd", nrrd(WORDS.replace(b" ", b"\r\n") + b"\n", encoding="txt")),
    "nrrd, raw behind lines and bytes": (
        "nrrd", nrrd(b"one\ntwo\nx" + RAW, line_skip="2", byte_skip="1")
    ),
    "nrrd, raw at the end": ("nrrd", nrrd(b"any bytes" + RAW, byte_skip="-1")),
    "nrrd, RAS": (
        "nrrd",
        nrrd(space="right-anterior-superior", space_origin="(100.5,-20.25,3)",
             space_directions="(-0.75,0,0) (0,-0.875,0) (0,0,2.5)"),
    ),
    "nrrd, LAS": (
        "nrrd",
        nrrd(space="LAS", space_origin="(-100.5,-20.25,3)",
             space_directions="(0.75,0,0) (0,-0.875,0) (0,0,2.5)"),
    ),
    "nrrd, a list of one value each": (
        "nrrd",
        nrrd(dimension="4", sizes="1 8 7 6", kinds="list domain domain domain",
             space_directions="none (0.75,0,0) (0,0.875,0) (0,0,2.5)"),
    ),
    "nrrd, fields that say nothing here": (
        "nrrd", nrrd(content="CT: of somebody", thicknesses="nan nan 2.5", measurement_frame="")
    ),
    "mha": ("mha", mha()),
    "mha, big endian": ("mha", metaimage_bytes(BIG)),
    "mha, big endian by its other name": (
        "mha", metaimage_bytes(BIG, BinaryDataByteOrderMSB=None, ElementByteOrderMSB="True")
    ),
    "mha, lines that end as on Windows": ("mha", metaimage_bytes(VOXELS, end="\r\n")),
    "mha, colons": ("mha", mha(b"").replace(b" = ", b": ") + RAW),
    "mha, hardly anything stated": ("mha", mha(ObjectType=None, BinaryData=None)),
    "mha, zlib": ("mha", zipped(CompressedDataSize=str(len(ZLIB)))),
    "mha, zlib as 1": ("mha", zipped(CompressedData="1")),
    "mha, zlib of no size": ("mha", zipped()),
    "mha, zlib of size 0": ("mha", zipped(CompressedDataSize="0")),
    "mha, zlib of half the size": ("mha", zipped(CompressedDataSize=str(len(ZLIB) // 2))),
    "mha, zlib of a size beyond": ("mha", zipped(CompressedDataSize="999999")),
    "mha, zlib and a line feed": ("mha", zipped(ZLIB + b"\n")),
    "mha, gzip in zlib's place": ("mha", zipped(GZIP)),
    "mha, text": ("mha", mha(WORDS + b"\n", BinaryData="False")),
    "mha, raw at the end": ("mha", mha(b"any bytes" + RAW, HeaderSize="-1")),
    "mha, a header size of 0": ("mha", mha(HeaderSize="0")),
    "mha, Position and Orientation": (
        "mha",
        mha(Offset=None, Position="-100.5 20.25 3", TransformMatrix=None,
            Orientation="1 0 0 0 1 0 0 0 1"),
    ),
    "mha, Origin and Rotation": (
        "mha",
        mha(Offset=None, Origin="-100.5 20.25 3.0", TransformMatrix=None,
            Rotation="1 0 0 0 1 0 0 0 1"),
    ),
    "mha, size in place of spacing": (
        "mha", mha(ElementSpacing=None, ElementSize="0.75 0.875 2.5")
    ),
    "mha, size beside spacing": ("mha", mha(ElementSize="9 9 9")),
    "mha, 4D with one frame": (
        "mha",
        mha(NDims="4", DimSize="8 7 6 1", ElementSpacing="0.75 0.875 2.5 1",
            Offset="-100.5 20.25 3 0", TransformMatrix="1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"),
    ),
    "mha, fields that say nothing here": (
        "mha",
        mha(Comment="CT = of somebody", CenterOfRotation="0 0 0", AnatomicalOrientation="RAI",
            ElementNumberOfChannels="1", DistanceUnits="mm", Modality="MET_MOD_CT"),
    ),
}  # fmt: skip


def assert_plain(volume: Volume) -> None:
    np.testing.assert_array_equal(volume.voxels_ZYX, VOXELS)
    assert volume.voxels_ZYX.dtype == np.int16
    assert volume.grid == PLAIN_GRID


@pytest.mark.parametrize("name", AS_THE_PLAIN_SCAN)
def test_reads_as_the_plain_scan(tmp_path: Path, name: str):
    suffix, data = AS_THE_PLAIN_SCAN[name]
    volume = read_volume(put(tmp_path / f"scan.{suffix}", data))
    assert_plain(volume)
    assert [w for w in volume.warnings if "field of view" not in w] == []


HEADERS = {"nhdr": nrrd, "mhd": mha}


@pytest.mark.parametrize("suffix", HEADERS)
@pytest.mark.parametrize(
    "name",
    ["scan.raw", "with blanks in it.raw", "Müller.raw", "50%.raw", "rate%dose.raw", "LISTEN.raw"],
)
def test_voxels_beside_the_header(tmp_path: Path, suffix: str, name: str):
    put(tmp_path / name, RAW)
    header = nrrd(b"", data_file=name) if suffix == "nhdr" else mha(b"", name)
    assert_plain(read_volume(put(tmp_path / f"scan.{suffix}", header)))


def test_a_name_beside_the_header_that_is_no_utf8(tmp_path: Path):
    (tmp_path / "M\udcfcller.raw").write_bytes(RAW)
    header = mha(b"", "M_ller.raw").replace(b"M_ller", b"M\xfcller")
    assert_plain(read_volume(put(tmp_path / "scan.mhd", header)))


def test_voxels_deeper_in_the_folder_and_behind_a_header_of_their_own(tmp_path: Path):
    (tmp_path / "raw").mkdir()
    put(tmp_path / "raw" / "a.raw", b"header" + RAW)
    put(tmp_path / "raw" / "a.zraw", b"header" + ZLIB)
    ways = {
        "a.mhd": mha(b"", "raw/a.raw", HeaderSize="6"),
        "b.mhd": mha(b"", "./raw/a.raw", HeaderSize="-1"),
        "c.mhd": mha(b"", "raw/a.zraw", HeaderSize="6", CompressedData="True"),
        "d.nhdr": nrrd(b"", data_file="raw/a.raw", byte_skip="6"),
        "e.nhdr": nrrd(b"", data_file="raw/a.raw", byte_skip="-1"),
        # Without the line that is empty, too.
        "f.nhdr": nrrd(b"", data_file="raw/a.raw", byte_skip="6").rstrip(),
    }
    for name, data in ways.items():
        assert_plain(read_volume(put(tmp_path / name, data)))


WARNED: dict[str, tuple[str, bytes, str]] = {
    "nrrd without any geometry": (
        "nrrd", nrrd(space=None, space_directions=None, space_origin=None), "1 mm is assumed"
    ),
    "nrrd without an orientation": (
        "nrrd",
        nrrd(space=None, space_directions=None, space_origin=None, spacings="0.75 0.875 2.5"),
        "orientation is taken as ITK does",
    ),
    "nrrd of a scanner's space": ("nrrd", nrrd(space="scanner-xyz"), "taken as left-posterior"),
    "nrrd of no space": (
        "nrrd", nrrd(space=None, space_dimension="3"), "no space is named"
    ),
    "nrrd slightly sheared": (
        "nrrd",
        nrrd(space_directions="(0.75,0,0) (0.01,0.875,0) (0,0,2.5)"),
        "slightly sheared (cosine 0.0114)",
    ),
    "mha without a spacing": ("mha", mha(ElementSpacing=None), "1 mm is assumed"),
    "mha whose spacing has another name": (
        "mha", mha(ElementSpacing=None, elementspacing="3 3 3"), "1 mm is assumed"
    ),
    "mha without an orientation": (
        "mha", mha(TransformMatrix=None), "orientation is taken as ITK does"
    ),
    "mha slightly sheared": (
        "mha", mha(TransformMatrix="1 0 0 0.015 1 0 0 0 1"), "slightly sheared"
    ),
    "mha of axes that are not quite unit vectors": (
        "mha", mha(TransformMatrix="1.015 0 0 0 1 0 0 0 1"), "unit vectors (off by 0.0150)"
    ),
    "mha of an array that was saved without a geometry": (
        "mha", mha(ElementSpacing="1 1 1", Offset="0 0 0"), "geometry may be missing"
    ),
    "mha with a function of its values": (
        "mha", mha(ElementToIntensityFunctionOffset="-1024"), "not applied"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNED)
def test_what_was_guessed_is_said(tmp_path: Path, name: str):
    suffix, data, words = WARNED[name]
    volume = read_volume(put(tmp_path / f"scan.{suffix}", data))
    assert any(words in warning for warning in volume.warnings), volume.warnings
    np.testing.assert_array_equal(volume.voxels_ZYX, VOXELS)
    matrix = np.array(volume.grid.direction).reshape(3, 3)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "origin"),
    [
        ({}, (1.375, 2.4375, 4.25)),  # mins are the cells' edges
        ({"centerings": "node node node"}, (1, 2, 3)),
        ({"centers": "cell node cell"}, (1.375, 2, 4.25)),
    ],
)
def test_nrrd_without_a_space_is_placed_by_its_axes(tmp_path: Path, changes: dict, origin: tuple):
    data = nrrd(
        space=None, space_directions=None, space_origin=None, spacings="0.75 0.875 2.5",
        axis_mins="1 2 3", **changes,
    )  # fmt: skip
    path = put(tmp_path / "scan.nrrd", data)
    assert read_volume(path).grid.origin == origin
    assert sitk.ReadImage(str(path)).GetOrigin() == origin


SHEARED = np.array([[1, 0.0199, 0], [0, 1, 0], [0, 0, 1.0]]) / (1, np.hypot(0.0199, 1), 1)


@pytest.mark.parametrize("way", ["nrrd", "mha", "array", "image"])
def test_labels_of_a_slightly_sheared_scan_lie_on_it(tmp_path: Path, way: str):
    """Exactly in the sform; in the qform, which knows no shear, as near as a rotation can be."""
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(SHEARED.ravel().tolist())
    if way == "array":
        direction = tuple(SHEARED.ravel().tolist())
        volume = Volume.of_array(VOXELS, Grid(VOXELS.shape, SPACING[::-1], ORIGIN, direction))
    elif way == "image":
        volume = of_simpleitk(image)
    else:
        sitk.WriteImage(image, str(tmp_path / f"scan.{way}"))
        volume = read_volume(tmp_path / f"scan.{way}")
    assert any("sheared (cosine 0.0199)" in warning for warning in volume.warnings)
    labels = (np.arange(VOXELS.size) % 15).reshape(VOXELS.shape).astype(np.uint8)
    write_labels(tmp_path / "labels.nii.gz", labels, volume.header)
    corners_XYZ = np.array(np.meshgrid((0, 7), (0, 6), (0, 5))).reshape(3, -1).T.tolist()
    scan = np.array([image.TransformContinuousIndexToPhysicalPoint(c) for c in corners_XYZ])
    loaded = nib.load(tmp_path / "labels.nii.gz")
    exact = nib.affines.apply_affine(loaded.get_sform(), corners_XYZ) * (-1, -1, 1)
    np.testing.assert_allclose(exact, scan, atol=1e-4)
    again = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
    near = np.array([again.TransformContinuousIndexToPhysicalPoint(c) for c in corners_XYZ])
    off = np.linalg.norm(near - scan, axis=1)
    assert off.max() < 0.05 < 6 * SPACING[1]  # of 0.02 x 5.25 mm, the half
    np.testing.assert_allclose(
        [volume.grid.physical(tuple(c[::-1])) for c in corners_XYZ], near, atol=1e-4
    )
    read, grid = read_labels(tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(read, labels)
    np.testing.assert_allclose(grid.direction, volume.grid.direction, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.hdr", "one of a pair"),
        ("a.img", "one of a pair"),
        ("a.img.gz", "one of a pair"),
        ("a.nii.zst", "zstd"),
        ("a.NII.BZ2", "bzip2"),
        ("a.mha.xz", "xz"),
        ("a.nrrd.gz", "decompress"),
        ("a.mgz", "MGH"),
        ("a.gipl.gz", "GIPL"),
        ("a.txt", "ends in none of"),
        ("a.gz", "ends in none of"),
        (".bz2", "ends in none of"),
    ],
)
def test_scans_of_other_kinds_are_refused_by_name(tmp_path: Path, name: str, words: str):
    with pytest.raises(ScanError, match=words) as caught:
        read_volume(put(tmp_path / name, b"anything"))
    assert caught.value.remedy


def test_no_library_of_formats_is_loaded(tmp_path: Path):
    """SimpleITK sees neither the name nor a byte."""
    put(tmp_path / "a.nrrd", nrrd(GZIP, encoding="gzip"))
    put(tmp_path / "b.mha", zipped())
    code = (
        "import sys; from pathlib import Path; from inference.scan.volume import read_volume; "
        "[read_volume(Path(p)) for p in sys.argv[1:]]; sys.exit('SimpleITK' in sys.modules)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "a.nrrd"), str(tmp_path / "b.mha")]
    root = Path(__file__).resolve().parents[3]
    subprocess.run(words, check=True, cwd=root)


def test_memory_is_asked_for_before_it_is_taken(tmp_path: Path):
    voxels = VOXELS.size
    wanted = {
        "a.nrrd": (nrrd(), voxels * 3),
        "b.mha": (zipped(), voxels * 3),
        "c.nrrd": (nrrd_bytes(VOXELS.astype("<f4")), voxels * 7),
        "d.mha": (mha(WORDS, BinaryData="False"), voxels * 3),
    }
    for name, (data, expected) in wanted.items():
        asked: list[int] = []
        read_volume(put(tmp_path / name, data), asked.append)
        assert asked == [expected]

    def refuse(needed: int) -> None:
        raise MemoryError(needed)

    for name in wanted:
        with pytest.raises(ScanError, match="does not fit into memory"):
            read_volume(tmp_path / name, refuse)


def test_every_truncation_and_every_flipped_byte_of_compressed_voxels(tmp_path: Path):
    small = VOXELS[:3, :3, :3]
    head = metaimage_bytes(small, b"", CompressedData="True")
    stream = zlib.compress(small.tobytes())
    path = tmp_path / "scan.mha"
    for length in range(len(stream)):
        with pytest.raises(ScanError):
            read_volume(put(path, head + stream[:length]))
    for at in range(len(stream)):
        changed = bytearray(stream)
        changed[at] ^= 0xFF
        with pytest.raises(ScanError):
            read_volume(put(path, head + bytes(changed)))


def test_a_phantom_gets_the_same_warnings_in_every_format(tmp_path: Path):
    phantom = make_phantom((12, 22, 24), (14.0, 14.0, 14.0), seed=9)
    image = sitk.GetImageFromArray(phantom.image_ZYX)
    image.SetSpacing(phantom.grid.spacing[::-1])
    image.SetOrigin(ORIGIN)
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"), useCompression=True)
        assert read_volume(tmp_path / f"scan{suffix}").warnings == ()
