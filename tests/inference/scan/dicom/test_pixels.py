"""Stored values become HU: every transfer syntax, sign, unused bits, rescaling, padding."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from inference.errors import ScanError
from inference.scan.volume import read_volume
from tests.inference.scan.dicom.series_maker import (
    Geometry,
    Slice,
    make_slices,
    set_stored,
    write_enhanced,
    write_series,
)

LOSSLESS = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian, RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless,
    JPEG2000Lossless,
]  # fmt: skip
GEOMETRY = Geometry(along=tuple(6.0 * k for k in range(9)))


def truth(slices: list[Slice]) -> np.ndarray:
    return np.stack([s.hu for s in slices])


@pytest.fixture(scope="module")
def slices() -> list[Slice]:
    return make_slices(GEOMETRY)


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("unsigned 16", "signed 13")),
        *("signed 16", "unsigned 12"),
    ],
)
@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
def test_lossless(tmp_path: Path, slices: list[Slice], syntax: str, kind: str):
    sign, bits = kind.split()

    def change(ds: Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit = int(bits), int(bits) - 1
        ds.PixelRepresentation = int(sign == "signed")
        ds.RescaleIntercept = 0 if sign == "signed" else -1024
        set_stored(ds, slices[k].hu - float(ds.RescaleIntercept))

    write_series(tmp_path, slices, change=change, syntax=syntax)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels_ZYX, truth(slices))
    assert volume.voxels_ZYX.dtype == np.int16
    assert volume.warnings == ()


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda uid: uid.name)
def test_lossless_frames(tmp_path: Path, slices: list[Slice], syntax: str):
    """Slopes change from frame to frame; the first and last may be 2, since that stays whole."""
    slopes = [2.0 if k % 3 == 0 else 1.0 for k in range(len(slices))]
    even = [Slice(s.hu - s.hu % 2, s.position, s.row, s.column, s.spacing) for s in slices]
    write_enhanced(tmp_path / "ct", even, syntax=syntax, slopes=slopes)
    np.testing.assert_array_equal(read_volume(tmp_path / "ct").voxels_ZYX, truth(even))


def test_lossy_is_said(tmp_path: Path, slices: list[Slice]):
    write_series(tmp_path, slices, syntax=JPEG2000)
    volume = read_volume(tmp_path)
    assert volume.warnings == ("the images were compressed with losses",)
    seen, expected = volume.voxels_ZYX, truth(slices)
    for k, plane in enumerate(seen):  # at a tenth of the size, but no other slice is nearer
        off = [np.abs(plane - other).mean() for other in expected]
        assert off[k] < 80
        assert np.corrcoef(plane.ravel(), expected[k].ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("option", "syntax", "off"),
    [("+ee", JPEGExtended12Bit, 4.0), ("+eb", JPEGBaseline8Bit, 40.0)],
    ids=["extended, 12 bits", "baseline, 8 bits"],
)
def test_jpeg_with_losses(
    tmp_path: Path, slices: list[Slice], option: str, syntax: str, off: float
):
    """As DCMTK writes a CT: another intercept, for baseline another slope, that is not whole."""
    tool = shutil.which("dcmcjpeg")
    if tool is None:
        pytest.skip("no dcmcjpeg: apt-get install dcmtk")

    def change(ds: Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit = 12, 11

    (tmp_path / "out").mkdir()
    for path in write_series(tmp_path / "in", slices, change=change):
        written = tmp_path / "out" / path.name
        subprocess.run([tool, option, "+q", "95", path, written], check=True)
        assert dcmread(written).file_meta.TransferSyntaxUID == syntax
    volume = read_volume(tmp_path / "out")
    assert volume.warnings == ("the images were compressed with losses",)
    errors = np.abs(volume.voxels_ZYX - truth(slices))
    assert np.percentile(errors, 99) <= off and errors.max() <= 2 * off


def test_baseline_jpeg_by_another_encoder(tmp_path: Path, slices: list[Slice]):
    """8 bits by Pillow, 8 HU each."""

    def change(ds: Dataset, k: int) -> None:
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds.RescaleSlope = 8
        stored = np.clip((slices[k].hu + 1024) / 8, 0, 255).round().astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(stored).save(buffer, "JPEG", quality=95)
        ds.PixelData = encapsulate([buffer.getvalue()])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True

    for path in write_series(tmp_path, slices, change=change, syntax=JPEGBaseline8Bit):
        assert dcmread(path).file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    volume = read_volume(tmp_path)
    assert volume.warnings == ("the images were compressed with losses",)
    errors = np.abs(volume.voxels_ZYX - truth(slices))
    assert np.percentile(errors, 99) <= 40


def test_lossy_once_is_said_too(tmp_path: Path, slices: list[Slice]):
    def change(ds: Dataset, k: int) -> None:
        ds.LossyImageCompression = "01"

    write_series(tmp_path, slices, change=change)
    assert read_volume(tmp_path).warnings == ("the images were compressed with losses",)


def test_a_syntax_that_is_not_read(tmp_path: Path, slices: list[Slice]):
    other = JPEG2000Lossless[:-1] + "2"  # of the same length
    for path in write_series(tmp_path, slices, syntax=JPEG2000Lossless):
        path.write_bytes(path.read_bytes().replace(JPEG2000Lossless.encode(), other.encode()))
    with pytest.raises(ScanError, match=r"IM0001 is JPEG 2000 Part 2 .* not read; export it"):
        read_volume(tmp_path)


def test_each_slices_own_slope_and_intercept(tmp_path: Path, slices: list[Slice]):
    def change(ds: Dataset, k: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 1 + k % 2, -1024 - 10 * k
        set_stored(ds, np.rint((slices[k].hu + 1024 + 10 * k) / (1 + k % 2)))

    write_series(tmp_path, slices, change=change)
    volume = read_volume(tmp_path)
    assert np.abs(volume.voxels_ZYX - truth(slices)).max() <= 1
    assert volume.voxels_ZYX.dtype == np.int16


def test_a_slope_that_is_not_whole(tmp_path: Path, slices: list[Slice]):
    def change(ds: Dataset, k: int) -> None:
        if k == 5:
            ds.RescaleSlope = "0.5"
            set_stored(ds, (slices[k].hu + 1024) * 2 + 1)

    write_series(tmp_path, slices, change=change)
    volume = read_volume(tmp_path)
    assert volume.voxels_ZYX.dtype == np.float32
    expected = truth(slices)
    expected[5] += 0.5
    np.testing.assert_array_equal(volume.voxels_ZYX, expected)


@pytest.mark.parametrize("slope", ["0", "NaN", "1e400"])
def test_a_slope_that_is_none(tmp_path: Path, slices: list[Slice], slope: str):
    paths = write_series(tmp_path, slices)
    for path in paths:
        data = path.read_bytes()
        at = data.index(b"\x28\x00\x53\x10DS")
        padded = slope.encode() + b" " * (len(slope) % 2)
        head = data[: at + 6] + len(padded).to_bytes(2, "little") + padded
        path.write_bytes(head + data[at + 8 + int.from_bytes(data[at + 6 : at + 8], "little") :])
    with pytest.raises(ScanError, match=r"rescale slope|cannot be read by pydicom"):
        read_volume(tmp_path)


def test_no_slope_and_intercept(tmp_path: Path, slices: list[Slice]):
    def change(ds: Dataset, k: int) -> None:
        del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
        ds.PixelRepresentation = 1
        set_stored(ds, slices[k].hu)

    write_series(tmp_path, slices, change=change)
    volume = read_volume(tmp_path)
    assert volume.warnings == ("no rescale slope or intercept is stated: 1 and 0 are taken",)
    np.testing.assert_array_equal(volume.voxels_ZYX, truth(slices))


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("RescaleType is US", {"RescaleType": "US"}),
        ("MONOCHROME1", {"PhotometricInterpretation": "MONOCHROME1"}),
        ("lies prone (PatientPosition FFP)", {"PatientPosition": "FFP"}),
        ("lies on the left side (PatientPosition HFDL)", {"PatientPosition": "HFDL"}),
    ],
)
def test_oddities_are_said_once(
    tmp_path: Path, slices: list[Slice], words: str, change: dict[str, str]
):
    write_series(tmp_path, slices, change=lambda ds, k: ds.update(change))
    volume = read_volume(tmp_path)
    assert len(volume.warnings) == 1
    assert words in volume.warnings[0]
    np.testing.assert_array_equal(volume.voxels_ZYX, truth(slices))


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_signed_padding_is_air(tmp_path: Path, slices: list[Slice], vr: str):
    """GE's -2000 outside of the circle, its VR right or mistaken."""

    def change(ds: Dataset, k: int) -> None:
        ds.PixelRepresentation = 1
        stored = slices[k].hu + 1024
        stored[:3] = -2000
        set_stored(ds, stored)
        ds.add_new(0x00280120, vr, -2000 if vr == "SS" else 65536 - 2000)

    write_series(tmp_path, slices, change=change)
    expected = truth(slices)
    expected[:, :3] = -1024
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels_ZYX, expected)


