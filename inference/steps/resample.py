"""Resampling between the scan's grid and the network's, in NumPy: the CPU route.

Edge-aligned: both grids cover exactly the same field of view, so that output voxel ``i`` of ``n``
samples the input at ``(i + 0.5) * n_in / n_out - 0.5``, held at the border. This is
``F.interpolate(align_corners=False)`` and ``scipy.ndimage.zoom(grid_mode=True, mode="nearest")``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..machine.threads import in_chunks
from ..model.description import Intensity
from ..types import Box, Image, Shape
from .boxes import whole

ScalarT = TypeVar("ScalarT", bound=np.generic)

# Axes whose indices are kept: those of some scans, their networks and finders.
CACHED_AXES = 64


class Taps(NamedTuple):
    """Linear interpolation along one axis: out[i] = in[lower] + fraction * (in[upper] - in[lower]).

    Attributes:
        lower, upper: neighbouring input indices, int64, length n_out.
        fraction: weight of ``upper`` in [0, 1), float32, length n_out.
    """

    lower: npt.NDArray[np.int64]
    upper: npt.NDArray[np.int64]
    fraction: npt.NDArray[np.float32]

    def part(self, outputs: slice, first: int = 0) -> Taps:
        """The taps of some outputs, into inputs that begin at ``first``."""
        lower, upper = self.lower[outputs] - first, self.upper[outputs] - first
        return Taps(lower, upper, self.fraction[outputs])


def read_only(array: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
    """``array``, from now on not to be written to: for what a cache gives to several callers."""
    array.flags.writeable = False
    return array


@lru_cache(maxsize=CACHED_AXES)
def linear_taps(n_in: int, n_out: int) -> Taps:
    """Taps that bring an axis of ``n_in`` samples to ``n_out``."""
    position = (np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5
    position = np.clip(position, 0.0, n_in - 1.0)
    lower = np.floor(position).astype(np.int64)
    upper = np.minimum(lower + 1, n_in - 1)
    fraction = (position - lower).astype(np.float32)
    return Taps(read_only(lower), read_only(upper), read_only(fraction))


@lru_cache(maxsize=CACHED_AXES)
def nearest_taps(n_in: int, n_out: int) -> npt.NDArray[np.int64]:
    """Input index nearest to each of ``n_out`` samples (``nearest-exact``; ties go up)."""
    return read_only((2 * np.arange(n_out) + 1) * n_in // (2 * n_out))


class Reach(NamedTuple):
    """The part of one scan axis that a part of the network's axis decides about.

    Attributes:
        inside: scan voxels whose nearest network voxel lies in the part.
        linear: their neighbours, as indices into the part, at whose ends values are held.
        nearest: their nearest network voxels, as indices into the part.
    """

    inside: slice
    linear: Taps
    nearest: npt.NDArray[np.int64]

    @classmethod
    def of(cls, n_in: int, n_out: int, part: slice) -> Reach:
        """The reach of ``part`` of ``n_in`` network voxels on an axis of ``n_out`` scan voxels."""
        nearest, taps = nearest_taps(n_in, n_out), linear_taps(n_in, n_out)
        first, last = (int(i) for i in np.searchsorted(nearest, (part.start, part.stop)))
        inside, end = slice(first, last), part.stop - part.start - 1
        lower, upper = (np.clip(t[inside] - part.start, 0, end) for t in (taps.lower, taps.upper))
        linear = Taps(lower, upper, taps.fraction[inside])
        return cls(inside, linear, nearest[inside] - part.start)


def reaches(
    network: Shape, scan: Shape, region: tuple[slice, slice, slice]
) -> tuple[Reach, Reach, Reach]:
    """The reach of a region of the network's grid along z, y and x."""
    z, y, x = (Reach.of(n, m, part) for n, m, part in zip(network, scan, region, strict=True))
    return z, y, x


def resample_image(
    image_ZYX: Image, intensity: Intensity, shape: Shape, region: Box | None = None
) -> npt.NDArray[np.float32]:
    """Clip, normalise and resample a scan trilinearly to the network's grid.

    Clipping comes before interpolation, as in nnU-Net, and no float copy of the whole scan is made.

    Args:
        image_ZYX: HU, int16 or float32, any strides.
        intensity: clip limits, mean and SD in HU.
        shape: network grid (z, y, x).
        region: the part of it that is wanted; None: all of it.

    Returns:
        float32 array of the region's shape, in the network's input units.
    """
    z_taps, y_taps, x_taps = (
        linear_taps(n, m).part(part)
        for n, m, part in zip(image_ZYX.shape, shape, region or whole(shape), strict=True)
    )
    out = np.empty((len(z_taps.lower), len(y_taps.lower), len(x_taps.lower)), np.float32)
    scale = np.float32(1.0 / intensity.std)
    shift = np.float32(intensity.mean)

    def in_plane(z: int) -> npt.NDArray[np.float32]:
        plane_YX = image_ZYX[z]
        rows = _blend_clipped(
            plane_YX[y_taps.lower], plane_YX[y_taps.upper], y_taps.fraction[:, None], intensity
        )
        left = rows.take(x_taps.lower, axis=1)
        right = rows.take(x_taps.upper, axis=1)
        right -= left
        right *= x_taps.fraction
        left += right
        return left

    def planes(first: int, last: int) -> None:
        held: dict[int, npt.NDArray[np.float32]] = {}
        for z in range(first, last):
            lower, upper = int(z_taps.lower[z]), int(z_taps.upper[z])
            held = {s: held[s] if s in held else in_plane(s) for s in (lower, upper)}
            np.subtract(held[upper], held[lower], out=out[z])
            out[z] *= z_taps.fraction[z]
            out[z] += held[lower]
            out[z] -= shift
            out[z] *= scale

    in_chunks(planes, len(out))
    return out


def gather_labels(
    labels_ZYX: npt.NDArray[np.uint8],
    z: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    x: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> None:
    """Fill ``out`` (z, y, x) with the labels at the indices along each axis."""

    def planes(first: int, last: int) -> None:
        source, plane = -1, out[first]
        for k in range(first, last):
            if z[k] != source:
                source = int(z[k])
                out[k] = labels_ZYX[source].take(y, axis=0).take(x, axis=1)
                plane = out[k]
            else:
                out[k] = plane

    in_chunks(planes, len(z))


def _blend_clipped(
    a: npt.NDArray[np.generic],
    b: npt.NDArray[np.generic],
    fraction: npt.NDArray[np.float32],
    intensity: Intensity,
) -> npt.NDArray[np.float32]:
    lower, upper = np.float32(intensity.lower), np.float32(intensity.upper)
    first = a.astype(np.float32)
    np.clip(first, lower, upper, out=first)
    second = b.astype(np.float32)
    np.clip(second, lower, upper, out=second)
    second -= first
    second *= fraction
    first += second
    return first
