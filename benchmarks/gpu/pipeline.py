"""Whole scans in this process: where the time goes, what memory they take, and too little of it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch

from benchmarks.flare_harness.machine import MB
from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.data import scan, usual_scan
from benchmarks.gpu.meter import memory, synchronize
from inference.engines.device_memory import memory_plan
from inference.engines.interface import Precision
from inference.errors import DeviceError
from inference.labels import NAMES
from inference.scan.volume import Volume
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from inference.types import Decode

# Decoding and window step; None is the model's own.
_WAYS: tuple[tuple[Decode, float | None], ...] = (
    ("nearest", None), ("linear", None), ("linear", 0.5),
)  # fmt: skip
# Voxels that may differ in :func:`limits`: other batches let cuDNN choose other algorithms, and the
# CPU may compute in bfloat16.
_DIFFER, _DIFFER_ON_CPU = 5e-3, 5e-2
# Device memory that torch is given in :func:`limits`, MB.
_LIMITS_MB = (4000, 2000, 1000, 700, 400, 100, 5)


def load(bench: Bench, resampler: str = "torch", precision: Precision = "auto") -> Segmenter:
    """The benchmark's model on its device."""
    device = bench.device if bench.cuda else "torch-cpu"
    return Segmenter.load(bench.model, device, resampler=resampler, precision=precision)


def stages(bench: Bench) -> Iterator[Row]:
    """Seconds per stage and peak memory of a usual scan and of one of 1000 slices."""
    from benchmarks.gpu.correctness import has_cupy

    sizes = ((60, 128),) if bench.quick else ((300, 512), (1000, 512))
    resamplers = ("torch", "cupy") if bench.cuda and has_cupy() else ("torch",)
    for slices, in_plane in sizes:
        volume = usual_scan(slices, in_plane)
        for resampler in resamplers:
            segmenter = load(bench, resampler)
            for decode, step in _WAYS:
                run = partial(segmenter.segment, volume, decode=decode, step=step)
                yield {
                    "scan": f"{in_plane}x{in_plane}x{slices}",
                    "resampler": resampler,
                    "decode": decode,
                    "step": step or "model's",
                    "planned_mb": max(memory_plan(segmenter.description, volume.grid).values())
                    / MB,
                    **_stages(run, 1 if bench.quick or slices > 300 else 3, bench),
                }


def _stages(run: Callable[[], Segmentation], repeats: int, bench: Bench) -> Row:
    device = torch.device(bench.device)
    totals = []
    with memory(device, bench.gpu) as peak:
        for _ in range(repeats):
            start = time.perf_counter()
            result = run()
            totals.append(time.perf_counter() - start)
    return {
        "windows": result.windows,
        "first_s": totals[0],
        "median_s": statistics.median(totals),
        **{f"{name}_s": seconds for name, seconds in result.timings.items()},
        **peak.row(),
        "warnings": "; ".join(result.warnings),
    }


def copies(bench: Bench) -> Iterator[Row]:
    """What crossing the bus costs for a 512x512x300 scan, from usual and from pinned memory."""
    device = torch.device(bench.device)
    shape = (30, 128, 128) if bench.quick else (300, 512, 512)
    voxels = torch.randint(-1000, 1000, shape, dtype=torch.int16)
    labels = torch.randint(0, 15, shape, dtype=torch.uint8).to(device)
    kinds = {"usual": voxels}
    if bench.cuda:
        start = time.perf_counter()
        kinds["pinned"] = voxels.pin_memory()
        yield {"what": "pinning", "ms": (time.perf_counter() - start) * 1e3}
    for kind, source in kinds.items():
        yield {"what": f"scan to device, {kind} memory", "ms": _milliseconds(source, device)}
        target = torch.empty(shape, dtype=torch.uint8, pin_memory=kind == "pinned")
        times = []
        for _ in range(5):
            start = time.perf_counter()
            target.copy_(labels)
            synchronize(device)
            times.append((time.perf_counter() - start) * 1e3)
        yield {"what": f"labels to main memory, {kind}", "ms": statistics.median(times)}


def _milliseconds(source: torch.Tensor, device: torch.device) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        source.to(device, copy=True)
        synchronize(device)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def precision(bench: Bench) -> Iterator[Row]:
    """DSC between half precision and float32 on the device, whole scan."""
    volume = usual_scan(60, 128) if bench.quick else usual_scan(200, 256)
    usual = load(bench).segment(volume)
    strict = load(bench, precision="f32").segment(volume)
    yield from compare(usual, strict)


def compare(first: Segmentation, second: Segmentation) -> Iterator[Row]:
    """DSC of every class between two segmentations of one scan; classes that both lack left out."""
    pairs = np.bincount(
        (first.labels.astype(np.int16) * 15 + second.labels).ravel(), minlength=225
    ).reshape(15, 15)
    for label, name in NAMES.items():
        voxels = pairs[label].sum() + pairs[:, label].sum()
        if voxels:
            dsc = float(2 * pairs[label, label] / voxels)
            yield {"label": name, "voxels": int(pairs[label].sum()), "dsc": dsc}
    agreement = float(np.trace(pairs) / pairs.sum())
    yield {"label": "all voxels agree", "voxels": int(pairs.sum()), "dsc": agreement}


def limits(bench: Bench) -> Iterator[Row]:
    """Ever less device memory: the scan must still be done, with (nearly) the same labels.

    The field of view is wide, so that a layer has more windows than one batch holds.
    """
    if not bench.cuda:
        yield {"what": "no CUDA device: nothing to limit"}
        return
    device = torch.device(bench.device)
    wide = 320 if bench.quick else 400
    volume = scan((60, wide, wide), (4.0, 560 / wide, 560 / wide))
    wanted = load(bench).segment(volume, step=0.5)
    total = torch.cuda.get_device_properties(device).total_memory
    for limit in _LIMITS_MB:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit * MB / total), device)
        try:
            yield _limited(bench, volume, wanted, limit, device)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)


def _limited(
    bench: Bench, volume: Volume, wanted: Segmentation, limit: int, device: torch.device
) -> Row:
    row: Row = {"what": f"{limit} MB for torch", "ok": False}
    try:
        segmenter, on_cpu = load(bench), False
    except DeviceError:  # not even the model fits: what --device auto does then
        segmenter, on_cpu = Segmenter.load(bench.model, "cpu"), True
    try:
        with memory(device, bench.gpu) as peak:
            start = time.perf_counter()
            result = segmenter.segment(volume, step=0.5)
            row["seconds"] = time.perf_counter() - start
        differ = float((result.labels != wanted.labels).mean())
        warnings = "; ".join(result.warnings)
        on_cpu |= "going on with OpenVINO" in warnings or "going on with torch on CPU" in warnings
        allowed = _DIFFER_ON_CPU if on_cpu else _DIFFER
        row |= {"differ": differ, "ok": differ < allowed, "batch": segmenter.network.batch}
        row |= {"engine": segmenter.network.name, "warnings": warnings}
        row |= peak.row()
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return row
