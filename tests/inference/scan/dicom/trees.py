"""Trees of made series, and what is found in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import Dataset

from inference.scan.dicom.candidates import candidates
from inference.scan.dicom.series import LeftOut, Series, find_series
from inference.scan.volume import read_series
from tests.inference.scan.dicom.series_maker import (
    ROOT,
    Geometry,
    make_slices,
)

GEOMETRY = Geometry(shape=(10, 12), spacing=(9.0, 8.0), along=tuple(8.0 * k for k in range(10)))


def look(root: Path, taken: tuple[str, ...] = ()) -> tuple[dict[str, Series], list[LeftOut]]:
    series, left_out = find_series(candidates(root), root, taken)
    return {s.name: s for s in series}, left_out


def reasons(left_out: list[LeftOut]) -> dict[str, int]:
    return {out.reason: out.images for out in left_out}


def flat(value: float) -> list:
    return make_slices(GEOMETRY, lambda x, y, z: np.where(x < 10, value, value + 1))


def values_of(series: Series) -> int:
    return int(read_series(series).voxels_ZYX.min())


def by(name: str) -> Callable[[int], Callable[[Dataset, int], None]]:
    def changes(number: int) -> Callable[[Dataset, int], None]:
        def change(ds: Dataset, k: int) -> None:
            if name == "acquisition":
                ds.AcquisitionNumber = number
            elif name == "an acquisition for each slice":
                ds.AcquisitionNumber = 100 * number + k
            elif name == "time":
                ds.AcquisitionTime = f"10{number}000.{k:02}"
            elif name == "kernel":
                ds.ConvolutionKernel = f"B{number}0f"
            ds.SOPInstanceUID = f"{ROOT}.7.{number}.{k}"

        return change

    return changes
