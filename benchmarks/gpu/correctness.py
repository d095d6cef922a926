"""The CUDA and CuPy steps held against the NumPy route and the float32 network on the CPU.

The same checks run in tests/inference/test_gpu.py; on ``cpu`` they hold torch's twins of the steps.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.bench import Row
from benchmarks.gpu.data import coarse_phantom
from inference.engines.torch_network import TorchNetwork
from inference.engines.torch_steps import resample_image as torch_resample
from inference.engines.torch_steps import torch_decoder
from inference.engines.torch_unet import UNet
from inference.model.description import Intensity, ModelDescription, verified_weights
from inference.scan.volume import Volume
from inference.segmenter import Segmenter
from inference.steps.accumulator import accumulator
from inference.steps.decode import numpy_decoder
from inference.steps.resample import resample_image
from inference.steps.windows import Placement
from inference.types import DECODES, Image, Shape

INTENSITY = Intensity(lower=-160.0, upper=240.0, mean=80.0, std=60.0)
# (scan's grid, network's grid): down, up, anisotropic, one slice, unchanged.
SHAPES: tuple[tuple[Shape, Shape], ...] = (
    ((40, 96, 90), (33, 41, 37)), ((21, 40, 33), (50, 61, 70)), ((300, 64, 64), (61, 64, 63)),
    ((1, 50, 50), (3, 33, 34)), ((20, 30, 40), (20, 30, 40)),
)  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        what: was compared.
        error: how far the two are apart; NaN never passes.
        limit: what is allowed.
    """

    what: str
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        """Whether the check holds."""
        return math.isfinite(self.error) and self.error <= self.limit

    def row(self) -> Row:
        """The check as a row of results."""
        return {**asdict(self), "ok": self.ok}


def scans() -> Iterator[tuple[str, Image, Shape]]:
    """Random and phantom scans with a grid to resample to."""
    rng = np.random.default_rng()
    for scan, network in SHAPES:
        yield f"int16 {scan}", rng.integers(-1100, 1500, scan).astype(np.int16), network
    values = rng.normal(0, 300, SHAPES[0][0]).astype(np.float32)
    yield "float32", values, SHAPES[0][1]
    phantom = coarse_phantom().image_ZYX
    yield "phantom", phantom, (180, 190, 200)
    # What a scan of another orientation looks like: a view with negative and permuted strides.
    yield "phantom, flipped and permuted", phantom.transpose(1, 0, 2)[::-1, :, ::-1], (90, 60, 110)


def resampling(device: torch.device) -> Iterator[Check]:
    """torch's resampling; the limit is float32 rounding of positions times the steepest edge."""

    def by_torch(image: Image, shape: Shape) -> Tensor:
        return torch_resample(image, INTENSITY, shape, device)

    yield from _resampling("torch", by_torch, 2e-3)


def cupy_resampling(device: torch.device) -> Iterator[Check]:
    """CuPy's resampling with either output; half precision rounds values of 4 by up to 0.002."""
    from inference.engines.cupy_steps import resample_image as cupy_resample

    for output, limit in ((torch.float32, 1e-4), (torch.float16, 4e-3)):

        def by_cupy(image: Image, shape: Shape, output: torch.dtype = output) -> Tensor:
            return cupy_resample(image, INTENSITY, shape, device, output)

        yield from _resampling(f"cupy {output}", by_cupy, limit)


def has_cupy() -> bool:
    """Whether CuPy is installed."""
    return importlib.util.find_spec("cupy") is not None


def _resampling(
    name: str, resample: Callable[[Image, Shape], Tensor], limit: float
) -> Iterator[Check]:
    for what, image, shape in scans():
        found = resample(image, shape).float().cpu().numpy()
        wanted = resample_image(image, INTENSITY, shape)
        yield Check(f"resample by {name}: {what}", _distance(found, wanted), limit)


def network(segmenter: Segmenter, reference: UNet, windows: Tensor) -> Iterator[Check]:
    """Logits of the engine against float32 on the CPU: relative error, and voxels that change side.

    Args:
        segmenter: with a TorchNetwork.
        reference: the same network, float32, on the CPU.
        windows: (n, z, y, x) on the CPU.
    """
    engine = segmenter.network
    assert isinstance(engine, TorchNetwork)
    with torch.no_grad():
        wanted = reference(windows[:, None])
    found = torch.stack(engine.forward(list(windows.to(engine.device)))).float().cpu()
    relative = float((found - wanted).norm() / wanted.norm())
    flipped = float(((found > 0) != (wanted > 0)).float().mean())
    yield Check(f"network, {engine.name}: relative error of logits", relative, 1e-2)
    yield Check(f"network, {engine.name}: share of decisions that differ", flipped, 5e-3)


