"""The series that are read: eight orientations, and what is found in real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import Dataset

from benchmarks.dicom_peers.scene import CENTRE, LATER_HU, contents
from tests.inference.scan.dicom.series_maker import (
    ORIENTATIONS,
    Geometry,
    Slice,
    make_slices,
    write_enhanced,
    write_series,
)

_EVEN = tuple(4.0 * k for k in range(20))
_UNEVEN = tuple(float(v) for v in np.cumsum((0, 3, 5, 4, 6, 3, 4, 5, 3, 6, 4, 3, 5, 4, 3, 6, 4, 5)))


def _series(folder: Path, slices: list[Slice], **more: object) -> None:
    written = write_series(folder, slices, **more)  # type: ignore[arg-type]
    for path in written:
        path.rename(path.with_suffix(".dcm"))


def _plain(**changes: object) -> Callable[[Path], None]:
    geometry = replace(Geometry(along=_EVEN, centre=CENTRE), **changes)  # type: ignore[arg-type]
    return lambda folder: _series(folder, make_slices(geometry, contents))


def _without(*left_out: int) -> Callable[[Path], None]:
    return _plain(along=tuple(s for k, s in enumerate(_EVEN) if k not in left_out))


def _even() -> list[Slice]:
    return make_slices(Geometry(along=_EVEN, centre=CENTRE), contents)


def _later(slices: list[Slice]) -> list[Slice]:
    return [replace(s, hu=np.where(s.hu > -1000, s.hu + LATER_HU, s.hu)) for s in slices]


def _two_passes(folder: Path) -> None:
    first = _even()
    both = [s for pair in zip(first, _later(first), strict=True) for s in pair]

    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber = 1 + k % 2
        ds.AcquisitionTime = f"1015{30 * (k % 2):02}"

    _series(folder, both, change=change)


def _two_series(folder: Path) -> None:
    _series(folder, _even())
    _series(folder / "more", _later(_even()), series="2")
    for path in (folder / "more").iterdir():
        path.rename(folder / f"other_{path.name}")
    (folder / "more").rmdir()


def _twice(folder: Path) -> None:
    _series(folder, _even() + _even()[4:7])


def _localizer(folder: Path) -> None:
    scout = make_slices(Geometry("coronal", along=(0.0,), shape=(20, 24), centre=CENTRE), contents)

    def change(ds: Dataset, k: int) -> None:
        if k == 0:
            ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    _series(folder, [*scout, *_even()], change=change)


def _slopes(folder: Path) -> None:
    slices = _even()

    def change(ds: Dataset, k: int) -> None:
        ds.RescaleSlope, ds.RescaleIntercept = 1 + k % 2, -1024 - 10 * k
        stored = np.rint((slices[k].hu + 1024 + 10 * k) / (1 + k % 2))
        ds.PixelData = stored.astype("<u2").tobytes()

    _series(folder, slices, change=change)


def _enhanced(folder: Path) -> None:
    write_enhanced(folder / "ct.dcm", _even())


def _enhanced_slopes(folder: Path) -> None:
    even = [replace(s, hu=s.hu - s.hu % 2) for s in _even()]
    slopes = [1.0 + k % 2 for k in range(len(even))]
    write_enhanced(folder / "ct.dcm", even, slopes=slopes)


_MAKERS: dict[str, Callable[[Path], None]] = {
    **{name: _plain(orientation=name) for name in ORIENTATIONS},
    "1 slice missing": _without(9),
    "3 slices missing": _without(9, 10, 11),
    "uneven steps": _plain(along=_UNEVEN),
    "gantry tilt of 5 degrees": _plain(tilt=5.0),
    "gantry tilt of 20 degrees": _plain(tilt=20.0),
    "two passes in one series": _two_passes,
    "two series in one folder": _two_series,
    "3 slices twice": _twice,
    "a localizer among the slices": _localizer,
    "slope and intercept change": _slopes,
    "Enhanced CT": _enhanced,
    "Enhanced CT, slopes change": _enhanced_slopes,
}
KINDS = tuple(_MAKERS)
# Volumes that are there to be found; what no box should guess is refused.
VOLUMES = {"two passes in one series": 2, "two series in one folder": 2}


def make(kind: str, folder: Path) -> None:
    """Write the series of a kind into a folder that is not there."""
    folder.mkdir(parents=True)
    _MAKERS[kind](folder)
