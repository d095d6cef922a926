"""Checkpoints: all that a training needs to go on, never half written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from inference.errors import AbdoboxError

FORMAT = 1
LAST = "last.pt"
BEST = "best.pt"
# The remedy of commands that take a run's folder.
NAME_RUN = "name the folder of a training (--run), and a --checkpoint in it"


class CheckpointError(AbdoboxError):
    """A checkpoint that is missing, damaged or of another training."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside, flush to the disk, rename: a killed process leaves the previous file."""
    beside = path.with_suffix(".part")
    with beside.open("wb") as stream:
        torch.save({"format": FORMAT, **state}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)


def load(
    path: Path,
    device: torch.device | str = "cpu",
    remedy: str = "name a checkpoint that train has written",
) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are unpickled.

    Args:
        path: of the file.
        device: for its tensors.
        remedy: what to do where there is no such file.

    Raises:
        CheckpointError: the file is missing, damaged or of another format.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such file", remedy) from error
    except Exception as error:
        raise CheckpointError(
            path, f"cannot be read ({type(error).__name__})", "go on from another checkpoint"
        ) from error
    if state.get("format") != FORMAT:
        raise CheckpointError(path, "is of another format", "train anew")
    return state
