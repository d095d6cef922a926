"""Our CUDA kernels go through NVIDIA's compiler, which needs no GPU.

That what they compute is right is shown by gcc and NumPy (test_resample, test_decode) and, where
there is a device, by test_gpu.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.engines import cupy_steps

nvrtc = pytest.importorskip(
    "cuda.bindings.nvrtc", reason="NVRTC is not installed (requirements-oracles.txt)"
)

# Turing (T4), Ampere, Hopper, Blackwell.
ARCHITECTURES = ("sm_75", "sm_86", "sm_90", "sm_120")
HALF, SINGLE, VOXEL = torch.float16, torch.float32, torch.int16


def compiled(source: str, name: str, architecture: str) -> tuple[str, str]:
    """The compiler's word about a program, empty where it made a kernel of that name of it; and the
    kernel's instructions (PTX)."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    include = Path(load_nvidia_dynamic_lib("nvrtc").abs_path).parent.parent / "include"
    if not (include / "cuda_fp16.h").is_file():
        pytest.skip(f"CUDA's headers are not in {include}")
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], [])
    words = [f"-arch={architecture}", f"-I{include}", *cupy_steps.OPTIONS]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(words), [w.encode() for w in words])
    if result != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        size = nvrtc.nvrtcGetProgramLogSize(program)[1]
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        return log.decode(), ""
    code = b" " * nvrtc.nvrtcGetCUBINSize(program)[1]
    nvrtc.nvrtcGetCUBIN(program, code)
    instructions = b" " * nvrtc.nvrtcGetPTXSize(program)[1]
    nvrtc.nvrtcGetPTX(program, instructions)
    log = "" if name.encode() in code else f"there is no {name} in it"
    return log, instructions.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("voxel", [VOXEL, SINGLE])
@pytest.mark.parametrize("output", [SINGLE, HALF])
def test_resampling_compiles(architecture: str, voxel: torch.dtype, output: torch.dtype):
    source = cupy_steps.resample_source(voxel, output)
    log, instructions = compiled(source, cupy_steps.RESAMPLE, architecture)
    assert log == ""
    # Positions as NumPy rounds them, which says how many slices are there to be read.
    assert "mul.rn.f64" in instructions
    assert "fma.rn.f64" not in instructions


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("logit", [SINGLE, HALF])
def test_deciding_compiles(architecture: str, logit: torch.dtype):
    source = cupy_steps.decide_source(logit)
    log, instructions = compiled(source, cupy_steps.DECIDE, architecture)
    assert log == ""
    assert "mul.rn.f32" in instructions
    assert "fma.rn.f32" not in instructions


def test_a_broken_kernel_is_noticed():
    source = cupy_steps.decide_source(SINGLE).replace("blockIdx.x", "blockIdx.w")
    assert "has no member" in compiled(source, cupy_steps.DECIDE, "sm_90")[0]
