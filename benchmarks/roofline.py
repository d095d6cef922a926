"""What the network costs at least on this processor: its arithmetic against what was measured.

``python -m benchmarks.roofline --model NAME`` prints the machine's measured ceilings and the least
time of one window. The model is the usual one (Williams et al. 2009): a layer takes at least
max(FLOPs / peak, bytes / bandwidth), and layers follow one another.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load as load_safetensors

from benchmarks.models import HELP, chosen
from inference.machine.threads import processors
from inference.model.architecture import IMAGE, Architecture, Convolution, Head, Transposed
from inference.model.description import ModelDescription, verified_weights
from inference.types import Shape

if TYPE_CHECKING:
    from inference.engines.openvino_graph import Kind


@dataclass(frozen=True)
class Format:
    """Bytes of a value: ``kept`` between layers, ``made`` by a convolution whose result is
    normalised or is the logits."""

    kept: int
    made: int


# By the engine's precision.
FORMATS: dict[Kind, Format] = {
    "f32": Format(4, 4),
    "bf16": Format(2, 2),
    "int8": Format(1, 4),
    "int8_pairs": Format(1, 4),
}
_REPEATS = 5
# A processor with AMX is far from its best with the smaller one.
_MATRICES = (2048, 4096)
_TRIAD_FLOATS = 1 << 25  # three arrays of 128 MiB: far beyond any cache
_TRIAD_CHUNK = 1 << 16  # 256 KiB: the intermediate result stays in the inner caches


@dataclass(frozen=True)
class Layer:
    """One convolution with what follows it.

    Attributes:
        name: of its parameters.
        weights: their number, without biases.
        visits: voxels at which each weight is multiplied.
        read, written: values of the feature maps before and after; skips are joined uncopied.
        normalised: whether normalisation and activation follow, which read and write once more.
        between: whether another layer reads what is written.
    """

    name: str
    weights: int
    visits: int
    read: int
    written: int
    normalised: bool
    between: bool = True

    @property
    def flops(self) -> int:
        """Two per multiply-accumulate."""
        return 2 * self.weights * self.visits

    def moved(self, form: Format) -> int:
        """Bytes moved: every map and weight once per pass over it."""
        passes = form.made
        if self.normalised:
            passes += form.made + form.kept
        elif self.between:
            passes = form.kept
        return (self.read + self.weights) * form.kept + passes * self.written


@dataclass(frozen=True)
class Ceilings:
    """Measured limits of a machine, all cores.

    Attributes:
        flops_per_s: of a large product in the network's precision.
        bytes_per_s: of main memory.
        form: of values in the network's precision.
    """

    flops_per_s: float
    bytes_per_s: float
    form: Format

    def seconds(self, layer: Layer) -> float:
        """Least time of a layer."""
        moving = layer.moved(self.form) / self.bytes_per_s
        return max(layer.flops / self.flops_per_s, moving)


def layers(net: Architecture, patch: Shape, merged: Container[int] = ()) -> list[Layer]:
    """The convolutions of one window of shape ``patch`` (z, y, x), in order of computation.

    Args:
        merged: stages whose transposed convolution is one with the convolution that reads it.
    """
    voxels = [math.prod(shape) for shape in net.stage_shapes(patch)]
    values = {IMAGE: net.inputs * voxels[0]}
    found: list[Layer] = []
    for layer in net.layers():
        read = sum(values[name] for name in layer.reads)
        written = values[layer.name] = layer.outputs * voxels[layer.stage]
        weights = math.prod(layer.weight_shape)
        if layer.stage in merged and isinstance(layer, Transposed):
            kernel = net.kernels[layer.stage]
            taps = [s + k - 1 for s, k in zip(layer.stride, kernel, strict=True)]
            weights = layer.inputs * layer.outputs * math.prod(taps)
        elif layer.stage in merged and len(layer.reads) == 2:
            # What is merged already stands in the place of the result, which is added to it.
            weights //= 2
        normalised, between = isinstance(layer, Convolution), not isinstance(layer, Head)
        visits = voxels[layer.visited]
        found.append(Layer(layer.name, weights, visits, read, written, normalised, between))
    return found


def measure_ceilings(precision: Kind) -> Ceilings:
    """Best of some repeats of a large product and of a triad.

    Args:
        precision: in which OpenVINO multiplies; NumPy tries too at ``f32``. The few layers that
            int8 leaves in float32 are taken for as quick as the others.
    """
    products = [_openvino_flops] if precision != "f32" else [_openvino_flops, _numpy_flops]
    flops = max(product(precision, n) for product in products for n in _MATRICES)
    return Ceilings(flops, _triad_bytes(), FORMATS[precision])


def _best(work: Callable[[], object]) -> float:
    """Shortest time of ``work`` in seconds."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _numpy_flops(precision: Kind, n: int) -> float:
    """A matrix product of n x n in float32."""
    a = np.ones((n, n), np.float32)
    out = np.empty_like(a)
    return float(2 * n**3 / _best(lambda: np.matmul(a, a, out=out)))


