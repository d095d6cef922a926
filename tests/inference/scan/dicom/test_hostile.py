"""Files that lie about themselves: one line or a sound volume, in bounded time and memory."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from inference.errors import HeaderError, ScanError
from inference.machine.memory import check_memory
from inference.scan.dicom import files, headers
from inference.scan.dicom.candidates import candidates
from inference.scan.dicom.files import DicomFile
from inference.scan.dicom.gdcm import Gdcm
from inference.scan.dicom.headers import Header, read_headers
from inference.scan.dicom.pixels import read_frames
from inference.scan.dicom.reading import stored_series
from inference.scan.dicom.series import find_series
from inference.scan.volume import read_volume
from tests.inference.scan.dicom.series_maker import (
    Geometry,
    data_set,
    encoded,
    make_slices,
    write_enhanced,
    write_series,
)
from tests.inference.scan.dicom.skimmed import check_skimmed

GEOMETRY = Geometry(shape=(10, 12), spacing=(9.0, 8.0), along=tuple(8.0 * k for k in range(9)))
SLICES = make_slices(GEOMETRY)
SYNTAXES = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless,
    DeflatedExplicitVRLittleEndian, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless,
]  # fmt: skip


def refusal(path: Path) -> str:
    with pytest.raises(ScanError) as caught:
        read_volume(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- bombs


@pytest.mark.parametrize("size", [(65535, 65535), (8192, 8193), (60000, 8)])
def test_declared_sizes(tmp_path: Path, size: tuple[int, int]):
    def change(ds: Dataset, k: int) -> None:
        ds.Rows, ds.Columns = size
        ds.PixelSpacing = ["0.05", "0.05"]

    write_series(tmp_path, SLICES, change=change)
    tracemalloc.start()
    assert "claims" in refusal(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_more_than_there_is_memory_for(tmp_path: Path):
    write_series(tmp_path, SLICES)
    (series,), _ = find_series(candidates(tmp_path), tmp_path)
    told: list[int] = []

    def admit(count: int) -> None:
        told.append(count)
        check_memory(1 << 60)

    with pytest.raises(HeaderError, match="of memory and"):
        stored_series(series, admit)
    assert told == [9 * 10 * 12 * 3]  # int16 and labels


@pytest.mark.parametrize("count", [2**31 - 1, 10, 8])
def test_frames_that_are_not_there(tmp_path: Path, count: int):
    write_enhanced(
        tmp_path / "a.dcm", SLICES, change=lambda ds: ds.update({"NumberOfFrames": count})
    )
    assert f"claims {count} frames and describes 9" in refusal(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", ["1e308", "-1e308", "1e308"]),
        ("ImageOrientationPatient", ["1e200", 0, 0, 0, "1e200", 0]),
        ("PixelSpacing", ["1e155", "1e155"]),
    ],
)
def test_numbers_beyond_all_that_is_measured(tmp_path: Path, keyword: str, value: list[object]):
    """Of one slice: it is damaged, and said to be. Of all: no place is a billion mm away."""

    def of(these: range) -> Callable[[Dataset, int], None]:
        return lambda ds, k: ds.update({keyword: value}) if k in these else None

    write_series(tmp_path / "one", SLICES, change=of(range(4, 5)))
    volume = read_volume(tmp_path / "one")
    assert volume.grid.shape[0] == 9
    assert volume.warnings[0] == "1 file beside it cannot be read: slices may be missing"
    write_series(tmp_path / "all", SLICES, change=of(range(9)))
    said = refusal(tmp_path / "all")
    assert "states its place, orientation or spacing as " in said
    assert len(said.removeprefix(str(tmp_path))) < 200


def test_a_deflated_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_MOST_INFLATED", 1 << 24)
    path = tmp_path / "a.dcm"
    data = encoded(data_set(SLICES[0], 1), DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(data[140:144], "little")
    plain = zlib.decompress(data[start:], -15)
    squeeze = zlib.compressobj(9, wbits=-15)
    packed = squeeze.compress(plain + bytes(1 << 26)) + squeeze.flush()
    path.write_bytes(data[:start] + packed)
    tracemalloc.start()
    (header,) = read_headers(DicomFile(path))
    assert isinstance(header, Header)
    with pytest.raises(HeaderError, match="inflates to more"):
        DicomFile(path).open()
    assert tracemalloc.get_traced_memory()[1] < 120e6
    tracemalloc.stop()


def test_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A member of 64 MB in 65 kB: its header is read, and then it is refused."""
    monkeypatch.setattr(files, "_MOST_INFLATED", 1 << 24)
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, place in enumerate(SLICES):
            more = bytes(1 << 26) if k == 3 else b""
            archive.writestr(f"{k}.dcm", encoded(data_set(place, k + 1)) + more)
    tracemalloc.start()
    assert "3.dcm claims 671" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless])
