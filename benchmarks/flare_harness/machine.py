"""What is measured on the machine: a GPU's memory by NVML, and CPU and RAM as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import psutil

MB = 1024.0**2


class NoGpuError(RuntimeError):
    """NVML or the device that was asked for is not there."""


class Gpu:
    """One GPU as NVML sees it: all processes together, as the organisers measure.

    Args:
        device: as in docker's ``--gpus``: ``device=N``, ``device=UUID``, or ``all`` (the first).

    Raises:
        NoGpuError: no driver, no pynvml (nvidia-ml-py), no such device, or one that does not tell
            its memory.
    """

    def __init__(self, device: str = "device=0") -> None:
        try:
            import pynvml
        except ImportError as error:
            raise NoGpuError("pynvml is not installed: pip install nvidia-ml-py") from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            wanted = first_device(device)
            if wanted.isdigit():
                self._handle = pynvml.nvmlDeviceGetHandleByIndex(int(wanted))
            else:
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(wanted.encode())
            name = pynvml.nvmlDeviceGetName(self._handle)
            pynvml.nvmlDeviceGetMemoryInfo(self._handle)  # a slice of a GPU may not say
        except pynvml.NVMLError as error:
            raise NoGpuError(f"{device}: {error}") from error
        self.name: str = name.decode() if isinstance(name, bytes) else name

    def used_mb(self) -> float:
        """Device memory in use, MB (2^20 bytes): total minus free."""
        memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        return float(memory.total - memory.free) / MB


def first_device(gpus: str) -> str:
    """The index or UUID of the first device that docker's ``--gpus`` value names.

    Raises:
        NoGpuError: not of the form ``all``, ``device=N`` or ``device=UUID``.
    """
    if gpus == "all":
        return "0"
    match = re.fullmatch(r'"?device=([\w-]+)(,[\w-]+)*"?', gpus)
    if not match:
        raise NoGpuError(f"--gpus {gpus}: use all or device=N")
    return match[1]


@dataclass(frozen=True)
class Load:
    """One sample of the machine.

    Attributes:
        gpu_mb: device memory in use; None without a GPU.
        cpu_percent: share of all processors that was not idle since the last sample.
        ram_mb: main memory in use.
    """

    gpu_mb: float | None
    cpu_percent: float
    ram_mb: float


class Machine:
    """Samples :class:`Load`; ``gpu`` is None where there is none."""

    def __init__(self, gpu: Gpu | None) -> None:
        self._gpu = gpu
        psutil.cpu_percent(None)  # the first call only sets the clock

    def load(self) -> Load:
        """The machine now."""
        gpu_mb = self._gpu.used_mb() if self._gpu else None
        return Load(gpu_mb, psutil.cpu_percent(None), psutil.virtual_memory().used / MB)
