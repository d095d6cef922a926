"""The CUDA and CuPy routes against the CPU's. Run on a machine with a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu.correctness import (
    accumulation,
    cupy_resampling,
    decoding,
    has_cupy,
    network,
    reference_network,
    resampling,
    whole,
)
from benchmarks.gpu.data import scan
from inference.engines.choice import choose_device
from inference.engines.torch_network import TorchNetwork
from inference.errors import DeviceError
from inference.scan.volume import Volume
from inference.segmenter import Segmenter

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
needs_cupy = pytest.mark.skipif(not has_cupy(), reason="CuPy is not installed")

CUDA = torch.device("cuda", 0)
# Voxels that may differ where the same numbers are added up in another order in half precision, and
# where another device computes in another format. The model's weights are random: much is in doubt.
ROUNDING, OTHER_DEVICE = 5e-3, 5e-2


@pytest.fixture
def volume() -> Volume:
    """A phantom with more windows in a layer than one batch holds, for the tiny model."""
    return scan((60, 80, 80), (7.5, 8.0, 8.0))


@pytest.fixture
def on_cuda(tiny_model: Path) -> Segmenter:
    return Segmenter.load(tiny_model, "cuda")


@pytest.fixture
def on_cpu(tiny_model: Path) -> Segmenter:
    return Segmenter.load(tiny_model, "torch-cpu")


@pytest.fixture
def leave() -> Iterator[Callable[[float], None]]:
    """A function that leaves torch so many MB of device memory beside what it holds already."""
    total = torch.cuda.get_device_properties(CUDA).total_memory

    def limit(mb: float) -> None:
        torch.cuda.empty_cache()
        share = (torch.cuda.memory_reserved(CUDA) + mb * 2**20) / total
        torch.cuda.set_per_process_memory_fraction(share, CUDA)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0, CUDA)


def disagreement(first: np.ndarray, second: np.ndarray) -> float:
    return float((first != second).mean())


@pytest.mark.parametrize(
    "steps", [resampling, accumulation, decoding, pytest.param(cupy_resampling, marks=needs_cupy)]
)
def test_steps(steps) -> None:
    assert [check for check in steps(CUDA) if not check.ok] == []


def test_network_in_half_precision(on_cuda: Segmenter) -> None:
    windows = torch.randn(3, *on_cuda.description.patch)
    checks = list(network(on_cuda, reference_network(on_cuda), windows))
    assert [check for check in checks if not check.ok] == []


def test_whole_scan(on_cuda: Segmenter, on_cpu: Segmenter, volume: Volume) -> None:
    assert [check for check in whole(on_cuda, on_cpu, volume) if not check.ok] == []
    assert (on_cuda.network.peak_memory() or 0) > 0
    assert torch.cuda.get_device_name(CUDA) in on_cuda.network.name


@pytest.mark.parametrize("resampler", ["torch", pytest.param("cupy", marks=needs_cupy)])
def test_threads_may_share_a_segmenter(tiny_model: Path, volume: Volume, resampler: str) -> None:
    segmenter = Segmenter.load(tiny_model, "cuda", resampler=resampler)
    other = scan((40, 60, 70), (7.5, 8.0, 8.0))
    alone = [segmenter.segment(v).labels for v in (volume, other)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda v: segmenter.segment(v).labels, [volume, other] * 4))
    for one, again in zip(alone * 4, together, strict=True):
        np.testing.assert_array_equal(one, again)


@needs_cupy
def test_resamplers_give_the_same_labels(
    on_cuda: Segmenter, tiny_model: Path, volume: Volume
) -> None:
    by_cupy = Segmenter.load(tiny_model, "cuda", resampler="cupy").segment(volume)
    assert disagreement(by_cupy.labels, on_cuda.segment(volume).labels) < ROUNDING


def test_batches_do_not_matter(on_cuda: Segmenter, volume: Volume) -> None:
    usual = on_cuda.segment(volume)
    on_cuda.network.batch = 3
    assert disagreement(on_cuda.segment(volume).labels, usual.labels) < ROUNDING


def test_no_window_is_lost_when_a_batch_does_not_fit(on_cuda: Segmenter, volume: Volume) -> None:
    usual = on_cuda.segment(volume)
    engine = on_cuda.network
    assert isinstance(engine, TorchNetwork)
    logits = engine.compute

    def small_only(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(batch)

    engine.compute = small_only
    engine.batch = 8
    result = on_cuda.segment(volume)  # 16 windows in a layer: two batches of 8
    assert engine.batch <= 2
    assert disagreement(result.labels, usual.labels) < ROUNDING


def test_scarce_memory_falls_back_and_says_so(
    on_cuda: Segmenter, on_cpu: Segmenter, volume: Volume, leave: Callable[[float], None]
) -> None:
    leave(2)
    result = on_cuda.segment(volume)
    assert any("ran out of memory" in warning for warning in result.warnings)
    assert disagreement(result.labels, on_cpu.segment(volume).labels) < OTHER_DEVICE


def test_no_memory_for_the_model(
    tiny_model: Path, volume: Volume, leave: Callable[[float], None]
) -> None:
    leave(0)
    with pytest.raises(DeviceError, match="does not take the model"):
        Segmenter.load(tiny_model, "cuda")
    result = Segmenter.load(tiny_model, "auto").segment(volume)
    assert result.labels.shape == volume.grid.shape
    assert any("the GPU does not take the model" in warning for warning in result.warnings)


def test_device_that_is_not_there() -> None:
    assert choose_device("auto") == "cuda:0"
    with pytest.raises(DeviceError, match="no such CUDA device"):
        choose_device(f"cuda:{torch.cuda.device_count()}")