def _openvino_flops(precision: Kind, n: int) -> float:
    """A 1x1x1 convolution as large as the matrix product, by the engine that runs the network."""
    import openvino as ov
    from openvino import opset13 as ops

    side = 16
    image = ops.parameter([1, n, side, side, n // side**2], np.float32)
    kernel = ops.constant(np.ones((n, n, 1, 1, 1), np.float32))
    factors = [image, kernel]
    if precision.startswith("int8"):
        ends = [ops.constant(np.full([1] * 5, end, np.float32)) for end in (-1, 1)]
        factors = [
            ops.fake_quantize(image, ops.constant(np.float32(0)), ends[1],
                              ops.constant(np.float32(0)), ends[1], 256),
            ops.fake_quantize(kernel, *ends, *ends, 255),
        ]  # fmt: skip
    zero, one = [0, 0, 0], [1, 1, 1]
    model = ov.Model([ops.convolution(*factors, one, zero, zero, one)], [image])
    core = ov.Core()
    hint = "bf16" if precision == "bf16" else "f32"
    hints = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    core.set_property("CPU", hints)
    request = core.compile_model(model, "CPU").create_infer_request()
    data = np.ones(image.get_output_shape(0), np.float32)
    return float(2 * n**3 / _best(lambda: request.infer([data], share_inputs=True)))


def _triad_bytes() -> float:
    """a = b + s c over arrays beyond the caches, one thread per core, three floats per element."""
    a, b, c = (np.ones(_TRIAD_FLOATS, np.float32) for _ in range(3))
    threads = processors()
    edges = [_TRIAD_FLOATS * i // threads for i in range(threads + 1)]

    def part(first: int, last: int) -> None:
        for start in range(first, last, _TRIAD_CHUNK):
            chunk = slice(start, min(start + _TRIAD_CHUNK, last))
            np.multiply(c[chunk], np.float32(3), out=a[chunk])
            np.add(a[chunk], b[chunk], out=a[chunk])

    with ThreadPoolExecutor(threads) as pool:
        best = _best(lambda: list(pool.map(part, edges[:-1], edges[1:])))
    return 3 * 4 * _TRIAD_FLOATS / best


def figures(work: Sequence[Layer], windows: int, ceilings: Ceilings) -> dict[str, float]:
    """Ceilings, work and least time of ``windows`` windows, as JSON values.

    Args:
        work: the :func:`layers` of one window.
    """
    return {
        "peak_gflops_per_s": ceilings.flops_per_s / 1e9,
        "bandwidth_gbytes_per_s": ceilings.bytes_per_s / 1e9,
        "gflop": windows * sum(layer.flops for layer in work) / 1e9,
        "gbyte": windows * sum(layer.moved(ceilings.form) for layer in work) / 1e9,
        "least_s": windows * sum(ceilings.seconds(layer) for layer in work),
    }


def merged_by_openvino(folder: Path, precision: Kind) -> range:
    """The stages of a model whose transposed convolutions are merged on the CPU."""
    from inference.engines.openvino_graph import merged_stages

    description = ModelDescription.load(folder)
    weights = load_safetensors(verified_weights(folder, description))
    return merged_stages(description.architecture, weights, precision)


def main() -> None:
    """Print ceilings and the least time of one window of the training patch, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--model", help=HELP)
    parser.add_argument("--precision", choices=tuple(FORMATS), default="f32")
    options = parser.parse_args()
    folder = chosen(options.model)
    description = ModelDescription.load(folder)
    net, patch = description.architecture, description.patch
    ceilings = measure_ceilings(options.precision)
    work = layers(net, patch, merged_by_openvino(folder, options.precision))
    print(json.dumps(figures(work, 1, ceilings), indent=1))


if __name__ == "__main__":
    main()
