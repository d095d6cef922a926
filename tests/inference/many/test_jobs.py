"""Several scans at a time: the same labels, networks in turn, everything else side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.cli.main import main
from inference.engines.openvino_network import OpenVinoNetwork
from inference.engines.torch_arrays import TorchArrays
from inference.many import batch
from inference.model.description import Crop
from inference.scan.volume import Volume, read_volume
from inference.segmenter import Segmenter
from phantom import Phantom, make_phantom

SHAPES = [(10, 20, 22), (14, 26, 24), (12, 18, 30), (10, 22, 20), (9, 24, 24), (13, 20, 26)]


@pytest.fixture(scope="module")
def patients() -> list[Phantom]:
    return [make_phantom(shape, (14.0, 14.0, 14.0), seed=i) for i, shape in enumerate(SHAPES)]


@pytest.fixture
def folder(tmp_path: Path, patients: list[Phantom]) -> Path:
    (tmp_path / "in").mkdir()
    for i, phantom in enumerate(patients):
        image = sitk.GetImageFromArray(phantom.image_ZYX)
        image.SetSpacing(phantom.grid.spacing[::-1])
        sitk.WriteImage(image, str(tmp_path / "in" / f"{i}_0000.nii.gz"))
    return tmp_path / "in"


class Crowd:
    """How many threads are in a place at a time."""

    def __init__(self) -> None:
        self.most, self._now, self._lock = 0, 0, threading.Lock()

    @contextmanager
    def within(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


def crowded(crowd: Crowd, method: Callable) -> Callable:
    def inside(*arguments: object, **named: object) -> object:
        with crowd.within():
            return method(*arguments, **named)

    return inside


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("cropping", [pytest.param(False, marks=pytest.mark.slow), True])
def test_any_number_at_a_time_gives_the_same_files(
    folder: Path,
    tmp_path: Path,
    tiny_model: Path,
    make_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    cropping: bool,
):
    model, crowd = tiny_model, Crowd()
    if cropping:
        make_model(name="finder")
        model = make_model(step=None, crop=Crop("finder", 10.0))
    monkeypatch.setattr(OpenVinoNetwork, "forward", crowded(crowd, OpenVinoNetwork.forward))
    for jobs in ("1", "4"):
        words = ["-i", folder, "-o", tmp_path / jobs, "--device", "cpu", "--model", model]
        assert main([str(word) for word in [*words, "--jobs", jobs, "--quiet"]]) == 0
    assert len(contents(tmp_path / "1")) == len(SHAPES)
    assert contents(tmp_path / "1") == contents(tmp_path / "4")
    assert crowd.most == 1


@pytest.mark.parametrize("device", ["cpu", pytest.param("torch-cpu", marks=pytest.mark.slow)])
def test_threads_may_share_a_segmenter(
    tiny_model: Path, patients: list[Phantom], monkeypatch: pytest.MonkeyPatch, device: str
):
    segmenter, crowd = Segmenter.load(tiny_model, device), Crowd()
    if device == "torch-cpu":  # one scan has the device to itself, from its voxels on
        everything = crowded(crowd, TorchArrays.network_image)
        monkeypatch.setattr(TorchArrays, "network_image", everything)
    monkeypatch.setattr(OpenVinoNetwork, "forward", crowded(crowd, OpenVinoNetwork.forward))
    volumes = [Volume.of_array(p.image_ZYX, p.grid) for p in patients]
    alone = [segmenter.segment(volume).labels for volume in volumes]
    with ThreadPoolExecutor(len(volumes)) as pool:
        together = list(pool.map(lambda volume: segmenter.segment(volume).labels, volumes * 4))
    for one, other in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert crowd.most == 1


def test_a_scan_is_read_and_written_beside_anothers_network(
    folder: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    """The second scan's network ends only when the first is on disk and the third is read."""
    forward, threads = OpenVinoNetwork.forward, set()
    written, read = threading.Event(), [threading.Event() for _ in SHAPES]

    def reading(path: Path, *more: object) -> Volume:
        volume = read_volume(path, *more)
        read[int(path.name[0])].set()
        return volume

    def writing(*arguments: object) -> None:
        write_case(*arguments)
        written.set()

    def second_waits(self: OpenVinoNetwork, windows: list) -> list:
        before = len(threads)
        threads.add(threading.get_ident())
        if (before, len(threads)) == (1, 2):
            assert written.wait(20)
            assert sum(event.wait(20) for event in read[:3]) == 3
        return forward(self, windows)

    write_case = batch.write_case
    monkeypatch.setattr(batch, "read_volume", reading)
    monkeypatch.setattr(batch, "write_case", writing)
    monkeypatch.setattr(OpenVinoNetwork, "forward", second_waits)
    words = ["-i", folder, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model]
    assert main([str(word) for word in [*words, "--jobs", "2"]]) == 0
    assert len(contents(tmp_path / "out")) == len(SHAPES)


def test_where_memory_is_short_scans_go_one_at_a_time(
    folder: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    crowd = Crowd()
    monkeypatch.setattr("inference.machine.memory.available_bytes", lambda: 1 << 28)
    monkeypatch.setattr(batch, "write_case", crowded(crowd, batch.write_case))
    monkeypatch.setattr(Segmenter, "segment", crowded(crowd, Segmenter.segment))
    words = ["-i", folder, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model]
    assert main([str(word) for word in [*words, "--jobs", "4"]]) == 0
    assert len(contents(tmp_path / "out")) == len(SHAPES)
    assert crowd.most == 1


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5"])
def test_wrong_numbers_of_jobs(folder: Path, wrong: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as leaving:
        main(["-i", str(folder), "-o", "out", "--jobs", wrong])
    assert leaving.value.code == 2
    assert "is no whole number above 0" in capsys.readouterr().err
