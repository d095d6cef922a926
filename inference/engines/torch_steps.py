"""Resampling and decoding in torch: the twins of steps.resample and steps.decode.

The same code runs on CUDA and on the CPU, where the tests hold it against the NumPy steps.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..labels import TUMOR
from ..model.description import Intensity
from ..steps.boxes import whole
from ..steps.decode import Decoder
from ..steps.resample import Reach, Taps, linear_taps, reaches
from ..types import Box, Decode, Image, Labels, Shape
from .device_memory import IMAGE_PLANES, SLAB_PLANES, SLAB_SLICES


def resample_image(
    image_ZYX: Image,
    intensity: Intensity,
    shape: Shape,
    device: torch.device,
    region: Box | None = None,
) -> Tensor:
    """Clip, normalise and resample trilinearly; the scan goes to the device slab by slab.

    Args:
        image_ZYX: int16 or float32 HU, any strides.
        intensity: clip limits, mean and SD in HU.
        shape: network grid (z, y, x).
        device: where the result, float32, is wanted.
        region: the part of the grid that is wanted; None: all of it.
    """
    planes, y, x = region or whole(shape)
    taps = linear_taps(image_ZYX.shape[0], shape[0]).part(planes)
    out = torch.empty((len(taps.lower), y.stop - y.start, x.stop - x.start), device=device)
    for first in range(0, len(out), IMAGE_PLANES):
        chunk = slice(first, first + IMAGE_PLANES)
        start, stop = int(taps.lower[chunk][0]), int(taps.upper[chunk][-1]) + 1
        slab = uploaded(image_ZYX[start:stop], device)
        slab = slab.float().clamp(intensity.lower, intensity.upper)
        z = taps.part(chunk, start)
        below, above = slab[_index(z.lower, slab)], slab[_index(z.upper, slab)]
        blended = torch.lerp(below, above, _column(z.fraction, slab))
        out[chunk] = F.interpolate(blended[None], shape[1:], mode="bilinear")[0, :, y, x]
    return out.sub_(intensity.mean).div_(intensity.std)


def uploaded(image_ZYX: Image, device: torch.device) -> Tensor:
    """The voxels on a device, in C order; what runs backwards is turned round there."""
    backwards = tuple(axis for axis, stride in enumerate(image_ZYX.strides) if stride < 0)
    forwards = np.flip(image_ZYX, backwards)
    with warnings.catch_warnings():  # that the array may not be written to: nobody does
        warnings.simplefilter("ignore", UserWarning)
        voxels = torch.from_numpy(forwards).to(device)
    return voxels.flip(backwards).contiguous() if backwards else voxels.contiguous()


def winners(logits_CZYX: Tensor) -> Tensor:
    """Labels from logits, channels first; the rule is inference.steps.decode.winners'."""
    best, organ = logits_CZYX[: TUMOR - 1].max(dim=0)
    labels = torch.where(best > 0, organ + 1, 0)
    return torch.where(logits_CZYX[TUMOR - 1] > 0, TUMOR, labels).to(torch.uint8)


class NearestDecoder:
    """Labels at network resolution, enlarged by nearest neighbour."""

    def __init__(self, network: Shape, scan: Shape, region: Box, device: torch.device) -> None:
        self._reach = reaches(network, scan, region)
        sizes = [part.stop - part.start for part in region]
        self._labels = torch.empty(sizes, dtype=torch.uint8, device=device)
        self._next = 0
        self._scan = scan

    def push(self, logits_CZYX: Tensor) -> None:
        count = logits_CZYX.shape[1]
        self._labels[self._next : self._next + count] = winners(logits_CZYX)
        self._next += count

    def finish(self) -> Labels:
        labels = self._labels
        for axis, reach in enumerate(self._reach):
            labels = labels.index_select(axis, _index(reach.nearest, labels))
        return _on_background(labels, self._reach, self._scan)


class LinearDecoder:
    """Logits enlarged trilinearly, a few slices at a time, then decided.

    Only labels leave the device, slices as they are done.
    """

    def __init__(self, network: Shape, scan: Shape, region: Box, device: torch.device) -> None:
        reach = reaches(network, scan, region)
        self._z, y, x = (axis.linear for axis in reach)
        # Uploaded once.
        self._y, self._x = (tuple(_index(tap, device) for tap in taps) for taps in (y, x))
        self._labels = np.zeros(scan, np.uint8)
        self._inside: Labels = self._labels[tuple(axis.inside for axis in reach)]
        self._held: Tensor | None = None  # planes from self._first on
        self._first = 0
        self._done = 0

    def push(self, logits_CZYX: Tensor) -> None:
        for first in range(0, logits_CZYX.shape[1], SLAB_PLANES):
            self._push(logits_CZYX[:, first : first + SLAB_PLANES])

    def _push(self, new: Tensor) -> None:
        planes = new if self._held is None else torch.cat((self._held, new), dim=1)
        seen = self._first + planes.shape[1]
        ready = int((self._z.upper < seen).sum())
        for first in range(self._done, ready, SLAB_SLICES):
            chunk = slice(first, min(first + SLAB_SLICES, ready))
            labels = self._decide(planes, self._z.part(chunk, self._first))
            self._inside[chunk] = labels.cpu().numpy()
        self._done = ready
        # Where the scan is coarser than the network's grid, planes to come are passed over.
        keep = min(int(self._z.lower[ready]), seen) if ready < len(self._z.lower) else seen
        self._held = planes[:, keep - self._first :].clone()
        self._first = keep

    def _decide(self, planes_CZYX: Tensor, z: Taps) -> Tensor:
        """Labels of the slices at the taps ``z``."""
        blended = planes_CZYX.float()
        for axis, (lower, upper, fraction) in (
            (1, (_index(tap, planes_CZYX) for tap in z)),
            (3, self._x),
            (2, self._y),
        ):
            shape = [-1 if a == axis else 1 for a in range(4)]
            below, above = blended.index_select(axis, lower), blended.index_select(axis, upper)
            blended = torch.lerp(below, above, fraction.view(shape))
        return winners(blended)

    def finish(self) -> Labels:
        return self._labels


def torch_decoder(
    mode: Decode, network: Shape, scan: Shape, region: Box, device: torch.device
) -> Decoder:
    """The decoder for ``mode`` on tensors of ``device``."""
    kind = LinearDecoder if mode == "linear" else NearestDecoder
    return kind(network, scan, region, device)


def _on_background(labels: Tensor, reach: tuple[Reach, Reach, Reach], scan: Shape) -> Labels:
    """The scan's labels in main memory: what the region reaches, and background around it."""
    out: Labels = np.zeros(scan, np.uint8)
    z, y, x = (axis.inside for axis in reach)
    out[z, y, x] = labels.cpu().numpy()
    return out


def _index(values: object, like: Tensor | torch.device) -> Tensor:
    device = like if isinstance(like, torch.device) else like.device
    return torch.tensor(values, device=device)  # a copy: what is cached is not to be written to


def _column(values: object, like: Tensor) -> Tensor:
    return _index(values, like)[:, None, None]
