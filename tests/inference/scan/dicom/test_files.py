"""Files as they lie: broken, old, of many frames, in a .zip, behind links."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import (
    LegacyConvertedEnhancedCTImageStorage,
)

from inference.errors import ScanError
from inference.scan.dicom.series import LeftOut
from inference.scan.volume import read_series, read_volume
from tests.inference.scan.dicom.series_maker import (
    data_set,
    make_slices,
    write_enhanced,
    write_series,
)
from tests.inference.scan.dicom.trees import GEOMETRY, flat, look, reasons


def test_broken_files_are_listed_and_said(tmp_path: Path):
    paths = write_series(tmp_path, make_slices(GEOMETRY))
    paths[4].write_bytes(b"")
    (tmp_path / "odd.dcm").write_bytes(b"no DICOM at all")
    (tmp_path / "notes.txt").write_bytes(b"")
    found, left_out = look(tmp_path)
    (series,) = found.values()
    assert series.notes == ("2 files beside it cannot be read: slices may be missing",)
    assert reasons(left_out) == {"is empty": 1, "is no DICOM file": 1}
    warnings = read_series(series).warnings
    assert "2 files beside it cannot be read: slices may be missing" in warnings
    assert any("interpolated: 1 missing" in note for note in warnings)


def test_without_preamble_and_meta_information(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    paths = write_series(tmp_path, slices)
    for path in paths:
        data = path.read_bytes()
        length = int.from_bytes(data[140:144], "little")
        path.write_bytes(data[144 + length :])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])


@pytest.mark.parametrize("implicit", [True, False])
def test_old_files_of_a_data_set_alone(tmp_path: Path, implicit: bool):
    slices = make_slices(GEOMETRY)
    for k, place in enumerate(slices):
        ds = data_set(place, k + 1)
        ds.save_as(tmp_path / f"{k}", implicit_vr=implicit, little_endian=True)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels_ZYX, [s.hu for s in slices])


def test_a_file_of_many_frames_by_its_own_name(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    path = write_enhanced(
        tmp_path / "CT.1.2.3.dcm", slices, sop_class=LegacyConvertedEnhancedCTImageStorage
    )
    found, left_out = look(path)
    assert (list(found), left_out) == (["CT.1.2.3"], [])
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert volume.source is not None
    assert [frame.frame for frame in volume.source.frames] == list(range(10))


def test_one_slice_of_a_series_is_refused(tmp_path: Path):
    path = write_series(tmp_path, make_slices(GEOMETRY))[0]
    with pytest.raises(ScanError, match=r"no CT series: fewer than 8 slices \(1\); give a CT"):
        read_volume(path)


def test_several_series_where_one_is_wanted(tmp_path: Path):
    write_series(tmp_path / "a", flat(40))
    write_series(tmp_path / "b", flat(140), series="2")
    with pytest.raises(ScanError, match=r"holds 2 CT series \(a, b\); give one of them"):
        read_volume(tmp_path)


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                info = zipfile.ZipInfo(prefix + str(file.relative_to(folder)))
                archive.writestr(info, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return path


def test_a_zip_is_read_where_it_lies(tmp_path: Path):
    slices = make_slices(GEOMETRY)
    write_series(tmp_path / "in" / "ct", slices)
    path = zipped(tmp_path / "in", tmp_path / "study.zip")
    before = sorted(tmp_path.rglob("*"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels_ZYX, [s.hu for s in slices])
    assert sorted(tmp_path.rglob("*")) == before
    assert list(look(path)[0]) == ["ct"]
    assert volume.source is not None
    assert volume.source.header().PatientID == "P1"
    assert len(volume.source.headers()) == 10


def test_a_zip_of_slices_alone_is_named_after_itself(tmp_path: Path):
    write_series(tmp_path / "in", make_slices(GEOMETRY))
    path = zipped(tmp_path / "in", tmp_path / "study.zip")
    assert list(look(path)[0]) == ["study"]
    write_series(tmp_path / "tree" / "x", make_slices(GEOMETRY), series="2")
    path.rename(tmp_path / "tree" / "y.zip")
    assert sorted(look(tmp_path / "tree")[0]) == ["x", "y"]


@pytest.mark.parametrize("prefix", ["../", "/", "a/../../", "..\\", "C:\\"])
def test_members_that_lead_out_of_their_zip(tmp_path: Path, prefix: str):
    write_series(tmp_path / "in", make_slices(GEOMETRY))
    path = zipped(tmp_path / "in", tmp_path / "study.zip", prefix)
    found, left_out = look(path)
    assert found == {}
    assert {out.reason for out in left_out} == {"its name leads out of its .zip"}


@pytest.mark.parametrize("name", ["", ".", "./."])
def test_members_without_a_name(tmp_path: Path, name: str):
    write_series(tmp_path / "in" / "ct", make_slices(GEOMETRY))
    path = zipped(tmp_path / "in", tmp_path / "study.zip")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = name
        archive.writestr(info, b"no DICOM")
    found, left_out = look(path)
    assert list(found) == ["ct"]
    assert left_out == [LeftOut(str(path), "one of its files has no name", 1)]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (zipfile.ZIP_DEFLATED, "is damaged within its .zip"),
        (zipfile.ZIP_BZIP2, "is damaged within its .zip"),
        (zipfile.ZIP_LZMA, "is damaged within its .zip"),
        (97, "is packed within its .zip in a way that is not read"),
    ],
)
def test_a_member_that_cannot_be_unpacked(tmp_path: Path, method: int, words: str):
    write_series(tmp_path / "in" / "ct", make_slices(GEOMETRY))
    path = zipped(tmp_path / "in", tmp_path / "study.zip")
    data = np.random.default_rng(0).integers(0, 4, 5000).astype(np.uint8).tobytes()
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("bad.dcm")
        archive.writestr(info, data, method if method < 97 else zipfile.ZIP_STORED)
        at, size = info.header_offset + 30 + len(info.filename), info.compress_size
    whole = bytearray(path.read_bytes())
    whole[at + 9 : at + size] = b"\xff" * (size - 9)
    if method == 97:
        for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            start = whole.rindex(mark) + place
            whole[start : start + 2] = method.to_bytes(2, "little")
    path.write_bytes(whole)
    found, left_out = look(path)
    assert [len(s.headers) for s in found.values()] == [10]
    (reason,) = reasons(left_out)
    assert words in reason


def test_links_out_of_the_tree_and_round_in_it(tmp_path: Path):
    write_series(tmp_path / "elsewhere", make_slices(GEOMETRY), series="2")
    write_series(tmp_path / "in" / "ct", make_slices(GEOMETRY))
    (tmp_path / "in" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "ct" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in" / "ct")
    found, left_out = look(tmp_path / "in")
    assert [len(s.headers) for s in found.values()] == [10]
    assert reasons(left_out) == {"is a link that leads out of the input folder": 1}