def test_a_codestream_larger_than_its_header(tmp_path: Path, syntax: str):
    """What the decoder would take memory for."""
    paths = write_series(tmp_path, SLICES, syntax=syntax)
    ds = dcmread(paths[4])
    frame = bytearray(next(generate_frames(ds.PixelData, number_of_frames=1)))
    if syntax == JPEG2000Lossless:
        at = frame.find(b"\xff\x51")
        frame[at + 6 : at + 14] = struct.pack(">II", 1 << 20, 1 << 20)
    else:
        at = max(frame.find(b"\xff\xc3"), frame.find(b"\xff\xf7"))
        frame[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    ds.PixelData = encapsulate([bytes(frame)])
    ds.save_as(paths[4])
    assert "IM0005 holds a frame of " in (said := refusal(tmp_path))
    assert "where its header says 12 x 10" in said


def test_a_frame_that_kills_its_decoder_costs_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from inference.scan.dicom import gdcm

    child = tmp_path / "child.py"
    child.write_text("import os, sys\nsys.stdin.buffer.read(9)\nos.kill(os.getpid(), 11)\n")
    monkeypatch.setattr(gdcm, "_CHILD", child)
    write_series(tmp_path / "in", SLICES, syntax=JPEGLosslessSV1)
    assert "holds a frame that is corrupt" in refusal(tmp_path / "in")


def test_a_decoder_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from inference.scan.dicom import gdcm

    child = tmp_path / "child.py"
    child.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(gdcm, "_CHILD", child)
    monkeypatch.setattr(gdcm, "_LONGEST_S", 0.5)
    write_series(tmp_path / "in", SLICES, syntax=JPEGLosslessSV1)
    assert "holds a frame that is corrupt" in refusal(tmp_path / "in")


# ---- damage


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_truncated_anywhere(tmp_path: Path, syntax: str):
    """The cut slice is missing, and said to be, or the whole is refused: never a wrong one."""
    paths = write_series(tmp_path, SLICES, syntax=syntax)
    whole = paths[4].read_bytes()
    truth = np.stack([s.hu for s in SLICES])
    lengths = [0, 1, 100, 131, 132, 200, 350, 700, len(whole) // 2, len(whole) - 40]
    if syntax in (JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless):
        lengths = lengths[-1:]  # each starts decoders
    for length in lengths:
        paths[4].write_bytes(whole[:length])
        try:
            volume = read_volume(tmp_path)
        except ScanError as error:
            assert "\n" not in str(error)
            continue
        others = [k for k in range(9) if k != 4]
        np.testing.assert_array_equal(volume.voxels_ZYX[others], truth[others])
        if not np.array_equal(volume.voxels_ZYX[4], truth[4]):
            assert any("interpolated: 1 missing" in note for note in volume.warnings)


def nested(depth: int) -> bytes:
    """Sequences in sequences that never end."""
    item = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    return item * depth


@pytest.mark.parametrize(
    "more",
    [
        nested(3),
        nested(5000),
        b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" * 20000,
        b"\x09\0\x01\x10UN\0\0\xff\xff\xff\xff" + bytes(10000),
        b"\x09\0\x01\x10OB\0\0\xf0\xff\xff\xff" + bytes(10),
        b"\x09\0\x01\x10OB\0\0\xff\xff\xff\xff" + bytes(100_000),
        b"\x08\0\x05\0CS\xff\xff" + b"A" * 100,
    ],
    ids=["3 deep", "5000 deep", "20000 items", "UN", "too long", "no end", "characters"],
)
def test_sequences_and_values_without_end(tmp_path: Path, more: bytes):
    paths = write_series(tmp_path, SLICES)
    data = paths[4].read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    paths[4].write_bytes(data[:start] + more + data[start:])
    try:
        volume = read_volume(tmp_path)
    except ScanError as error:
        assert "\n" not in str(error)
    else:
        assert len(volume.warnings) >= 1
        assert volume.grid.shape[0] == 9


@pytest.mark.parametrize("name", ["a.dcm", "a.zip", "a"])
@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04", b"PK\5\6" + bytes(18), bytes(128) + b"DICM", bytes(200), b"\x08\0" * 100],
    ids=["nothing", "half a zip", "an empty zip", "a preamble", "zeros", "8s"],
)
def test_files_of_nothing(tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)
    refusal(tmp_path / name)
    refusal(tmp_path)


def test_an_encrypted_zip(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.dcm", encoded(data_set(SLICES[0], 1)))
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(magic) + offset] |= 1
    path.write_bytes(bytes(data))
    assert "is encrypted within its .zip" in refusal(path)


def test_a_file_that_changes_after_it_was_looked_through(tmp_path: Path):
    paths = write_series(tmp_path, SLICES)
    (series,), _ = find_series(candidates(tmp_path), tmp_path)
    other = replace(SLICES[4], hu=SLICES[4].hu[:-1])
    paths[4].write_bytes(encoded(data_set(other, 5)))
    with pytest.raises(HeaderError, match="IM0005 has changed since"):
        stored_series(series, lambda count: None)


# ---- mutations


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, cut out or put in; mostly in the header, and in lengths and VRs there."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        end = max(1, len(out) - (240 if rng.random() < 0.8 else 0))
        at = int(rng.integers(min(128, end - 1), end))
        kind = int(rng.integers(6))
        if kind == 0:
            out[at] = int(rng.integers(256))
        elif kind == 1:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            del out[at : at + int(rng.integers(1, 9))]
        elif kind == 3:
            out[at:at] = rng.integers(0, 256, int(rng.integers(1, 9)), np.uint8).tobytes()
        elif kind == 4:
            out[at : at + 4] = b"\xff\xff\xff\xff"
        else:
            other = int(rng.integers(0, end))
            out[at : at + 8] = out[other : other + 8]
    return bytes(out)


def run_over(data: bytes, path: Path, gdcm: Gdcm) -> None:
    """Header and pixels of a file: an answer, or a HeaderError of one line."""
    path.write_bytes(data)
    file = DicomFile(path)
    check_skimmed(file)
    try:
        for header in read_headers(file):
            if isinstance(header, Header):
                frame = header.frame
                if frame.rows * frame.columns > 1 << 16:
                    continue  # refused before pixels are read, by the stack's limits
                wanted = [frame.frame]
                for _, hu in read_frames(file, wanted, frame.rows, frame.columns, {}, gdcm):
                    assert hu.shape == (frame.rows, frame.columns)
                    assert hu.dtype in (np.int16, np.float32)
            else:
                assert len(header.reason) < 200
    except HeaderError as error:
        assert len(str(error)) < 400


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_usual_files_are_read_the_quick_way(tmp_path: Path, syntax: str):
    def sequences(ds: Dataset, k: int) -> None:
        inner = Dataset()
        inner.CodeValue = "x"
        inner.ReferencedSeriesSequence = [Dataset(), Dataset()]
        ds.ReferencedImageSequence = [inner, inner]
        ds["ReferencedImageSequence"].is_undefined_length = k % 2 == 0
        for item in ds.ReferencedImageSequence:
            item.is_undefined_length_sequence_item = k % 3 == 0

    for path in write_series(tmp_path, SLICES, syntax=syntax, change=sequences):
        file = DicomFile(path)
        quick = headers._quickly(file) is not None
        assert quick == (syntax not in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian))
        check_skimmed(file)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels_ZYX, [s.hu for s in SLICES])


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_quickly(tmp_path: Path, seed: int):
    mutate(tmp_path, seed, 100, native_only=True)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(100, 110))
def test_mutated_files(tmp_path: Path, seed: int):
    mutate(tmp_path, seed, 5000, native_only=False)


def mutate(folder: Path, seed: int, count: int, native_only: bool) -> None:
    rng = np.random.default_rng(seed)
    kinds = [encoded(data_set(SLICES[0], 1), syntax) for syntax in SYNTAXES]
    kinds = kinds[: 5 if native_only else None]
    kinds.append(write_enhanced(folder / "frames", SLICES).read_bytes())
    with Gdcm() as gdcm:
        for k in range(count):
            data = mutated(kinds[int(rng.integers(len(kinds)))], rng)
            try:
                run_over(data, folder / "mutated", gdcm)
            except BaseException:
                print(f"seed {seed}, mutation {k}")
                raise
