"""NRRD and MetaImage: other ways to write the same header, and what is said of odd ones."""

from __future__ import annotations

import bz2
import gzip
import os
import threading
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.errors import HeaderError, ScanError
from inference.grid import Grid
from inference.scan import text_formats
from inference.scan.metaimage import metaimage_header
from inference.scan.nrrd import nrrd_header
from inference.scan.volume import Volume, read_volume
from tests.inference.scan.plain_scan import GZIP, RAW, VOXELS, WORDS, ZLIB, mha, nrrd, zipped
from tests.inference.text_files import ORIGIN, SPACING, put

SLICE = RAW[: 7 * 8 * 2]
BOM = b"\xef\xbb\xbf"
NO_SPACE = {"space": None, "space_directions": None, "space_origin": None}
# A flag, a name and a comment of gzip's header, and its own checksum.
FLAGGED = b"\x1f\x8b\x08\x1e" + GZIP[4:10] + b"\x03\0abcname\0comment\0"
FLAGGED += (zlib.crc32(FLAGGED) & 0xFFFF).to_bytes(2, "little") + GZIP[10:]


SAME: dict[str, tuple[str, bytes]] = {
    # Byte order marks, ends of lines
    "nrrd with a byte order mark": ("nrrd", BOM + nrrd()),
    "nrrd of gzip with a byte order mark": ("nrrd", BOM + nrrd(GZIP, encoding="gzip")),
    "mha with a byte order mark": ("mha", BOM + mha()),
    "mha with a remark": ("mha", b"# by hand\n" + mha()),
    "mha with blank lines, indented": ("mha", mha(b"").replace(b"\n", b"\n\n  ", 5) + RAW),
    # Names of spaces, kinds and places
    **{
        f"nrrd in {space}": ("nrrd", nrrd(space=space))
        for space in ("left posterior superior", "LeftPosteriorSuperior", "lps")
    },
    "nrrd with a list's vector of NaN": (
        "nrrd",
        nrrd(dimension="4", sizes="1 8 7 6", kinds="list domain domain domain",
             space_directions="(nan,nan,nan) (0.75,0,0) (0,0.875,0) (0,0,2.5)"),
    ),
    "nrrd with blanks and tabs between vectors": (
        "nrrd", nrrd(space_directions="(0.75, 0, 0)\t(0, 0.875, 0)  (0, 0, 2.5)")
    ),
    "nrrd in mm, at length": ("nrrd", nrrd(space_units='"millimeters" "mm" "???"')),
    "nrrd in mm without quotes": ("nrrd", nrrd(space_units="mm mm mm")),
    "mha in capitals": ("mha", mha(DistanceUnits="MM")),
    # Counted from the end
    **{
        f"nrrd {encoding}, {len(behind)} bytes behind": (
            "nrrd",
            nrrd(pack(b"before" + RAW + behind), encoding=encoding,
                 byte_skip=str(-1 - len(behind))),
        )
        for encoding, pack in (
            ("raw", bytes), ("gzip", gzip.compress), ("bzip2", bz2.compress),
            ("hex", lambda data: data.hex().encode()),
        )
        for behind in (b"", b"xy")
    },
    "nrrd gzip behind more than itself": (
        "nrrd", nrrd(gzip.compress(RAW * 3 + RAW), encoding="gzip", byte_skip="-1")
    ),
    # Stated twice, in two ways that agree
    "mha origin twice": ("mha", mha(Position="-100.50 20.250 3e0")),
    "mha byte order twice": ("mha", mha(ElementByteOrderMSB="F")),
    # Compressed
    "mha zlib of a size of another file": ("mha", zipped(CompressedDataSize=str(2**32 + 7))),
    "mha zlib of a size that is no number": ("mha", zipped(CompressedDataSize="many")),
    "mha zlib of a size below 0": ("mha", zipped(CompressedDataSize="-1")),
    "mha gzip members in zlib's place": (
        "mha", zipped(gzip.compress(RAW[:99]) + gzip.compress(RAW[99:]))
    ),
    "nrrd gzip whose last member is empty": (
        "nrrd", nrrd(GZIP + gzip.compress(b""), encoding="gzip")
    ),
    "nrrd gzip whose header has everything": ("nrrd", nrrd(FLAGGED, encoding="gzip")),
    **{f"mha zlib {word}": ("mha", zipped(CompressedData=word)) for word in ("tRUE", "yes", "1")},
}  # fmt: skip


