"""A scan with reference labels, in memory, and its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evaluation.scoring import Score, evaluate_case
from inference.errors import AbdoboxError
from inference.grid import Grid, Orientation
from inference.labels import BACKGROUND, TUMOR
from inference.scan.volume import Volume, read_labels, read_volume
from inference.segmenter import Segmenter
from inference.types import Decode, Labels, Triple
from training.data.case import parse_classes
from training.data.table import read_cases

Scores = Mapping[int, Score]
COLUMNS = ("name", "split", "image", "label", "annotated")


class QualityError(AbdoboxError):
    """What was asked for is not there."""


@dataclass(frozen=True)
class Scan:
    """A scan in canonical LPS order.

    Attributes:
        name: of the case.
        voxels_ZYX: HU.
        labels_ZYX: reference, FLARE values.
        spacing: (z, y, x) in mm.
        annotated: labels that the reference annotates.
    """

    name: str
    voxels_ZYX: npt.NDArray[np.generic]
    labels_ZYX: Labels
    spacing: Triple
    annotated: tuple[int, ...]

    @property
    def volume(self) -> Volume:
        """As inference takes it."""
        return Volume.of_array(self.voxels_ZYX, Grid(self.voxels_ZYX.shape, self.spacing))

    def score(self, predicted_ZYX: Labels) -> Scores:
        """DSC and NSD per annotated label; a label that neither shows is left out."""
        scores = evaluate_case(predicted_ZYX, self.labels_ZYX, self.spacing, self.annotated)
        seen = {*np.unique(predicted_ZYX).tolist(), *np.unique(self.labels_ZYX).tolist()}
        return {label: score for label, score in scores.items() if label in seen}


def validation_scans(data: Path, split: str = "validation") -> Iterator[Scan]:
    """The scans of a split of a folder written by ``python -m training fuse``.

    Raises:
        AbdoboxError: it has no table of cases, or none of the split, or a scan cannot be read.
    """
    rows = [row for row in read_cases(data, COLUMNS) if row["split"] == split]
    if not rows:
        raise QualityError(
            data,
            f"has no {split} cases",
            "hold some out (fuse --overrides), or name scans with --cases, --group or --split, "
            "which some commands have",
        )
    for row in rows:
        yield read_scan(
            row["name"], Path(row["image"]), Path(row["label"]), parse_classes(row["annotated"])
        )


def named_scans(data: Path, names: Sequence[str]) -> Iterator[Scan]:
    """These scans of such a folder, whatever their split.

    Raises:
        AbdoboxError: it has no table of cases, or no scan of one of the names, or one cannot be
            read.
    """
    rows = {row["name"]: row for row in read_cases(data, COLUMNS)}
    for name in names:
        if name not in rows:
            raise QualityError(data, f"has no case {name}", f"take some of {', '.join(rows)}")
        row = rows[name]
        yield read_scan(
            name, Path(row["image"]), Path(row["label"]), parse_classes(row["annotated"])
        )


def labelled(data: Path, scans: Sequence[Scan], folders: Sequence[Path]) -> list[Scan]:
    """The same scans with another source's labels. The source annotates the labels that it shows on
    any of them.

    Raises:
        OSError: a scan has no label map ``NAME.nii.gz`` in any of the folders.
    """
    images = {row["name"]: Path(row["image"]) for row in read_cases(data, COLUMNS)}
    others = []
    for scan in scans:
        paths = [folder / f"{scan.name}.nii.gz" for folder in folders]
        path = next((path for path in paths if path.exists()), paths[0])
        others.append(read_scan(scan.name, images[scan.name], path, ()))
    shown = {int(value) for other in others for value in np.unique(other.labels_ZYX)}
    return [replace(other, annotated=tuple(sorted(shown - {BACKGROUND}))) for other in others]


def read_scan(name: str, image: Path, label: Path, annotated: tuple[int, ...]) -> Scan:
    """A scan and its reference from files on one grid."""
    voxels_ZYX, grid = read_volume(image).canonical()
    labels, label_grid = read_labels(label)
    labels_ZYX = np.ascontiguousarray(Orientation.of(label_grid.direction).apply(labels))
    return Scan(name, np.ascontiguousarray(voxels_ZYX), labels_ZYX, grid.spacing, annotated)


def segment(segmenter: Segmenter, scan: Scan, decode: Decode | None = None) -> Labels:
    """Predicted labels on the scan's grid."""
    return segmenter.segment(scan.volume, decode=decode).labels


def mean_by_label(scores: list[Scores], metric: int) -> dict[int, float]:
    """Mean over scans of DSC (``metric`` 0) or NSD (1) for every label that any scan scores."""
    labels = sorted({label for one in scores for label in one})
    return {
        label: float(np.mean([one[label][metric] for one in scores if label in one]))
        for label in labels
    }


def organ_mean(means: Mapping[int, float]) -> float:
    """Mean over the organs, the tumour left out."""
    return float(np.mean([value for label, value in means.items() if label != TUMOR]))
