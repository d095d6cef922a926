"""Exponential moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Average:
    """Keeps ``average += (1 - decay) * (weights - average)`` after every step.

    The decay starts low, so that the random first weights are soon forgotten.

    Args:
        network: whose parameters are averaged; it has no other state.
        decay: the largest decay.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        now = [p.detach() for p in network.parameters()]
        torch._foreach_lerp_(list(self.weights.values()), now, 1 - decay)

    def state(self) -> dict[str, int | dict[str, Tensor]]:
        """For a checkpoint."""
        return {"updates": self.updates, "weights": self.weights}

    def restore(self, state: dict[str, int | dict[str, Tensor]]) -> None:
        """From :meth:`state`."""
        assert isinstance(state["updates"], int) and isinstance(state["weights"], dict)
        self.updates = state["updates"]
        for name, weight in self.weights.items():
            weight.copy_(state["weights"][name])
