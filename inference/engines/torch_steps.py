"""Resampling and decoding in torch: the twins of inference.resample and inference.decode.

The same code runs on CUDA and on the CPU, where the tests hold it against the NumPy steps.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inference.ballot import Labels
from inference.decode import Decoder
from inference.description import Decode, Intensity
from inference.grid import Shape
from inference.labels import TUMOR
from inference.resample import Reach, linear_taps, reaches
from inference.windows import Box

# Full-resolution planes that exist at once, of the scan and, 14 channels of each, of logits.
_SLAB_SLICES = 4


def resample_image(image_ZYX: Tensor, intensity: Intensity, shape: Shape) -> Tensor:
    """Clip, normalise and resample trilinearly. int16 or float32 HU in, float32 out."""
    out = torch.empty(shape, device=image_ZYX.device)
    taps = linear_taps(image_ZYX.shape[0], shape[0])
    low, high = intensity.lower, intensity.upper
    for first in range(0, shape[0], _SLAB_SLICES):
        chunk = slice(first, first + _SLAB_SLICES)
        below = image_ZYX[_index(taps.lower[chunk], image_ZYX)].float().clamp_(low, high)
        above = image_ZYX[_index(taps.upper[chunk], image_ZYX)].float().clamp_(low, high)
        blended = torch.lerp(below, above, _column(taps.fraction[chunk], image_ZYX))
        out[chunk] = F.interpolate(blended[None], shape[1:], mode="bilinear")[0]
    return out.sub_(intensity.mean).div_(intensity.std)


def winners(logits_CZYX: Tensor) -> Tensor:
    """Labels from logits, channels first; the rule is inference.ballot.winners'."""
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
    """Logits enlarged trilinearly, a few slices at a time, then decided."""

    def __init__(self, network: Shape, scan: Shape, region: Box, device: torch.device) -> None:
        self._reach = reaches(network, scan, region)
        self._z, y, x = (axis.linear for axis in self._reach)
        # Uploaded once.
        self._y, self._x = (tuple(_index(tap, device) for tap in taps) for taps in (y, x))
        sizes = [axis.inside.stop - axis.inside.start for axis in self._reach]
        self._labels = torch.empty(sizes, dtype=torch.uint8, device=device)
        self._scan = scan
        self._held: Tensor | None = None  # planes from self._first on
        self._first = 0
        self._done = 0

    def push(self, logits_CZYX: Tensor) -> None:
        new = logits_CZYX.float()
        planes = new if self._held is None else torch.cat((self._held, new), dim=1)
        seen = self._first + planes.shape[1]
        ready = int((self._z.upper < seen).sum())
        for first in range(self._done, ready, _SLAB_SLICES):
            chunk = slice(first, min(first + _SLAB_SLICES, ready))
            below, above = (
                planes.index_select(1, _index(tap[chunk] - self._first, planes))
                for tap in (self._z.lower, self._z.upper)
            )
            blended = torch.lerp(below, above, _column(self._z.fraction[chunk], planes))
            lower, upper, fraction = self._x
            blended = torch.lerp(
                blended.index_select(3, lower), blended.index_select(3, upper), fraction
            )
            lower, upper, fraction = self._y
            self._labels[chunk] = winners(
                torch.lerp(
                    blended.index_select(2, lower),
                    blended.index_select(2, upper),
                    fraction[:, None],
                )
            )
        self._done = ready
        # Where the scan is coarser than the network's grid, planes to come are passed over.
        keep = min(int(self._z.lower[ready]), seen) if ready < len(self._z.lower) else seen
        self._held = planes[:, keep - self._first :].clone()
        self._first = keep

    def finish(self) -> Labels:
        return _on_background(self._labels, self._reach, self._scan)


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
    return torch.as_tensor(values, device=device)


def _column(values: object, like: Tensor) -> Tensor:
    return torch.as_tensor(values, device=like.device)[:, None, None]