def assert_same(volume: Volume) -> None:
    np.testing.assert_array_equal(volume.voxels_ZYX, VOXELS)
    assert volume.grid == Grid(VOXELS.shape, SPACING[::-1], ORIGIN)


def notes(volume: Volume) -> list[str]:
    """But for the field of view, which is small in all of them."""
    return [warning for warning in volume.warnings if "field of view" not in warning]


@pytest.mark.parametrize("name", SAME)
def test_another_way_to_write_it(tmp_path: Path, name: str):
    suffix, data = SAME[name]
    volume = read_volume(put(tmp_path / f"scan.{suffix}", data))
    assert_same(volume)
    assert notes(volume) == []


@pytest.mark.parametrize(
    ("pack", "encoding", "behind"),
    [(bytes, "raw", b""), (bytes, "raw", b"xy"), (gzip.compress, "gzip", b""),
     (gzip.compress, "gzip", b"xy")],
)  # fmt: skip
def test_bytes_counted_from_the_end_are_those_of_simpleitk(tmp_path: Path, pack, encoding, behind):
    skip = str(-1 - len(behind))
    data = nrrd(pack(b"before" + RAW + behind), encoding=encoding, byte_skip=skip)
    path = put(tmp_path / "scan.nrrd", data)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(read_volume(path).voxels_ZYX, expected)


