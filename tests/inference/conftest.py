"""Segmentations that several tests compare with, and a folder of scans to run over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk

from inference.cli.main import main
from inference.segmentation import Segmentation
from phantom import Phantom, make_phantom
from tests.inference.by_engine import segment
from tests.inference.scan_folders import NAMES, Run, contents


@pytest.fixture(scope="module")
def by_torch(tiny_model: Path, phantom: Phantom) -> Segmentation:
    """The phantom's segmentation by torch, with nothing in the way."""
    return segment(tiny_model, "torch-cpu", phantom)


@pytest.fixture(scope="module")
def by_openvino(tiny_model: Path, phantom: Phantom) -> Segmentation:
    """The phantom's segmentation by OpenVINO."""
    return segment(tiny_model, "cpu", phantom)


@pytest.fixture(scope="module")
def phantoms() -> dict[str, Phantom]:
    """Small patients, of different shapes."""
    return {
        name: make_phantom((10 + i, 20, 22), (14.0, 14.0, 14.0), seed=i)
        for i, name in enumerate(NAMES)
    }


@pytest.fixture
def scans(tmp_path: Path, phantoms: dict[str, Phantom]) -> Path:
    """A folder with three sound scans."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, phantom in phantoms.items():
        image = sitk.GetImageFromArray(phantom.image_ZYX)
        image.SetSpacing(phantom.grid.spacing[::-1])
        image.SetOrigin(phantom.grid.origin)
        sitk.WriteImage(image, str(folder / f"{name}_0000.nii.gz"))
    return folder


@pytest.fixture
def run(tiny_model: Path) -> Iterator[Run]:
    """The command line, in this process, with the tiny model on the CPU."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(source: Path, target: Path, *more: str) -> int:
        words = ["-i", source, "-o", target, "--device", "cpu", "--model", tiny_model, *more]
        return main([str(word) for word in words])

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def clean(run: Run, scans: Path, tmp_path: Path) -> dict[str, bytes]:
    """What a run over the three sound scans writes."""
    assert run(scans, tmp_path / "clean", "--quiet") == 0
    return contents(tmp_path / "clean")