def reference_network(segmenter: Segmenter) -> UNet:
    """The segmenter's network in float32 on the CPU."""
    from safetensors.torch import load

    description: ModelDescription = segmenter.description
    reference = UNet(description.architecture)
    reference.load_state_dict(load(verified_weights(segmenter.folder, description)))
    return reference.eval()


def accumulation(device: torch.device) -> Iterator[Check]:
    """The accumulator on the device against NumPy's, with a hole that no window fills."""
    patch: Shape = (16, 16, 16)
    body = np.ones((50, 40, 33), bool)
    body[:, :20, :20] = False
    placement = Placement.plan(body.shape, patch, 0.5, body)
    rng = np.random.default_rng()
    windows = {
        start: rng.normal(0, 5, (14, *patch)).astype(np.float32)
        for layer in placement.layers
        for start in layer
    }

    def gathered(array: Callable[[np.ndarray], Any]) -> np.ndarray:
        def zeros(shape: Shape) -> Any:
            return array(np.zeros(shape, np.float32))

        def sums(channels: int, shape: Shape) -> Any:
            return array(np.zeros((channels, *shape), np.float32))

        gathered = accumulator(placement, 14, sums, zeros, array)
        out = np.full((14, *placement.shape), np.nan, np.float32)
        for layer in (*placement.layers, None):
            until = placement.shape[0] if layer is None else layer[0][0]
            for first, logits in gathered.advance(until):
                out[:, first : first + logits.shape[1]] = torch.as_tensor(logits).cpu().numpy()
            for start in layer or ():
                gathered.add(start, array(windows[start].copy()))
        return out

    found = gathered(lambda a: torch.tensor(a, device=device))
    yield Check("accumulate", _distance(found, gathered(np.array)), 1e-3)


def decoding(device: torch.device) -> Iterator[Check]:
    """Both decoders, slab by slab, on smooth and on random logits: voxels that differ."""
    rng = np.random.default_rng()
    network: Shape = (30, 34, 38)
    region = (slice(0, 30), slice(0, 34), slice(3, 36))
    coarse = rng.normal(-1, 4, (14, 5, 6, 7)).astype(np.float32)
    smooth = torch.nn.functional.interpolate(torch.tensor(coarse)[None], network, mode="trilinear")
    logits = {
        "smooth": smooth[0].numpy(),
        "random": rng.normal(-1, 4, (14, *network)).astype(np.float32),
    }
    for kind, logits_CZYX in logits.items():
        for mode in DECODES:
            for scan in ((61, 80, 75), (11, 100, 30)):
                ours = torch_decoder(mode, network, scan, region, device)  # type: ignore[arg-type]
                theirs = numpy_decoder(mode, network, scan, region)  # type: ignore[arg-type]
                for first, last in ((0, 1), (1, 14), (14, 30)):
                    slab = np.ascontiguousarray(logits_CZYX[:, first:last, region[1], region[2]])
                    ours.push(torch.tensor(slab, device=device))
                    theirs.push(slab)
                differ = float((ours.finish() != theirs.finish()).mean())
                # Interpolation in another order flips a voxel here and there; nearest has none.
                limit = 1e-4 if mode == "linear" else 0.0
                yield Check(f"decode {mode}: {kind} logits, {scan}", differ, limit)


def whole(device: Segmenter, cpu: Segmenter, volume: Volume) -> Iterator[Check]:
    """Both decodings of a whole scan on the device and on the CPU: voxels that differ."""
    for mode in DECODES:
        found = device.segment(volume, decode=mode).labels  # type: ignore[arg-type]
        wanted = cpu.segment(volume, decode=mode).labels  # type: ignore[arg-type]
        differ = float((found != wanted).mean())
        yield Check(f"whole scan, {mode}: {device.network.name} against CPU", differ, 1e-2)


def _distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest absolute difference; NaN where a shape differs or a value is none."""
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else math.nan
