"""Resampling and linear decoding on CUDA as one CuPy kernel each, nothing in between.

Voxels in, the network's input out; logits in, labels out. The arithmetic is plain C in
:data:`SAMPLE_SOURCE` and :data:`DECIDE_SOURCE`, so that the tests compile it for the CPU and hold
it against steps.resample and steps.decode where there is no CUDA device. torch owns all memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..labels import TUMOR
from ..model.description import Intensity
from ..steps.boxes import whole
from ..steps.resample import Taps, linear_taps
from ..types import Box, Image, Shape
from .device_memory import IMAGE_PLANES
from .torch_steps import LinearDecoder, uploaded

# VOXEL and OUTPUT are defined by the one who compiles it.
SAMPLE_SOURCE = r"""
__device__ void abdobox_tap(int i, int n_in, int n_out, int* lower, int* upper, float* fraction)
{
    double position = (i + 0.5) * ((double)n_in / n_out) - 0.5;
    if (position < 0.0) position = 0.0;
    if (position > n_in - 1.0) position = n_in - 1.0;
    *lower = (int)position;
    *upper = *lower + 1 < n_in ? *lower + 1 : n_in - 1;
    *fraction = (float)(position - *lower);
}

__device__ float abdobox_sample(
    const VOXEL* image, int nz, int ny, int nx, int mz, int my, int mx, int z, int y, int x,
    float low, float high, float mean, float scale)
{
    int z0, z1, y0, y1, x0, x1;
    float fz, fy, fx;
    abdobox_tap(z, nz, mz, &z0, &z1, &fz);
    abdobox_tap(y, ny, my, &y0, &y1, &fy);
    abdobox_tap(x, nx, mx, &x0, &x1, &fx);
    float plane[2];
    for (int k = 0; k < 2; ++k) {
        const long long base = (long long)(k ? z1 : z0) * ny;
        float row[2];
        for (int j = 0; j < 2; ++j) {
            const VOXEL* line = image + (base + (j ? y1 : y0)) * nx;
            float a = (float)line[x0], b = (float)line[x1];
            a = a < low ? low : (a > high ? high : a);
            b = b < low ? low : (b > high ? high : b);
            row[j] = a + fx * (b - a);
        }
        plane[k] = row[0] + fy * (row[1] - row[0]);
    }
    return (plane[0] + fz * (plane[1] - plane[0]) - mean) * scale;
}
"""

# LOGIT is defined by the one who compiles it. Steps are in elements; the order of interpolation,
# z, x, y, and so the rounding, is inference.steps.decode's.
DECIDE_SOURCE = r"""
__device__ unsigned char abdobox_decide(
    const LOGIT* logits, int labels, int tumor, long long step_label, long long step_z,
    long long step_y, long long step_x, int z0, int z1, float fz, int y0, int y1, float fy,
    int x0, int x1, float fx)
{
    float best = 0.0f;
    unsigned char label = 0;
    for (int c = 0; c < labels; ++c) {
        const LOGIT* volume = logits + c * step_label;
        float row[2];
        for (int j = 0; j < 2; ++j) {
            float value[2];
            for (int i = 0; i < 2; ++i) {
                const LOGIT* at = volume + (j ? y1 : y0) * step_y + (i ? x1 : x0) * step_x;
                const float below = (float)at[z0 * step_z], above = (float)at[z1 * step_z];
                value[i] = below + fz * (above - below);
            }
            row[j] = value[0] + fx * (value[1] - value[0]);
        }
        const float value = row[0] + fy * (row[1] - row[0]);
        if (c + 1 == tumor) {
            if (value > 0.0f) label = tumor;
        } else if (value > best) {
            best = value;
            label = c + 1;
        }
    }
    return label;
}
"""

_DECIDE_KERNEL = r"""
%(include)s
#define LOGIT %(logit)s
""" + DECIDE_SOURCE + r"""
extern "C" __global__ void abdobox_decide_slices(
    const LOGIT* logits, unsigned char* out, int labels, int tumor, long long step_label,
    long long step_z, long long step_y, long long step_x, int my, int mx,
    const long long* z0, const long long* z1, const float* fz, const long long* y0,
    const long long* y1, const float* fy, const long long* x0, const long long* x1, const float* fx)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    const int z = blockIdx.z;
    if (x >= mx || y >= my) return;
    out[((long long)z * my + y) * mx + x] = abdobox_decide(
        logits, labels, tumor, step_label, step_z, step_y, step_x,
        (int)z0[z], (int)z1[z], fz[z], (int)y0[y], (int)y1[y], fy[y],
        (int)x0[x], (int)x1[x], fx[x]);
}
"""  # fmt: skip

_KERNEL_SOURCE = r"""
%(include)s
#define VOXEL %(voxel)s
#define OUTPUT %(output)s
""" + SAMPLE_SOURCE + r"""
extern "C" __global__ void abdobox_resample(
    const VOXEL* slab, OUTPUT* out, int nz, int ny, int nx, int mz, int my, int mx,
    int first, int start, float low, float high, float mean, float scale)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    const int z = blockIdx.z;
    if (x >= mx || y >= my) return;
    const float value = abdobox_sample(
        slab - (long long)start * ny * nx, nz, ny, nx, mz, my, mx, first + z, y, x,
        low, high, mean, scale);
    out[((long long)z * my + y) * mx + x] = (OUTPUT)value;
}
"""  # fmt: skip

RESAMPLE, DECIDE = "abdobox_resample", "abdobox_decide_slices"  # the kernels' names
_C_TYPES = {
    torch.int16: "short", torch.float32: "float", torch.float16: "__half",
}  # fmt: skip
_BLOCK = (32, 8, 1)
# Products and sums rounded one by one, as NumPy does: with both in one, a position that is a whole
# number comes out a hair lower, and the slice before it, which is not there, would be read.
OPTIONS = ("--std=c++17", "--fmad=false")


def resample_image(
    image_ZYX: Image,
    intensity: Intensity,
    shape: Shape,
    device: torch.device,
    output: torch.dtype = torch.float32,
    region: Box | None = None,
) -> torch.Tensor:
    """Clip, normalise and resample trilinearly on a CUDA device.

    Args:
        image_ZYX: HU, int16 or float32, in main memory.
        intensity: clip limits, mean and SD in HU.
        shape: network grid (z, y, x).
        device: a CUDA device.
        output: torch.float32 or torch.float16.
        region: the part of the grid that is wanted; None: all of it.
    """
    planes, y, x = region or whole(shape)
    # Whole planes, since the kernel is quick; what is not wanted of them is given back.
    out = torch.empty((planes.stop - planes.start, *shape[1:]), dtype=output, device=device)
    taps = linear_taps(image_ZYX.shape[0], shape[0])
    values = (intensity.lower, intensity.upper, intensity.mean, 1.0 / intensity.std)
    for first in range(planes.start, planes.stop, IMAGE_PLANES):
        last = min(first + IMAGE_PLANES, planes.stop)
        start, stop = int(taps.lower[first]), int(taps.upper[last - 1]) + 1
        slab = uploaded(image_ZYX[start:stop], device)
        sizes = [np.int32(n) for n in (*image_ZYX.shape, *shape, first, start)]
        _launch(
            _kernel(slab.dtype, output), (last - first, *shape[1:]),
            (slab, out[first - planes.start :], *sizes, *(np.float32(v) for v in values)),
        )  # fmt: skip
    return out[:, y, x].contiguous()


class CupyLinearDecoder(LinearDecoder):
    """Slices enlarged and decided by one kernel: no logits at full resolution at all."""

    def _decide(self, planes_CZYX: torch.Tensor, z: Taps) -> torch.Tensor:
        sizes = (len(z.lower), len(self._y[0]), len(self._x[0]))
        out = torch.empty(sizes, dtype=torch.uint8, device=planes_CZYX.device)
        if not out.numel():
            return out
        along_z = (torch.tensor(tap, device=out.device) for tap in z)
        steps = (np.int64(step) for step in planes_CZYX.stride())
        labels = np.int32(len(planes_CZYX)), np.int32(TUMOR)
        _launch(
            _decide_kernel(planes_CZYX.dtype), sizes,
            (planes_CZYX, out, *labels, *steps, np.int32(sizes[1]), np.int32(sizes[2]),
             *along_z, *self._y, *self._x),
        )  # fmt: skip
        return out


def _launch(kernel: Any, shape: Shape, arguments: tuple[Any, ...]) -> None:
    """Run a kernel over (z, y, x) on torch's current stream, with tensors as they are."""
    import cupy

    tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
    device = tensors[0].device
    stream = cupy.cuda.Stream.from_external(torch.cuda.current_stream(device))
    columns, rows = -(-shape[2] // _BLOCK[0]), -(-shape[1] // _BLOCK[1])
    # A tensor is given as its address: the kernel is told its layout.
    values = [np.uint64(a.data_ptr()) if isinstance(a, torch.Tensor) else a for a in arguments]
    with cupy.cuda.Device(device.index), stream:
        kernel((columns, rows, shape[0]), _BLOCK, tuple(values))


def resample_source(voxel: torch.dtype, output: torch.dtype) -> str:
    """The program that holds :data:`RESAMPLE` for these types."""
    names = {"voxel": _C_TYPES[voxel], "output": _C_TYPES[output], "include": _include(output)}
    return _KERNEL_SOURCE % names


def decide_source(logit: torch.dtype) -> str:
    """The program that holds :data:`DECIDE` for logits of this type."""
    return _DECIDE_KERNEL % {"logit": _C_TYPES[logit], "include": _include(logit)}


@lru_cache(maxsize=8)  # more than there are types
def _decide_kernel(logit: torch.dtype) -> Any:
    import cupy

    return cupy.RawKernel(decide_source(logit), DECIDE, options=OPTIONS)


@lru_cache(maxsize=8)  # more than there are types
def _kernel(voxel: torch.dtype, output: torch.dtype) -> Any:
    import cupy

    return cupy.RawKernel(resample_source(voxel, output), RESAMPLE, options=OPTIONS)


def _include(number: torch.dtype) -> str:
    """Only half needs a header, which CuPy finds where CUDA's own are installed."""
    return "#include <cuda_fp16.h>" if number == torch.float16 else ""
