"""Resampling and decoding in torch: the twins of inference.resample and inference.decode.

The same code runs on CUDA and on the CPU, where the tests hold it against the NumPy steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.decode import Decoder, Labels
from inference.description import Decode, Intensity
from inference.grid import Shape
from inference.labels import TUMOR
from inference.resample import linear_taps, nearest_taps

# Full-resolution logits that exist at once: 14 channels of so many slices.
_SLAB_SLICES = 8


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
    """Labels from logits, channels first; the rule is inference.decode.winners'."""
    best, organ = logits_CZYX[: TUMOR - 1].max(dim=0)
    labels = torch.where(best > 0, organ + 1, 0)
    return torch.where(logits_CZYX[TUMOR - 1] > 0, TUMOR, labels).to(torch.uint8)


class NearestDecoder:
    """Labels at network resolution, enlarged by nearest neighbour."""

    def __init__(self, network: Shape, scan: Shape, device: torch.device) -> None:
        self._labels = torch.empty(network, dtype=torch.uint8, device=device)
        self._next = 0
        self._scan = scan

    def push(self, logits_CZYX: Tensor) -> None:
        count = logits_CZYX.shape[1]
        self._labels[self._next : self._next + count] = winners(logits_CZYX)
        self._next += count

    def finish(self) -> Labels:
        labels = self._labels
        for axis, (n_in, n_out) in enumerate(zip(labels.shape, self._scan, strict=True)):
            labels = labels.index_select(axis, _index(nearest_taps(n_in, n_out), labels))
        result: Labels = labels.cpu().numpy()
        return result


class LinearDecoder:
    """Logits enlarged trilinearly, a few slices at a time, then decided."""

    def __init__(self, network: Shape, scan: Shape, device: torch.device) -> None:
        self._taps = linear_taps(network[0], scan[0])
        self._labels = torch.empty(scan, dtype=torch.uint8, device=device)
        self._held: Tensor | None = None  # planes from self._first on
        self._first = 0
        self._done = 0

    def push(self, logits_CZYX: Tensor) -> None:
        planes = logits_CZYX if self._held is None else torch.cat((self._held, logits_CZYX), dim=1)
        seen = self._first + planes.shape[1]
        ready = int((self._taps.upper < seen).sum())
        for first in range(self._done, ready, _SLAB_SLICES):
            chunk = slice(first, min(first + _SLAB_SLICES, ready))
            below = planes[:, _index(self._taps.lower[chunk] - self._first, planes)]
            above = planes[:, _index(self._taps.upper[chunk] - self._first, planes)]
            blended = torch.lerp(below, above, _column(self._taps.fraction[chunk], planes))
            size = tuple(self._labels.shape[1:])
            enlarged = F.interpolate(blended.transpose(0, 1), size, mode="bilinear")
            self._labels[chunk] = winners(enlarged.transpose(0, 1))
        self._done = ready
        # Where the scan is coarser than the network's grid, planes to come are passed over.
        keep = min(int(self._taps.lower[ready]), seen) if ready < len(self._taps.lower) else seen
        self._held = planes[:, keep - self._first :].clone()
        self._first = keep

    def finish(self) -> Labels:
        result: Labels = self._labels.cpu().numpy()
        return result


def torch_decoder(mode: Decode, network: Shape, scan: Shape, device: torch.device) -> Decoder:
    """The decoder for ``mode`` on tensors of ``device``."""
    kind = LinearDecoder if mode == "linear" else NearestDecoder
    return kind(network, scan, device)


def _index(values: object, like: Tensor) -> Tensor:
    return torch.as_tensor(values, device=like.device)


def _column(values: object, like: Tensor) -> Tensor:
    return torch.as_tensor(values, device=like.device)[:, None, None]
