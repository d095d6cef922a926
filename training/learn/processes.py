"""The processes of a run: one, or several that torchrun started."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from inference.engines.choice import HINT, is_device
from inference.errors import DeviceError


@dataclass(frozen=True)
class Processes:
    """This process among its equals.

    Attributes:
        device: that it computes on.
        rank, world: its number, and how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @classmethod
    def join(cls, device: str = "auto") -> Processes:
        """Join the group that torchrun announces in the environment, if it does.

        Args:
            device: ``auto``, ``cpu``, ``cuda`` (each process its own) or ``cuda:N``.

        Raises:
            DeviceError: an unknown name, or a device that is not there.
        """
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        place = _place(device)
        cuda = place.type == "cuda"
        if cuda:
            torch.cuda.set_device(place)
        if world > 1:
            dist.init_process_group("nccl" if cuda else "gloo")
        return cls(place, rank, world)

    def leave(self) -> None:
        """Leave the group."""
        if self.world > 1:
            dist.destroy_process_group()

    def sum(self, value: Tensor) -> Tensor:
        """Sum of a tensor over all processes."""
        if self.world > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def max(self, value: float) -> float:
        """The largest of all processes' values."""
        if self.world == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return float(shared)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        if self.world == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def accumulate(self, network: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
        """Around the passes of one part of a batch: gradients are exchanged with the last part."""
        if isinstance(network, DistributedDataParallel) and not last:
            return network.no_sync()
        return contextlib.nullcontext()


def _place(device: str) -> torch.device:
    """The device of this process. Raises DeviceError."""
    if not is_device(device):
        raise DeviceError(f"--device {device}", "is unknown", HINT)
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not device.startswith("cuda") and (device != "auto" or not there):
        return torch.device("cpu")
    _, _, number = device.partition(":")
    index = int(number or os.environ.get("LOCAL_RANK", "0"))
    if index >= there:
        raise DeviceError(
            f"--device {device}",
            f"takes CUDA device {index}, and torch finds {there} here",
            "use --device cpu, or one process per GPU",
        )
    return torch.device("cuda", index)
