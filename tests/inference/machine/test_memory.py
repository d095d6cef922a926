"""How much memory may be taken: by the machine, and by control groups of both versions."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.errors import HeaderError, ScanError
from inference.machine import control_groups, memory
from inference.machine.memory import SharedMemory, available_bytes, check_memory
from inference.scan.volume import read_volume
from tests.inference.nifti_files import scan_voxels, write_nifti

GB = 1 << 30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the system's files: 16 GB are free, and no groups."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {16 << 20} kB\n")
    (tmp_path / "groups").write_text("")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(control_groups, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(control_groups, "_MOUNT", tmp_path / "mount")
    return tmp_path


def version1(folder: Path, limit: int, used: int, inactive: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"cache 5\ntotal_inactive_file {inactive}\n")


def version2(folder: Path, limit: int | str, used: int, inactive: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")


def test_the_machines_memory(system: Path):
    assert available_bytes() == 16 * GB


def test_a_system_that_tells_nothing(system: Path):
    (system / "meminfo").unlink()
    (system / "groups").unlink()
    assert available_bytes() is None
    check_memory(10**15)


def test_a_container_of_version_2_whose_mount_is_its_group(system: Path):
    (system / "groups").write_text("0::/\n")
    version2(system / "mount", 2 * GB, 3 * GB // 2, GB // 4)
    assert available_bytes() == 3 * GB // 4


def test_the_tightest_of_nested_groups(system: Path):
    (system / "groups").write_text("1:name=systemd:/x\n0::/jobs/one\n")
    version2(system / "mount" / "jobs", 3 * GB, GB, 0)
    version2(system / "mount" / "jobs" / "one", "max", 1, 0)
    assert available_bytes() == 2 * GB


def test_a_container_of_version_1_that_sees_the_hosts_path(system: Path):
    (system / "groups").write_text("4:memory:/docker/0123\n3:cpuset:/docker/0123\n")
    version1(system / "mount" / "memory", 2 * GB, GB, 0)
    assert available_bytes() == GB


def test_a_group_that_is_larger_than_the_machine(system: Path):
    (system / "groups").write_text("4:memory:/\n")
    version1(system / "mount" / "memory", 9223372036854771712, GB, 0)
    assert available_bytes() == 16 * GB


def test_a_group_whose_files_are_odd_is_left_out(system: Path):
    (system / "groups").write_text("0::/\n")
    version2(system / "mount", 2 * GB, GB, 0)
    (system / "mount" / "memory.current").write_text("many\n")
    assert available_bytes() == 16 * GB


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_a_scan_that_does_not_fit_is_refused(tmp_path: Path, system: Path, suffix: str):
    path = tmp_path / f"scan{suffix}"
    voxels = np.tile(scan_voxels((8, 16, 16)), (8, 8, 4))
    if suffix == ".mha":
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path))
    else:
        write_nifti(path, voxels)
    (system / "meminfo").write_text("MemAvailable: 1100 kB\n")
    with pytest.raises(ScanError, match=r"needs at least . MB of memory and 1 MB are free; give"):
        read_volume(path)
    (system / "meminfo").write_text("MemAvailable: 100000 kB\n")
    read_volume(path)


def set_free(system: Path, gigabytes: int) -> None:
    (system / "meminfo").write_text(f"MemAvailable: {gigabytes << 20} kB\n")


def test_scans_share_the_memory_that_there_is(system: Path):
    shared, both = SharedMemory(), threading.Event()

    def place_two() -> None:
        with shared.place() as first, shared.place() as second:
            first(6 * GB)
            second(6 * GB)  # 16 GB hold both, and a network
            both.set()

    thread = threading.Thread(target=place_two, daemon=True)  # for ever, if it waits
    thread.start()
    thread.join(10)
    assert both.is_set()


def test_a_scan_waits_until_the_others_leave_it_room(system: Path):
    shared, entered = SharedMemory(), threading.Event()

    def second() -> None:
        with shared.place() as admit:
            admit(6 * GB)
            entered.set()

    set_free(system, 10)
    thread = threading.Thread(target=second)
    with shared.place() as admit:
        admit(6 * GB)
        thread.start()
        assert not entered.wait(0.5)
    thread.join(10)
    assert entered.is_set()


def test_a_scan_that_is_too_large_by_itself_is_refused_once_it_is_alone(system: Path):
    set_free(system, 4)
    shared = SharedMemory()
    with shared.place() as admit, pytest.raises(HeaderError, match="4295 MB are free"):
        admit(5 * GB)
    with shared.place() as admit:  # and leaves nothing promised
        admit(3 * GB)
