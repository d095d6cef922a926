"""How far a network's feature maps reach: what it takes to compute it in 8-bit integers.

A pure value of ``model.json``, measured on scans by ``python -m training calibrate``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from inference.architecture import Architecture

# Name of a map (``encoder.S.I``, ``decoder.S.I``, ``up.S``) -> for each channel, the value that
# hardly anything exceeds; of ``up``, which has both signs, the magnitude.
Ranges = Mapping[str, tuple[float, ...]]


def map_channels(net: Architecture) -> dict[str, int]:
    """Name and channels of the maps that are kept in 8 bits: all but the last, which the head reads
    as it is."""
    maps = {
        f"encoder.{stage}.{i}": width
        for stage, width in enumerate(net.features)
        for i in range(net.convolutions)
    }
    for stage, width in enumerate(net.features[:-1]):
        maps[f"up.{stage}"] = width
        maps |= {f"decoder.{stage}.{i}": width for i in range(net.convolutions)}
    del maps[f"decoder.0.{net.convolutions - 1}"]
    return maps


def read_ranges(entry: dict[str, Any], net: Architecture) -> Ranges:
    """The ranges from ``model.json``; none where it has no such entry.

    Raises:
        ValueError, TypeError: they are not those of the architecture, or not positive numbers.
    """
    ranges = {name: tuple(float(v) for v in values) for name, values in entry.items()}
    if not ranges:
        return ranges
    if {name: len(values) for name, values in ranges.items()} != map_channels(net):
        raise ValueError("the ranges are not those of the architecture's feature maps")
    if not all(0 < v < math.inf for values in ranges.values() for v in values):
        raise ValueError("the ranges must be positive")
    return ranges
