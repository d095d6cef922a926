"""Made series as scans, and labels on them: what every writer is tested with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from scipy import ndimage

from inference.grid import Grid
from inference.scan.dicom.derived import Algorithm
from inference.scan.dicom.segmentation import write_segmentation
from inference.scan.dicom.source import DicomSource
from inference.scan.formats import SegType
from inference.scan.volume import Volume, read_volume
from tests.inference.scan.dicom.series_maker import (
    ORIENTATIONS,
    PROBES,
    Geometry,
    Slice,
    make_slices,
    probe_labels,
    write_enhanced,
    write_series,
)

ALGORITHM = Algorithm("0123456789abcdef" * 4)
EVEN = tuple(4.0 * k for k in range(16))
KINDS: dict[str, dict[str, object]] = {
    "even": {"along": EVEN},
    "tilted": {"along": EVEN, "tilt": 12.0},
    "uneven": {"along": tuple(sum((3.0, 4.0, 5.0)[i % 3] for i in range(k)) for k in range(16))},
    "missing": {"along": EVEN[:6] + EVEN[7:]},
    "enhanced": {"along": EVEN},
}
MATRIX = [(orientation, kind) for orientation in ORIENTATIONS for kind in KINDS]
# Each orientation and each kind at least once.
SHARE = [(name, list(KINDS)[k % len(KINDS)]) for k, name in enumerate(ORIENTATIONS)]


@dataclass(frozen=True)
class MadeScan:
    """A series on disk, its volume as it is read, and labels on the volume's grid."""

    folder: Path
    slices: list[Slice]
    volume: Volume
    labels: np.ndarray

    @property
    def source(self) -> DicomSource:
        assert self.volume.source is not None
        return self.volume.source

    @property
    def on_frames(self) -> np.ndarray:
        """The labels on the source's own pixels, in the order of its frames."""
        return self.source.labels_on_frames(self.labels)


def grid_points(grid: Grid) -> np.ndarray:
    """(z, y, x, 3): where each voxel lies, mm, LPS."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1)[..., ::-1]
    matrix = np.array(grid.direction).reshape(3, 3) * grid.spacing[::-1]
    return index @ matrix.T + np.array(grid.origin)


def labels_of(grid: Grid) -> np.ndarray:
    """Probes (labels 1 to 4) in the patient, and all others as blobs with holes around them."""
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=grid.shape), (1, 2, 2))
    pieces, _ = ndimage.label(np.abs(noise) > np.quantile(np.abs(noise), 0.6))
    blobs = np.where(pieces, 5 + pieces % 10, 0).astype(np.uint8)
    blobs[0], blobs[-1] = 0, 0  # empty slices at the ends, which some readers drop
    blobs[1, 0, :3] = 14  # and pixels at the rim
    blobs[-2, -1, -1] = 14
    points = grid_points(grid)
    near = np.min([np.linalg.norm(points - c, axis=-1) for c in PROBES.values()], axis=0) < 16
    return np.where(near, probe_labels(*np.moveaxis(points, 3, 0)), blobs).astype(np.uint8)


def make_scan(folder: Path, orientation: str, kind: str) -> MadeScan:
    """A series of the matrix."""
    slices = make_slices(Geometry(orientation, **KINDS[kind]))  # type: ignore[arg-type]
    if kind == "enhanced":
        write_enhanced(folder / "all.dcm", slices)
    else:
        write_series(folder, slices)
    return read_scan(folder, slices)


def read_scan(folder: Path, slices: list[Slice], labels: np.ndarray | None = None) -> MadeScan:
    """A series on disk that ``slices`` were made into, with labels of its own or these."""
    volume = read_volume(folder)
    return MadeScan(folder, slices, volume, labels_of(volume.grid) if labels is None else labels)


def with_labels(scan: MadeScan, labels: np.ndarray) -> MadeScan:
    """The same scan with other labels."""
    return replace(scan, labels=labels.astype(np.uint8))


def write_seg(
    scan: MadeScan,
    path: Path,
    seg_type: SegType = "labelmap",
    algorithm: Algorithm = ALGORITHM,
) -> Dataset:
    """The SEG of a scan's labels, as it is read back."""
    write_segmentation(path, scan.labels, scan.source, algorithm, seg_type)
    return dcmread(path)


def changed(folder: Path, change: Any, **more: Any) -> MadeScan:
    """A series of which each data set is changed before it is written."""
    slices = make_slices(Geometry("head first supine", **KINDS["even"]))  # type: ignore[arg-type]
    write_series(folder, slices, change=change, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of the values that the change spoils
        return read_scan(folder, slices)
