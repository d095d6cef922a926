"""Segmentations of a phantom by one engine."""

from __future__ import annotations

from pathlib import Path

from inference.scan.volume import Volume
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from phantom import Phantom


def volume_of(phantom: Phantom) -> Volume:
    """The phantom as a scan in memory."""
    return Volume.of_array(phantom.image_ZYX, phantom.grid)


def segment(folder: Path, device: str, phantom: Phantom, decode: str = "linear") -> Segmentation:
    """By a model's folder on a device, in full precision."""
    segmenter = Segmenter.load(folder, device, precision="f32")
    return segmenter.segment(volume_of(phantom), decode=decode)
