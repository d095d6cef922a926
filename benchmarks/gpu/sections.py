"""The sections of gpu.py. Whole processes come first, while this one holds no device memory."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import metadata

import torch

from benchmarks.gpu import correctness
from benchmarks.gpu.bench import Bench, Row, Section
from benchmarks.gpu.data import usual_scan
from benchmarks.gpu.meter import measure, memory
from benchmarks.gpu.network import engine_forward, throughput
from benchmarks.gpu.pipeline import copies, limits, load, precision, stages
from benchmarks.gpu.process import cold, folder, nnunet
from inference.scan.volume import Volume
from inference.segmenter import Segmenter


def about(bench: Bench) -> Iterator[Row]:
    """Versions and the machine, without touching the device but by NVML."""
    for package in ("torch", "cupy-cuda13x", "numpy", "isal", "safetensors", "nvidia-ml-py"):
        try:
            yield {"what": package, "value": metadata.version(package)}
        except metadata.PackageNotFoundError:
            yield {"what": package, "value": "not installed"}
    yield {"what": "python", "value": platform.python_version()}
    yield {"what": "CUDA of torch", "value": torch.version.cuda}
    yield {"what": "cuDNN", "value": torch.backends.cudnn.version()}
    yield {"what": "TF32 in cuDNN, by default", "value": torch.backends.cudnn.allow_tf32}
    yield {"what": "processor threads", "value": torch.get_num_threads()}
    if bench.gpu:
        yield {"what": "GPU", "value": bench.gpu.name}
        yield {"what": "device memory in use before, MB", "value": bench.gpu.used_mb()}


def checks(bench: Bench) -> Iterator[Row]:
    """Every step against the CPU: see gpu_correctness."""
    device = torch.device(bench.device)
    found = [correctness.resampling, correctness.accumulation, correctness.decoding]
    if bench.cuda and correctness.has_cupy():
        found.append(correctness.cupy_resampling)
    for check in found:
        yield from (c.row() for c in check(device))
    segmenter, cpu = load(bench), Segmenter.load(bench.model, "torch-cpu")
    description = segmenter.description
    usual = usual_scan(60, 128)
    # The middle alone: the float32 network on the CPU takes seconds per window.
    middle = usual.voxels_ZYX[:, 24:104, 24:104]
    volume = Volume.of_array(middle, replace(usual.grid, shape=middle.shape))
    shape = volume.grid.resampled_shape(description.spacing)
    image = cpu.network.arrays.network_image(volume.voxels_ZYX, description.intensity, shape)
    patch = description.patch
    # The image's middle repeated where it is smaller than a window.
    index = [
        torch.arange(p) % n if n < p else torch.arange(p) + (n - p) // 2
        for n, p in zip(shape, patch, strict=True)
    ]
    window = image[index[0]][:, index[1]][:, :, index[2]]
    windows = torch.stack([window, torch.randn(patch)])
    reference = correctness.reference_network(segmenter)
    yield from (c.row() for c in correctness.network(segmenter, reference, windows))
    yield from (c.row() for c in correctness.whole(segmenter, cpu, volume))


def resamplers(bench: Bench) -> Iterator[Row]:
    """torch against CuPy from main memory to the network's image.

    What CuPy's compilation costs is seen in ``cold``, between its first and its second run.
    """
    device = torch.device(bench.device)
    volume = usual_scan(40, 128) if bench.quick else usual_scan(300)
    names = ["torch", "cupy"] if bench.cuda and correctness.has_cupy() else ["torch"]
    for name in names:
        segmenter = load(bench, name)
        intensity = segmenter.description.intensity
        shape = volume.grid.resampled_shape(segmenter.description.spacing)
        for kind, voxels in (
            ("int16", volume.voxels_ZYX),
            ("int16, flipped", volume.voxels_ZYX[:, ::-1, ::-1]),
        ):
            with memory(device, bench.gpu) as peak:
                times = measure(
                    lambda e=segmenter.network.arrays, v=voxels, i=intensity, s=shape: (  # type: ignore[misc]
                        e.network_image(v, i, s)
                    ),
                    device,
                    repeats=5,
                )
            yield {"what": f"{name}, {kind}", **asdict(times), **peak.row()}


SECTIONS: list[Section] = [
    Section("about", about, 10),
    Section("cold", cold, 60),
    Section("folder", folder, 40),
    Section("nnunet", nnunet, 90),
    Section("checks", checks, 40),
    Section("copies", copies, 10),
    Section("resamplers", resamplers, 15),
    Section("stages", stages, 50),
    Section("precision", precision, 60),
    Section("limits", limits, 40),
    Section("engine", engine_forward, 10),
    Section("network", throughput, 45),
]