def test_a_range_of_padding(tmp_path: Path, slices: list[Slice]):
    def change(ds: Dataset, k: int) -> None:
        stored = slices[k].hu + 1024
        stored[0, :2] = 65000, 65535
        set_stored(ds, stored)
        ds.add_new(0x00280120, "US", 65535)
        ds.add_new(0x00280121, "US", 65000)

    write_series(tmp_path, slices, change=change)
    assert (read_volume(tmp_path).voxels_ZYX[:, 0, :2] == -1024).all()


def test_a_padding_value_of_tissue_is_left_alone(tmp_path: Path, slices: list[Slice]):
    """0 in a header that somebody rewrote is water, unless it fills a corner."""
    value = 1024 + 300  # a probe's

    def change(ds: Dataset, k: int) -> None:
        ds.add_new(0x00280120, "US", value)

    write_series(tmp_path, slices, change=change)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels_ZYX, truth(slices))
    assert volume.warnings == ("the stated padding value is one of tissue: it is taken as tissue",)


def test_padding_of_tissues_value_that_fills_a_corner(tmp_path: Path, slices: list[Slice]):
    def change(ds: Dataset, k: int) -> None:
        stored = slices[k].hu + 1024
        stored[:4, :4] = 1024
        set_stored(ds, stored)
        ds.add_new(0x00280120, "US", 1024)

    write_series(tmp_path, slices, change=change)
    assert (read_volume(tmp_path).voxels_ZYX[:, :4, :4] == -1024).all()


