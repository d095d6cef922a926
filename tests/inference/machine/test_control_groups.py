"""CPU quotas of control groups of both versions, and what follows from them for threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import openvino as ov
import pytest
import torch

from inference.engines import torch_network
from inference.machine import control_groups, threads
from inference.machine.control_groups import groups_around, processor_quota
from inference.machine.threads import in_threads, quota_threads, worker_count
from inference.many.batch import usual_jobs
from inference.segmenter import Segmenter
from phantom import Phantom
from tests.inference.by_engine import volume_of

EIGHT = set(range(8))


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the system's files: eight processors, and no groups."""
    (tmp_path / "groups").write_text("")
    monkeypatch.setattr(control_groups, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(control_groups, "_MOUNT", tmp_path / "mount")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: EIGHT, raising=False)
    processor_quota.cache_clear()
    yield tmp_path
    processor_quota.cache_clear()


def version1(folder: Path, quota: int, period: int = 100_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


def version2(folder: Path, quota: int | str, period: int = 100_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{quota} {period}\n")


def test_no_groups(system: Path):
    assert (processor_quota(), quota_threads(), worker_count()) == (None, None, 8)


def test_a_system_without_such_files(system: Path):
    (system / "groups").unlink()
    assert groups_around("cpu") == []
    assert worker_count() == 8


@pytest.mark.parametrize(
    ("quota", "period", "workers"),
    [
        (200_000, 100_000, 2),  # docker run --cpus 2
        (150_000, 100_000, 2),
        (10_000, 100_000, 1),  # a Kubernetes limit of 100m
        (25_000, 50_000, 1),
        (790_000, 100_000, 8),
        (1_600_000, 100_000, 8),
    ],
)
def test_a_container_of_version_2_whose_mount_is_its_group(
    system: Path, quota: int, period: int, workers: int
):
    (system / "groups").write_text("0::/\n")
    version2(system / "mount", quota, period)
    assert processor_quota() == quota / period
    assert worker_count() == workers
    assert quota_threads() == (workers if workers < 8 else None)


def test_the_tightest_of_nested_groups(system: Path):
    (system / "groups").write_text("0::/kubepods/pod1/one\n")
    version2(system / "mount" / "kubepods", "max")
    version2(system / "mount" / "kubepods" / "pod1", 300_000)
    version2(system / "mount" / "kubepods" / "pod1" / "one", 500_000)
    version2(system / "mount" / "kubepods" / "pod2", 100_000)  # somebody else's
    assert processor_quota() == 3


@pytest.mark.parametrize("mounted", ["cpu,cpuacct", "cpu"])
def test_a_container_of_version_1_that_sees_the_hosts_path(system: Path, mounted: str):
    (system / "groups").write_text("4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n")
    version1(system / "mount" / mounted, 250_000)
    assert worker_count() == 3


def test_version_1_nested_and_without_a_limit(system: Path):
    (system / "groups").write_text("3:cpuacct,cpu:/jobs/one\n2:cpuset:/\n")
    version1(system / "mount" / "cpu", -1)
    assert processor_quota() is None
    processor_quota.cache_clear()
    version1(system / "mount" / "cpu" / "jobs" / "one", 60_000, 20_000)
    assert processor_quota() == 3


@pytest.mark.parametrize("text", ["", "max 100000", "many 100000", "1 2 3", "100000 0"])
def test_a_group_whose_files_are_odd_is_left_out(system: Path, text: str):
    (system / "groups").write_text("0::/\n")
    version2(system / "mount", 1)
    (system / "mount" / "cpu.max").write_text(text)
    assert processor_quota() is None


def test_jobs_and_threads_keep_to_it(system: Path, monkeypatch: pytest.MonkeyPatch):
    assert usual_jobs() == 5
    (system / "groups").write_text("0::/\n")
    version2(system / "mount", 200_000)
    processor_quota.cache_clear()
    assert usual_jobs() == 2
    asked: list[int] = []
    pool = threads.ThreadPoolExecutor
    monkeypatch.setattr(
        threads, "ThreadPoolExecutor", lambda count: asked.append(count) or pool(count)
    )
    assert in_threads(lambda i: 2 * i, range(9)) == [*range(0, 18, 2)]
    assert asked == [2]


@pytest.fixture
def quota_of_two(system: Path) -> None:
    (system / "groups").write_text("0::/\n")
    version2(system / "mount", 200_000)


class Asked:
    """What OpenVINO was told, and the threads with which its networks were compiled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings: dict[str, object] = {}
        self.threads: set[int] = set()
        asked = self

        class Core(ov.Core):
            def set_property(self, device: str, settings: dict[str, object]) -> None:
                asked.settings |= settings
                super().set_property(device, settings)

            def compile_model(self, *words: object) -> ov.CompiledModel:
                compiled = super().compile_model(*words)
                asked.threads.add(compiled.get_property("INFERENCE_NUM_THREADS"))
                return compiled

        monkeypatch.setattr(ov, "Core", Core)


def test_openvino_keeps_to_it(
    system: Path, tiny_model: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    asked = Asked(monkeypatch)
    volume = volume_of(phantom)
    Segmenter.load(tiny_model, "cpu").segment(volume)
    assert "INFERENCE_NUM_THREADS" not in asked.settings  # it counts the processors better
    (system / "groups").write_text("0::/\n")
    version2(system / "mount", 100_000)
    processor_quota.cache_clear()
    asked.threads.clear()
    Segmenter.load(tiny_model, "cpu").segment(volume)
    assert asked.threads == {1}


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads", "quota_of_two")
def test_torch_keeps_to_it_and_has_its_own_back(
    tiny_model: Path, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
):
    counts: set[int] = set()
    forward = torch_network.lean_forward

    def counted(*words: torch.Tensor) -> torch.Tensor:
        counts.add(torch.get_num_threads())
        return forward(*words)

    monkeypatch.setattr(torch_network, "lean_forward", counted)
    Segmenter.load(tiny_model, "torch-cpu").segment(volume_of(phantom))
    assert counts == {2}
    assert torch.get_num_threads() == 4
