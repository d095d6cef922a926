"""Random numbers and smooth random fields from one torch generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.types import Shape, Triple


class Draw:
    """Everything random in a synthetic scan, so that one generator decides all of it.

    Args:
        generator: its device is where fields are made.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        """One number in [low, high)."""
        return low + (high - low) * self._random().item()

    def normal(self, mean: float, deviation: float) -> float:
        """One normally distributed number, cut at 2.5 standard deviations."""
        value = torch.randn((), generator=self.generator, device=self.generator.device).item()
        return mean + deviation * min(max(value, -2.5), 2.5)

    def lognormal(self, median: float, spread: float) -> float:
        """One number whose logarithm has the standard deviation ``spread``."""
        return median * float(torch.exp(torch.tensor(self.normal(0.0, spread))))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random().item() < probability

    def choice(self, count: int) -> int:
        """An index in 0..count-1."""
        return min(int(self._random().item() * count), count - 1)

    def turn(self) -> Tensor:
        """A random orthogonal matrix (3, 3), on the CPU: a turn about any axis, or a turn and a
        reflection."""
        rows = [[self.normal(0, 1) for _ in range(3)] for _ in range(3)]
        turn: Tensor = torch.linalg.qr(torch.tensor(rows)).Q
        return turn

    def white(self, shape: Shape) -> Tensor:
        """Standard normal noise, float32 (z, y, x)."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def smooth(self, shape: Shape, spacing: Triple, length: float, channels: int = 1) -> Tensor:
        """Smooth fields of about unit variance.

        Args:
            shape: (z, y, x) voxels of ``spacing`` mm.
            length: distance in mm between the control points.

        Returns:
            float32 (channels, z, y, x).
        """
        knots = [max(2, round(n * s / length) + 2) for n, s in zip(shape, spacing, strict=True)]
        device = self.generator.device
        values = torch.randn((1, channels, *knots), generator=self.generator, device=device)
        # Trilinear interpolation between knots lowers the variance; 1.5 restores about one.
        return 1.5 * F.interpolate(values, size=shape, mode="trilinear", align_corners=True)[0]

    def _random(self) -> Tensor:
        return torch.rand((), generator=self.generator, device=self.generator.device)
