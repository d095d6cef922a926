"""``python -m training calibrate``: measure how far a model's feature maps reach, for int8.

Training scans go through inference as a user's would, in float32, and a high quantile of each
channel of each map is written into the model's ``model.json``;
:mod:`inference.engines.openvino_graph` says what for. Needs OpenVINO.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from inference.engines.openvino_network import OpenVinoNetwork
from inference.errors import AbdoboxError, ModelError
from inference.model.description import ModelDescription, verified_weights
from inference.model.folder import WEIGHTS, model_folder
from inference.model.int8_ranges import Ranges, byte_maps, read_ranges
from inference.scan.atomic import write_atomically
from inference.scan.volume import Volume, read_volume
from inference.segmenter import Segmenter
from inference.steps.body import BODY_HU, body_mask
from inference.types import Shape
from training.data.case import DatasetError
from training.data.folders import check_writable
from training.data.table import read_cases
from training.ship.export import model_json

# Share of a channel's values that its range holds in every window: without the last few, the
# others are rounded more finely.
QUANTILE = 0.9999
# A quantile is taken of so many values at most, evenly spread.
_SAMPLES = 200_000
# No channel's range is smaller than this share of its map's median: what was silent on these scans
# may speak on others.
_LEAST = 0.1
_DIGITS = 4


class RecordingNetwork(OpenVinoNetwork):
    """The network in float32, which remembers how far its maps reached.

    Attributes:
        highs: map -> for each channel the highest quantile of the magnitude over all windows.
    """

    def __init__(self, description: ModelDescription, weights: bytes) -> None:
        super().__init__(description, weights, "f32")
        self.merged = range(0)  # int8 has all maps
        self._names = list(byte_maps(description.architecture))
        self.highs: dict[str, npt.NDArray[np.float64]] = {}

    def graph(self, window: Shape) -> object:
        graph = super().graph(window)
        graph.add_outputs(self._names)
        return graph

    def forward(self, windows: list[npt.NDArray[np.generic]]) -> list[npt.NDArray[np.generic]]:
        logits: list[npt.NDArray[np.generic]] = []
        for window in windows:
            logits += super().forward([window])
            for name in self._names:
                # After LeakyReLU the negative values are a hundredth of what they were.
                map_CV = np.abs(self.request.get_tensor(name).data[0])
                map_CV = map_CV.reshape(len(map_CV), -1)
                every = -(-map_CV.shape[1] // _SAMPLES)
                high = np.quantile(map_CV[:, ::every], QUANTILE, axis=1)
                self.highs[name] = np.maximum(self.highs.get(name, 0.0), high)
        return logits


def calibrate(folder: Path, scans: Iterable[Path | Volume]) -> Ranges:
    """The ranges of a model's maps over some scans, placed in windows as the model places them.

    Raises:
        AbdoboxError: the model or a scan cannot be read, or a map has no ranges on them.
    """
    segmenter = Segmenter.load(folder, "cpu", precision="f32")
    weights = verified_weights(folder, segmenter.description)
    network = RecordingNetwork(segmenter.description, weights)
    segmenter.network = network
    for number, scan in enumerate(scans, 1):
        segmenter.segment(scan)
        print(f"scan {number} measured", file=sys.stderr)
    try:
        return read_ranges(ranges_of(network.highs), segmenter.description.architecture)
    except ValueError as error:  # what would be written could not be read again
        raise ModelError(folder, f"has no use for int8: {error}", "leave it as it is") from error


def ranges_of(highs: Mapping[str, npt.NDArray[np.float64]]) -> Ranges:
    """Ranges that hold these values, rounded up in the last digit that is kept.

    Raises:
        ModelError: a map holds no numbers, or so little that there is nothing to measure it by.
    """
    for name, high in highs.items():
        if not np.isfinite(high).all():
            raise ModelError(f"map {name}", "holds NaN or infinity", "train the model anew")
        if not np.median(high) > 0:
            raise ModelError(
                f"map {name}",
                "is 0 in half of its channels or more",
                "calibrate on other scans, or train the model anew",
            )

    def rounded(value: float) -> float:
        unit = 10.0 ** (math.floor(math.log10(value)) + 1 - _DIGITS)
        return float(f"{math.ceil(value / unit) * unit:.{_DIGITS}g}")

    return {
        name: tuple(map(rounded, np.maximum(high, _LEAST * np.median(high)).tolist()))
        for name, high in highs.items()
    }


def training_scans(data: Path) -> list[Path]:
    """The training scans of a folder written by ``fuse``; those without a patient are left out.

    All are read here once, so that one of them that cannot be read is known before the network
    has computed on the others for an hour.

    Raises:
        AbdoboxError: the table makes no sense, a scan cannot be read, or none is left.
    """
    rows = read_cases(data, ("name", "split", "image"))
    scans = [Path(row["image"]) for row in rows if row["split"] == "train"]
    if missing := [scan for scan in scans if not scan.is_file()]:
        raise DatasetError(
            missing[0],
            f"is not there ({len(missing)} of {len(scans)} training scans are missing)",
            "bring them back, or run python -m training fuse again",
        )
    seen = [scan for scan in scans if _shows_a_body(scan)]
    if not seen:
        cause = "has no training scans" + (" that show a patient" if scans else "")
        raise DatasetError(data, cause, "name another folder")
    return seen


def _shows_a_body(scan: Path) -> bool:
    """Whether there is a patient in a scan; says so where there is none. Raises ScanError."""
    image_ZYX, grid = read_volume(scan).canonical()
    # All is taken for body where none was found, and where there is nothing else.
    found = not body_mask(image_ZYX, BODY_HU, grid.spacing).all()
    if found or np.median(image_ZYX) > BODY_HU:
        return True
    print(f"left out {scan}: nothing of a patient is found in it", file=sys.stderr)
    return False


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        folder = model_folder(WEIGHTS, arguments.model)
        description = ModelDescription.load(folder)
        check_writable(folder)
        scans = training_scans(arguments.data)
        ranges = calibrate(folder, scans)
        text = model_json(replace(description, ranges=ranges))
        write_atomically(folder / "model.json", text.encode())
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{folder}: {len(ranges)} maps over {len(scans)} scans", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training calibrate", description=__doc__)
    parser.add_argument("--model", required=True, help="name in weights/, or a folder")
    parser.add_argument("--data", type=Path, required=True, help="folder written by fuse")
    return parser
