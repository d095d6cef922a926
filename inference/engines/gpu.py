"""One CUDA device, as far as memory and order of work are concerned."""

from __future__ import annotations

import torch


class Gpu:
    """A CUDA device.

    Args:
        device: with its number; :func:`torch.cuda.set_device` takes none without.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def make_current(self) -> None:
        """For this thread: each has a setting of its own."""
        torch.cuda.set_device(self._device)

    def synchronize(self) -> None:
        """Wait until all that was asked for is done."""
        torch.cuda.synchronize(self._device)

    def give_back(self) -> None:
        """Give back the memory that torch keeps and does not use."""
        torch.cuda.empty_cache()

    def free_bytes(self) -> int:
        """Bytes that the device has left, with those that torch keeps but does not use.

        Otherwise a second scan would be cut into other windows than the first.
        """
        free, _ = torch.cuda.mem_get_info(self._device)
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(free + kept)

    def peak_bytes(self) -> int | None:
        """All that is in use, CUDA's own context included; None where the device has failed."""
        try:
            free, total = torch.cuda.mem_get_info(self._device)
            return max(total - free, torch.cuda.max_memory_reserved(self._device))
        except RuntimeError:
            return None

    @property
    def name(self) -> str:
        """As the driver calls it."""
        return torch.cuda.get_device_name(self._device)
