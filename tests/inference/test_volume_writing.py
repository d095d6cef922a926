"""Writing: the scan's geometry bit for bit, and never half a file."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from nifti_files import nifti_bytes, scan_voxels, write_nifti
from orientations import direction_of, rotation
from test_volume_reading import sound_files

from inference.errors import OutputError
from inference.grid import Grid
from inference.nifti import NiftiHeader
from inference.volume import read_labels, read_volume, write_atomically, write_labels

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

    scan, written = nib.load(source), nib.load(target)
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


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    target = tmp_path / "a.nii.gz"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, step, no_space)
    with pytest.raises(OutputError, match="No space left") as caught:
        write_atomically(target, b"new")
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interruption_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.nii.gz", b"new")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_nothing_appears_under_the_name_before_all_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    target = tmp_path / "a.nii.gz"
    sync, synced = os.fsync, []

    def watched(descriptor: int) -> None:
        synced.append(target.exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert synced == [False, True]  # the file, then the folder that now names it


def test_a_killed_runs_leftover_goes_and_a_running_ones_partial_file_stays(tmp_path: Path):
    leftover, other, running = (
        tmp_path / f".{name}.partial"
        for name in ("a.nii.gz.01ab", "b.nii.gz.01ab", "a.nii.gz.23cd")
    )
    for path, age in ((leftover, 4000), (other, 4000), (running, 10)):
        path.write_bytes(b"half a fi")
        os.utime(path, times=(time.time() - age,) * 2)
    write_atomically(tmp_path / "a.nii.gz", b"new")
    assert (tmp_path / "a.nii.gz").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"a.nii.gz", other.name, running.name}


def test_writing_the_same_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two containers of one share have the same process id; the second begins and ends while the
    first one's data are on their way."""
    target, sync, busy = tmp_path / "a.nii.gz", os.fsync, []

    def meanwhile(descriptor: int) -> None:
        if not busy:
            busy.append(True)
            write_atomically(target, b"same")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write_atomically(target, b"same")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]
    assert target.read_bytes() == b"same"


@pytest.mark.parametrize("place", ["through a file", "missing folder", "a folder's own name"])
def test_places_that_cannot_be_written_to(tmp_path: Path, place: str):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.nii.gz" / "full").mkdir(parents=True)
    target = {
        "through a file": tmp_path / "file" / "a.nii.gz",
        "missing folder": tmp_path / "gone" / "a.nii.gz",
        "a folder's own name": tmp_path / "folder.nii.gz",
    }[place]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError) as caught:
        write_atomically(target, b"new")
    assert str(caught.value).startswith(f"{target}: cannot be written")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A function that mounts a small tmpfs with these options; skips where mounting is denied."""
    folder = tmp_path / "mounted"

    def mount_with(options: str) -> Path:
        folder.mkdir()
        tool = shutil.which("mount")
        command = [tool or "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if tool is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no tmpfs can be mounted here")
        return folder

    yield mount_with
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full(mount: Callable[[str], Path]):
    folder = mount("size=64k")
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(folder / "a.nii.gz", os.urandom(1 << 20))
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_read_only(mount: Callable[[str], Path]):
    folder = mount("size=64k,ro")
    with pytest.raises(OutputError, match="Read-only"):
        write_atomically(folder / "a.nii.gz", b"new")
