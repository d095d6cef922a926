"""Which number format a device trains in."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from torch import Tensor, nn

FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def training_dtype(wish: str, device: torch.device) -> torch.dtype:
    """The recipe's format, or for ``auto`` the fastest one that trains safely.

    CUDA: bfloat16 where the card has it, else float16. CPU: bfloat16 where the processor multiplies
    it in hardware (there 2 to 3 times as fast as float32), else float32.
    """
    if wish != "auto":
        return FORMATS[wish]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    return torch.bfloat16 if _processor_has_bfloat16() else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Mixed precision for the forward pass; nothing for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def keep_in_float32(module: nn.Module, device: torch.device) -> None:
    """Let a module leave autocast: it computes in float32 whatever it is given.

    On CPUs, oneDNN's bfloat16 weight gradients of convolutions over few voxels (2x5x6, say) come
    out infinite or wrong, so that the deepest stage of a network on thin patches must not use them.
    """
    forward = module.forward

    def run(x: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            y: Tensor = forward(x.float())
            return y

    module.forward = run


def memory_format(device: torch.device) -> torch.memory_format:
    """Order of a network's feature maps: channels last on a CPU, where bfloat16 convolutions take
    half the time with it (docs/LOG.md); torch's default elsewhere."""
    return torch.channels_last_3d if device.type == "cpu" else torch.contiguous_format


def images_at_once(device: torch.device, dtype: torch.dtype, batch: int) -> int:
    """Images of a batch that go through the network together; gradients add up over the parts.

    On a CPU in bfloat16 one by one, which takes no longer and needs less memory. In float32 all, as
    torch takes a slow convolution for single small images.
    """
    return 1 if device.type == "cpu" and dtype == torch.bfloat16 else batch


def _processor_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
