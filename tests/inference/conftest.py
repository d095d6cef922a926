"""Segmentations that several tests compare with."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.phantom import Phantom
from inference.segmenter import Segmentation
from tests.inference.by_engine import segment


@pytest.fixture(scope="module")
def by_torch(tiny_model: Path, phantom: Phantom) -> Segmentation:
    """The phantom's segmentation by torch, with nothing in the way."""
    return segment(tiny_model, "torch-cpu", phantom)


@pytest.fixture(scope="module")
def by_openvino(tiny_model: Path, phantom: Phantom) -> Segmentation:
    """The phantom's segmentation by OpenVINO."""
    return segment(tiny_model, "cpu", phantom)