def test_bits_beyond_those_that_are_stored(tmp_path: Path, slices: list[Slice]):
    """Old files keep an overlay in the unused bits."""

    def change(ds: Dataset, k: int) -> None:
        ds.BitsStored, ds.HighBit = 12, 11
        stored = slices[k].hu + 1024
        stored[5:9, 5:9] += 1 << 12
        set_stored(ds, stored)

    write_series(tmp_path, slices, change=change)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels_ZYX, truth(slices))


@pytest.mark.parametrize("size", [(513, 16), (15, 17)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]):
    rows, columns = size
    slices = make_slices(Geometry(shape=size, spacing=(200 / rows, 130 / columns)))
    write_series(tmp_path, slices)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels_ZYX, truth(slices))


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("stores 12 of 16 bits up to bit 15", {"BitsStored": 12, "HighBit": 15}),
        ("stores 17 of 16 bits", {"BitsStored": 17, "HighBit": 16}),
        ("holds no grey values (PALETTE COLOR)", {"PhotometricInterpretation": "PALETTE COLOR"}),
        ("stores 1 of 1 bits", {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}),
    ],
)
def test_layouts_that_are_not_read(
    tmp_path: Path, slices: list[Slice], words: str, change: dict[str, object]
):
    write_series(tmp_path, slices, change=lambda ds, k: ds.update(change) if k == 4 else None)
    with pytest.raises(ScanError) as caught:
        read_volume(tmp_path)
    assert f"IM0005 {words}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_modality_table_is_refused(tmp_path: Path, slices: list[Slice]):
    def change(ds: Dataset, k: int) -> None:
        table = Dataset()
        table.LUTDescriptor = [2, 0, 16]
        table.ModalityLUTType = "HU"
        table.LUTData = b"\0\0\1\0"
        ds.ModalityLUTSequence = [table]

    write_series(tmp_path, slices, change=change)
    with pytest.raises(ScanError, match="maps its values by a table"):
        read_volume(tmp_path)
