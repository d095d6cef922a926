"""Resampling on CUDA as one CuPy kernel: voxels in, the network's input out, nothing in between.

The arithmetic is plain C in :data:`SAMPLE_SOURCE`, so that the tests compile it for the CPU and
hold it against inference.resample where there is no CUDA device. torch owns all memory.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from inference.description import Intensity
from inference.grid import Shape
from inference.resample import Image

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

_KERNEL_SOURCE = r"""
%(include)s
#define VOXEL %(voxel)s
#define OUTPUT %(output)s
""" + SAMPLE_SOURCE + r"""
extern "C" __global__ void abdobox_resample(
    const VOXEL* image, OUTPUT* out, int nz, int ny, int nx, int mz, int my, int mx,
    float low, float high, float mean, float scale)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    const int z = blockIdx.z;
    if (x >= mx || y >= my) return;
    const float value = abdobox_sample(
        image, nz, ny, nx, mz, my, mx, z, y, x, low, high, mean, scale);
    out[((long long)z * my + y) * mx + x] = (OUTPUT)value;
}
"""  # fmt: skip

_C_TYPES = {
    torch.int16: "short", torch.float32: "float", torch.float16: "__half",
}  # fmt: skip
_BLOCK = (32, 8, 1)


def resample_image(
    image_ZYX: Image,
    intensity: Intensity,
    shape: Shape,
    device: torch.device,
    output: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Clip, normalise and resample trilinearly on a CUDA device.

    Args:
        image_ZYX: HU, int16 or float32, in main memory.
        intensity: clip limits, mean and SD in HU.
        shape: network grid (z, y, x).
        device: a CUDA device.
        output: torch.float32 or torch.float16.
    """
    import cupy

    voxels = torch.from_numpy(np.ascontiguousarray(image_ZYX)).to(device)
    out = torch.empty(shape, dtype=output, device=device)
    columns, rows = -(-shape[2] // _BLOCK[0]), -(-shape[1] // _BLOCK[1])
    sizes = [np.int32(n) for n in (*voxels.shape, *shape)]
    values = (intensity.lower, intensity.upper, intensity.mean, 1.0 / intensity.std)
    stream = torch.cuda.current_stream(device).cuda_stream
    with cupy.cuda.Device(out.device.index or 0), cupy.cuda.ExternalStream(stream):
        _kernel(voxels.dtype, output)(
            (columns, rows, shape[0]), _BLOCK,
            (cupy.from_dlpack(voxels), cupy.from_dlpack(out), *sizes,
             *(np.float32(v) for v in values)),
        )  # fmt: skip
    return out


@cache
def _kernel(voxel: torch.dtype, output: torch.dtype) -> Any:
    import cupy

    # Only half needs the header, which CuPy finds where CUDA's own are installed.
    include = "#include <cuda_fp16.h>" if output == torch.float16 else ""
    names = {"voxel": _C_TYPES[voxel], "output": _C_TYPES[output], "include": include}
    source = _KERNEL_SOURCE % names
    return cupy.RawKernel(source, "abdobox_resample", options=("--std=c++17",))
