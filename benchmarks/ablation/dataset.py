"""FLARE23 in small: phantoms that are labelled in part or not at all, and two pseudo-label sets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference.labels import NAMES, ORGANS, TUMOR
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from phantom import CENTER_MM, Phantom, make_phantom

SHAPE, SPACING_MM = (48, 80, 96), (5.0, 3.9, 3.9)
ALL = tuple(NAMES)
# What partial cases annotate, in turn: as in FLARE23, organs, tumours, or some of both.
PARTIAL = (ORGANS, (TUMOR,), (1, 2, 3, 13, TUMOR))
TEACHERS = ("first", "second")
# Pseudo-labels lie so far beside the truth, mm along x, y and z.
_ERROR_MM = {"first": (0.8, 0.0, 0.4), "second": (0.0, -0.8, 0.4)}


def write_flare(root: Path, partial: int, unlabelled: int, validation: int) -> None:
    """The layout of FLARE23 below ``root``: images, labels, pseudo-labels, and a table of decisions
    that puts the last ``validation`` cases, which annotate everything, into validation."""
    kinds = [PARTIAL[i % len(PARTIAL)] for i in range(partial)]
    kinds += [()] * unlabelled + [ALL] * validation
    for seed, annotated in enumerate(kinds):
        phantom = _write_case(root, seed, annotated)
        for teacher, error in _ERROR_MM.items():
            x, y, z = (c + e for c, e in zip(CENTER_MM, error, strict=True))
            healthy = make_phantom(SHAPE, SPACING_MM, seed, tumor=False, center_mm=(x, y, z))
            _write(root / "pseudo_labels" / teacher / _file(seed), healthy.labels_ZYX, phantom)
    _write_validation(root / "overrides.csv", range(len(kinds) - validation, len(kinds)))


def write_halves(root: Path, classes: Sequence[int], validation: int) -> None:
    """Two to the power of ``len(classes)`` cases, each class left out of a different half of them;
    then ``validation`` complete ones. Without pseudo-labels."""
    count = 2 ** len(classes)
    for seed in range(count + validation):
        left_out = {value for bit, value in enumerate(classes) if seed >> bit & 1}
        annotated = set(ALL) - left_out if seed < count else ALL
        _write_case(root, seed, tuple(annotated))
    _write_validation(root / "overrides.csv", range(count, count + validation))


def _write_case(root: Path, seed: int, annotated: Sequence[int]) -> Phantom:
    phantom = make_phantom(SHAPE, SPACING_MM, seed)
    images = "imagesTr" if annotated else "unlabeledTr"
    _write(root / images / _file(seed, "_0000"), phantom.image_ZYX, phantom)
    if annotated:
        known = np.where(np.isin(phantom.labels_ZYX, annotated), phantom.labels_ZYX, 0)
        _write(root / "labelsTr" / _file(seed), known, phantom)
    return phantom


def _write(path: Path, voxels_ZYX: np.ndarray, phantom: Phantom) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, voxels_ZYX, NiftiHeader.of_grid(phantom.grid))


def _file(seed: int, channel: str = "") -> str:
    return f"phantom_{seed:03d}{channel}.nii.gz"


def _write_validation(path: Path, seeds: Sequence[int]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("name", "class", "decision", "source", "reason"))
        for seed in seeds:
            name = _file(seed).removesuffix(".nii.gz")
            writer.writerow((name, "", "validation", "", "held out"))
