"""How far a training has come, and when it stops."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Position:
    """How far a training has come; ``seconds`` counts over all its sittings."""

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf


@dataclass(frozen=True)
class Limits:
    """When to stop, and what the learning rate follows.

    Attributes:
        minutes: stop after so long in this sitting.
        schedule_minutes: length of the whole training in minutes, which the learning rate follows
            instead of the number of steps; for machines whose speed is not known beforehand.
        steps: stop at this step, short of the recipe's end (for tests).
    """

    minutes: float = math.inf
    schedule_minutes: float | None = None
    steps: int | None = None

    def progress(self, position: Position, steps: int) -> float:
        """Share of the training that is done, 0 to 1; ``steps`` is the recipe's number of them."""
        if self.schedule_minutes is not None:
            return min(position.seconds / (60 * self.schedule_minutes), 1.0)
        return min(position.step / steps, 1.0)
