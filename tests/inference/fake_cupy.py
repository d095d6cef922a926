"""CuPy made of gcc, for :mod:`tests.inference.fake_cuda`.

gcc compiles the kernels' very source, with a loop over blocks and threads around it.
"""

from __future__ import annotations

import ctypes
import re
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.inference.gcc import compiled

_THREADS = """
typedef struct { int x, y, z; } Three;
static Three blockIdx, blockDim, threadIdx;
"""
_HALF = "typedef _Float16 __half;\n"


class _Kernel:
    """CuPy's RawKernel by gcc."""

    def __init__(self, folder: Path, source: str, name: str, run: list[str]) -> None:
        self._name, self._run = name, run
        head = re.search(r'extern "C" __global__ void \w+\(([^)]*)\)', source)
        assert head is not None
        names = [word.split()[-1].lstrip("*") for word in head[1].split(",")]
        self._types = [_ctype(word) for word in head[1].split(",")]
        loop = f"""
        void launch(int gx, int gy, int gz, int bx, int by, int bz, {head[1]})
        {{
            blockDim.x = bx; blockDim.y = by; blockDim.z = bz;
            for (blockIdx.z = 0; blockIdx.z < gz; ++blockIdx.z)
            for (blockIdx.y = 0; blockIdx.y < gy; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < gx; ++blockIdx.x)
            for (threadIdx.z = 0; threadIdx.z < bz; ++threadIdx.z)
            for (threadIdx.y = 0; threadIdx.y < by; ++threadIdx.y)
            for (threadIdx.x = 0; threadIdx.x < bx; ++threadIdx.x)
                {name}({", ".join(names)});
        }}
        """
        text = source.replace("#include <cuda_fp16.h>", _HALF).replace('extern "C" ', "") + loop
        self._launch = compiled(folder, _THREADS + text, "__device__=", "__global__=").launch

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]
    ) -> None:
        assert len(args) == len(self._types), "a kernel takes what it is declared with"
        for value, (numpy_type, _) in zip(args, self._types, strict=True):
            assert type(value) is numpy_type, f"{self._name}: {type(value)} for {numpy_type}"
        numbers = [kind(value.item()) for value, (_, kind) in zip(args, self._types, strict=True)]
        self._launch(*(ctypes.c_int(n) for n in (*grid, *block)), *numbers)
        self._run.append(self._name)


def _ctype(declaration: str) -> tuple[type, Any]:
    """How CuPy wants an argument of that declaration, and how ctypes does."""
    if "*" in declaration:
        return np.uint64, ctypes.c_void_p
    kind = " ".join(declaration.split()[:-1])
    return {
        "int": (np.int32, ctypes.c_int),
        "long long": (np.int64, ctypes.c_longlong),
        "float": (np.float32, ctypes.c_float),
    }[kind]


def fake_cupy(folder: Path, run: list[str]) -> SimpleNamespace:
    """What inference.engines.cupy_steps uses of CuPy."""

    def kernel(source: str, name: str, options: tuple[str, ...] = ()) -> _Kernel:
        return _Kernel(folder, source, name, run)

    def device(index: int) -> Any:
        assert index == 0
        return nullcontext()

    def stream(other: Any) -> Any:
        assert other.__cuda_stream__() == (0, 0)
        return nullcontext()

    cuda = SimpleNamespace(Device=device, Stream=SimpleNamespace(from_external=stream))
    return SimpleNamespace(RawKernel=kernel, cuda=cuda, __spec__=ModuleSpec("cupy", None))