SAID: dict[str, tuple[str, bytes, str]] = {
    "raw nrrd of a slice more": ("nrrd", nrrd(RAW + SLICE), "data for 1 slices more"),
    "raw mha of two slices more": ("mha", mha(RAW + 2 * SLICE), "data for 2 slices more"),
    "gzip nrrd of a slice more": (
        "nrrd", nrrd(gzip.compress(RAW + SLICE), encoding="gz"), "data for 1 slices more"
    ),
    "zlib mha of a slice more": ("mha", zipped(zlib.compress(RAW + SLICE)), "for 1 slices more"),
    "hexadecimal nrrd of a slice more": (
        "nrrd", nrrd((RAW + SLICE).hex().encode(), encoding="hex"), "data for 1 slices more"
    ),
    "text nrrd of more": ("nrrd", nrrd(WORDS + b" 7\n", encoding="txt"), "more numbers"),
    "text mha of more, later": (
        "mha", mha(WORDS + b" " * (1 << 17) + b"7", BinaryData="False"), "more numbers"
    ),
    "zlib mha and something else": ("mha", zipped(ZLIB + b"garbage"), "something else follows"),
    "gzip nrrd and something else": (
        "nrrd", nrrd(GZIP + b"\r\n<html>", encoding="gzip"), "something else follows"
    ),
    "bzip2 nrrd and something else": (
        "nrrd", nrrd(bz2.compress(RAW) + b"BZ", encoding="bzip2"), "something else follows"
    ),
    "nrrd in pixels": (
        "nrrd", nrrd(space_units='"pixels" "mm" "mm"'), "unknown unit (pixels): mm is assumed"
    ),
    "mha in furlongs": ("mha", mha(DistanceUnits="furlongs"), "unknown unit (furlongs)"),
    "nrrd of axes that begin nowhere": (
        "nrrd",
        nrrd(**NO_SPACE, spacings="0.75 0.875 2.5", axis_mins="nan nan nan"),
        "orientation is taken as ITK does",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_what_is_odd_is_said(tmp_path: Path, name: str):
    suffix, data, words = SAID[name]
    volume = read_volume(put(tmp_path / f"scan.{suffix}", data))
    np.testing.assert_array_equal(volume.voxels_ZYX, VOXELS)
    assert volume.grid.spacing == SPACING[::-1]
    (note,) = notes(volume)
    assert words in note


def test_a_few_bytes_more_are_padding(tmp_path: Path):
    volume = read_volume(put(tmp_path / "scan.mha", mha(RAW + SLICE[:-1])))
    assert_same(volume)
    assert notes(volume) == []


HEADERS = {"nhdr": lambda name: nrrd(b"", data_file=name), "mhd": lambda name: mha(b"", name)}


@pytest.mark.parametrize("suffix", HEADERS)
@pytest.mark.parametrize("way", ["composed", "decomposed", "latin-1"])
def test_the_same_letters_in_other_bytes(tmp_path: Path, suffix: str, way: str):
    """A name that a header keeps while the file's own is rewritten: macOS, Windows, archives."""
    name = "M\u00fcller.raw"
    ways = {
        "composed": name.encode(),
        "decomposed": unicodedata.normalize("NFD", name).encode(),
        "latin-1": name.encode("latin-1"),
    }
    path = put(tmp_path / f"scan.{suffix}", HEADERS[suffix]("@").replace(b"@", ways.pop(way)))
    there, other = (tmp_path / os.fsdecode(spelt) for spelt in ways.values())
    put(tmp_path / "Muller.raw", RAW[::-1])
    put(there, RAW)
    assert_same(read_volume(path))
    put(other, RAW)  # which one is meant is not to be guessed
    with pytest.raises(ScanError, match="cannot be read"):
        read_volume(path)


@pytest.mark.parametrize("suffix", HEADERS)
@pytest.mark.parametrize("linked", [False, True])
def test_a_whole_path_into_the_header_s_own_folder(tmp_path: Path, suffix: str, linked: bool):
    folder = tmp_path / "scans"
    (folder / "raw").mkdir(parents=True)
    put(folder / "raw" / "d.raw", RAW)
    path = put(folder / f"scan.{suffix}", HEADERS[suffix](f"{folder}/raw/d.raw"))
    put(tmp_path / "d.raw", RAW)
    elsewhere = put(folder / f"else.{suffix}", HEADERS[suffix](f"{folder}/raw/../../d.raw"))
    if linked:
        (tmp_path / "link").symlink_to(folder)
        path = tmp_path / "link" / path.name
    assert_same(read_volume(path))
    with pytest.raises(ScanError, match="outside its folder"):
        read_volume(elsewhere)


def test_header_and_voxels_come_from_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever takes its place between the two."""
    path = put(tmp_path / "scan.nrrd", nrrd())
    other = put(tmp_path / "other", nrrd(RAW[::-1]))
    parse = text_formats.READERS[".nrrd"]

    def parse_and_replace(where: Path, head: bytes):
        other.rename(where)
        return parse(where, head)

    monkeypatch.setitem(text_formats.READERS, ".nrrd", parse_and_replace)
    assert_same(read_volume(path))
    np.testing.assert_array_equal(VOXELS.ravel()[::-1].byteswap(), sitk_voxels(path))


def sitk_voxels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="NrrdImageIO")).ravel()


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_files_that_shrink_and_grow_while_they_are_read(tmp_path: Path, suffix: str):
    """A copy that is still being made: the scan whole, or one line, and never a part."""
    data = nrrd(GZIP, encoding="gzip") if suffix == "nrrd" else mha()
    path = put(tmp_path / f"scan.{suffix}", data)
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 97
            with path.open("r+b") as file:
                file.truncate(number % len(data))
                file.seek(0)
                file.write(data)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            try:
                volume = read_volume(path)
            except ScanError as error:
                assert error.remedy
            else:
                assert_same(volume)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("end", ["LOCAL", "LOCAL\r"])
def test_a_metaimage_that_is_written_up_to_its_last_word(tmp_path: Path, end: str):
    """Were its header taken, voxels that are written a moment later would begin a byte early."""
    head = mha(b"").rstrip(b"\n").removesuffix(b"LOCAL") + end.encode()
    with pytest.raises(HeaderError, match="ends within its header"):
        metaimage_header(tmp_path / "scan.mha", head)
    assert metaimage_header(tmp_path / "scan.mha", head + b"\n").voxels.start == len(head) + 1


def test_an_nrrd_that_is_written_up_to_half_an_end_of_a_line(tmp_path: Path):
    head = nrrd(b"").rstrip(b"\n").replace(b"\n", b"\r\n") + b"\r\n\r"
    with pytest.raises(HeaderError):
        nrrd_header(tmp_path / "scan.nrrd", head)
    assert nrrd_header(tmp_path / "scan.nrrd", head + b"\n").voxels.start == len(head) + 1
