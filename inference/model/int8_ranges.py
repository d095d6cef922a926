"""How far a network's feature maps reach: what it takes to compute it in 8-bit integers.

A pure value of ``model.json``, measured on scans by ``python -m training calibrate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .architecture import Architecture

# Name of a map (``encoder.S.I``, ``decoder.S.I``, ``up.S``) -> for each channel, the value that
# hardly anything exceeds; of ``up``, which has both signs, the magnitude.
Ranges = Mapping[str, tuple[float, ...]]
# Far beyond any network's, and well within what float32 holds of it, of its square and its inverse.
_LOWEST, _HIGHEST = 1e-6, 1e6


def byte_maps(net: Architecture) -> dict[str, int]:
    """Name and channels of the maps that are kept in 8 bits: all but the last, which the head reads
    as it is."""
    maps = net.map_channels()
    maps.popitem()
    return maps


def read_ranges(entry: Any, net: Architecture) -> Ranges:
    """The ranges from ``model.json``; none where it has no such entry.

    Raises:
        ValueError, TypeError: they are not those of the architecture, or not plausible numbers.
    """
    if not isinstance(entry, dict):
        raise ValueError("the ranges are no table of feature maps")
    ranges = {name: tuple(float(v) for v in values) for name, values in entry.items()}
    if not ranges:
        return ranges
    if {name: len(values) for name, values in ranges.items()} != byte_maps(net):
        raise ValueError("the ranges are not those of the architecture's feature maps")
    if not all(_LOWEST <= v <= _HIGHEST for values in ranges.values() for v in values):
        raise ValueError(f"the ranges must lie in {_LOWEST:g} to {_HIGHEST:g}")
    return ranges
