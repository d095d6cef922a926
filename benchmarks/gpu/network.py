"""How fast the network runs: number formats, memory layouts, batch sizes, cuDNN's search."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.correctness import reference_network
from benchmarks.gpu.meter import measure, memory
from inference.engines.torch_unet import UNet
from inference.segmenter import Segmenter

LAYOUTS = {"channels last": torch.channels_last_3d, "contiguous": torch.contiguous_format}


@dataclass(frozen=True)
class Setting:
    """One way to run the network.

    Attributes:
        numbers: float16, bfloat16, float32 (strict), or tf32 (float32 with TF32 convolutions).
        layout: channels last or contiguous.
        search: cudnn.benchmark.
        batch: windows at once.
    """

    numbers: str
    layout: str
    search: bool
    batch: int

    @property
    def dtype(self) -> torch.dtype:
        """torch's number format."""
        return torch.float32 if self.numbers == "tf32" else getattr(torch, self.numbers)


def settings(quick: bool) -> Iterator[Setting]:
    """The settings in order of interest: what the time does not suffice for comes last."""
    for layout, search, batch in itertools.product(LAYOUTS, (False, True), (1, 2, 4, 8)):
        if not quick or batch in (1, 4):
            yield Setting("float16", layout, search, batch)
    for numbers, layout in itertools.product(("bfloat16", "tf32", "float32"), LAYOUTS):
        for batch in (1,) if quick else (1, 8):
            yield Setting(numbers, layout, False, batch)


@contextmanager
def flags(setting: Setting) -> Iterator[None]:
    """cuDNN's switches of ``setting``, and then as they were."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32, cudnn.deterministic
    cudnn.benchmark, cudnn.allow_tf32 = setting.search, setting.numbers == "tf32"
    # As the engine has it; a search is for the quickest of all.
    cudnn.deterministic = not setting.search
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32, cudnn.deterministic = before


def throughput(bench: Bench) -> Iterator[Row]:
    """Windows per second of the bare network under each setting."""
    device = torch.device(bench.device)
    segmenter = Segmenter.load(bench.model, "torch-cpu")
    network = reference_network(segmenter)
    patch = segmenter.description.patch
    operations = 2 * segmenter.description.architecture.macs(patch)
    for setting in settings(bench.quick):
        with flags(setting), torch.no_grad():
            row = _one(network, torch.randn(setting.batch, 1, *patch), setting, bench)
        if "median_ms" in row:
            row["windows_per_s"] = setting.batch / row["median_ms"] * 1e3
            row["tflop_s"] = operations * row["windows_per_s"] / 1e12
        yield {**asdict(setting), **row}
        if device.type == "cpu":
            return  # a trial of the script


def _one(network: UNet, windows: Tensor, setting: Setting, bench: Bench) -> Row:
    device = torch.device(bench.device)
    layout = LAYOUTS[setting.layout]
    network = network.to(device, setting.dtype).to(memory_format=layout)  # type: ignore[call-overload]
    batch = windows.to(device, setting.dtype).contiguous(memory_format=layout)
    try:
        with memory(device, bench.gpu) as peak:
            times = measure(lambda: network(batch), device, repeats=3 if bench.quick else 6)
    except RuntimeError as error:  # out of memory, or a setting that cuDNN does not have
        return {"note": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {**asdict(times), **peak.row()}


def engine_forward(bench: Bench) -> Iterator[Row]:
    """What the engine makes of the network: casts, stacking and all, by its own batch sizes."""
    segmenter = Segmenter.load(bench.model, bench.device if bench.cuda else "torch-cpu")
    engine, patch = segmenter.network, segmenter.description.patch
    device = torch.device(bench.device)
    for batch in sorted({1, engine.batch}):
        windows = [torch.randn(patch, device=device) for _ in range(batch)]
        with memory(device, bench.gpu) as peak:
            times = measure(lambda windows=windows: engine.forward(windows), device, 6)  # type: ignore[misc]
        yield {
            "batch": batch,
            **asdict(times),
            "windows_per_s": batch / times.median_ms * 1e3,
            **peak.row(),
        }
