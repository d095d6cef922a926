"""Preprocessed scans on disk: each scan is read, oriented, normalised and resampled only once.

A store is a folder with ``store.json`` and, for every case NAME,

* ``NAME.image.npy``: float16 (z, y, x), canonical LPS order, clipped and normalised;
* ``NAME.labels.npy``: uint8 (z, y, x), coded as :mod:`training.data.coding` says;
* ``NAME.foreground.npy``: int32 (n, 4), a random choice of voxels per class: (label, z, y, x);
* ``NAME.json``: :class:`StoredCase`.

All arrays are memory-mapped when read, so that many processes share one copy.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.errors import AbdoboxError
from inference.model.description import Intensity
from inference.types import Labels, Shape, Triple
from training.data.coding import members
from training.recipe import Sampling

FORMAT = 1
UNKNOWN = "unknown"  # spacing of stores that do not say
# nnU-Net keeps 10,000 voxels over all classes; a few hundred for each are as random.
FOREGROUND_VOXELS = 500
# NumPy parses a file's header with ``ast``; in CPython 3.11 two threads at it can fail with
# "AST constructor recursion depth mismatch" (a garbage collection lets the other thread in).
_OPENING = threading.Lock()


class StoreError(AbdoboxError):
    """A folder of preprocessed scans that is missing, of another format or incomplete."""


@dataclass(frozen=True)
class StoredCase:
    """What is known of one preprocessed scan.

    Attributes:
        name, patient, split: as in the table of cases.
        annotated: label values that the case annotates, ascending.
        unlabelled: no class of it was labelled by a person.
        shape, spacing: of the stored arrays, (z, y, x), mm.
        image, label: files that it came from.
    """

    name: str
    patient: str
    split: str
    annotated: tuple[int, ...]
    unlabelled: bool
    shape: Shape
    spacing: Triple
    image: str
    label: str


class Store:
    """A folder of preprocessed scans, opened for reading.

    Args:
        folder: where it lies.
        held_out: patients whose scans are for validation this time, as in cross-validation.

    Attributes:
        folder, held_out: as given.
        intensity: normalisation that its images went through.
        cases: all cases, by name.

    Raises:
        StoreError: it is no store, or holds no scan of one of the patients.
    """

    def __init__(self, folder: Path, held_out: Iterable[str] = ()) -> None:
        self.folder, self.held_out = folder, tuple(sorted({*held_out}))
        try:
            document = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(
                folder, "holds no preprocessed scans", "run python -m training preprocess"
            ) from error
        if document.get("format") != FORMAT:
            raise StoreError(folder, "is of another format", "preprocess again")
        self.intensity = Intensity(**document["intensity_hu"])
        self._spacing = document.get("spacing_mm", UNKNOWN)
        cases = [_read_case(folder / f"{name}.json") for name in document["cases"]]
        if unknown := {*self.held_out} - {case.patient for case in cases}:
            known = ", ".join(sorted({case.patient for case in cases}))
            raise StoreError(
                folder, f"has no patient {', '.join(unknown)}", f"take some of {known}"
            )
        self.cases = [
            dataclasses.replace(case, split="validation") if case.patient in self.held_out else case
            for case in cases
        ]

    def check_grid(self, sampling: Sampling) -> None:
        """Whether the scans lie on the grid that a recipe wants them on.

        Raises:
            StoreError: they were resampled for another, or should not have been.
        """
        wanted = None if sampling.native else list(sampling.spacing)
        if self._spacing not in (wanted, UNKNOWN):
            grids = [f"{g} mm" if g else "the scans' own grids" for g in (self._spacing, wanted)]
            raise StoreError(
                self.folder,
                f"holds scans on {grids[0]}, the recipe wants {grids[1]}",
                "preprocess with the recipe that is trained",
            )

    def split(self, name: str, unlabelled: bool = True) -> list[StoredCase]:
        """Cases of a split, with or without those that no person labelled."""
        return [c for c in self.cases if c.split == name and (unlabelled or not c.unlabelled)]

    def image(self, case: StoredCase) -> npt.NDArray[np.float16]:
        """(z, y, x), normalised, memory-mapped."""
        image: npt.NDArray[np.float16] = self._array(case, "image")
        return image

    def labels(self, case: StoredCase) -> Labels:
        """(z, y, x), organ plus tumour bit, memory-mapped."""
        labels: Labels = self._array(case, "labels")
        return labels

    def foreground(self, case: StoredCase) -> npt.NDArray[np.int32]:
        """(n, 4): label, z, y, x."""
        foreground: npt.NDArray[np.int32] = self._array(case, "foreground")
        return foreground

    def previous(self, case: StoredCase) -> Labels:
        """The previous stage's labels of a cascade, coded and laid out like :meth:`labels`."""
        previous: Labels = self._array(case, "previous")
        return previous

    def _array(self, case: StoredCase, kind: str) -> Any:
        path = self.folder / f"{case.name}.{kind}.npy"
        try:
            with _OPENING:
                return np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise StoreError(path, f"cannot be read ({error})", "preprocess again") from error


def write_case(
    folder: Path, case: StoredCase, image_ZYX: npt.NDArray[np.float32], labels_ZYX: Labels
) -> None:
    """Write one case; the JSON file comes last, so that a case with one is complete."""
    np.save(folder / f"{case.name}.image.npy", image_ZYX.astype(np.float16))
    np.save(folder / f"{case.name}.labels.npy", labels_ZYX)
    np.save(folder / f"{case.name}.foreground.npy", foreground_voxels(labels_ZYX, case.annotated))
    text = json.dumps(dataclasses.asdict(case), indent=1)
    (folder / f"{case.name}.json").write_text(text, encoding="utf-8")


def write_index(
    folder: Path, intensity: Intensity, names: list[str], spacing: Triple | None
) -> None:
    """Write ``store.json``, which makes the folder a store.

    ``spacing`` is that of all scans, (z, y, x) in mm; None where each has kept its own.
    """
    document = {
        "format": FORMAT,
        "spacing_mm": spacing,
        "intensity_hu": dataclasses.asdict(intensity),
        "cases": sorted(names),
    }
    (folder / "store.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def foreground_voxels(labels_ZYX: Labels, annotated: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """(n, 4): label, z, y, x of random voxels of each annotated class; the same at each call."""
    rng = np.random.default_rng(0)
    rows = [np.empty((0, 4), np.int32)]
    for value in annotated:
        found = np.argwhere(members(labels_ZYX, value))
        if len(found) > FOREGROUND_VOXELS:
            found = found[rng.choice(len(found), FOREGROUND_VOXELS, replace=False)]
        rows.append(np.insert(found, 0, value, axis=1).astype(np.int32))
    return np.concatenate(rows)


def _read_case(path: Path) -> StoredCase:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(path, f"cannot be read ({error})", "preprocess again") from error
    for key in ("annotated", "shape", "spacing"):
        values[key] = tuple(values[key])
    return StoredCase(**values)
