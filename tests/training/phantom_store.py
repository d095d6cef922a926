"""Stores of phantoms: patients with all fourteen classes, small enough for a processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inference.model.description import Intensity
from phantom import make_phantom
from training.data.coding import code_labels, only
from training.data.store import Store, StoredCase, write_case, write_index

INTENSITY = Intensity(-200.0, 300.0, 50.0, 80.0)
SHAPE = (28, 40, 48)
SPACING = (8.0, 8.0, 8.0)
# Patients whose tumours hold a hundred voxels or more.
SEEDS = (3, 4)


def make_phantom_store(folder: Path, annotated: Sequence[Sequence[int]]) -> Store:
    """A store with one patient of :data:`SEEDS` per entry of ``annotated``, all for training."""
    names = []
    for seed, classes in zip(SEEDS, annotated, strict=True):
        phantom = make_phantom(SHAPE, SPACING, seed)
        name = f"phantom_{seed}"
        case = StoredCase(
            name=name,
            patient=name,
            split="train",
            annotated=tuple(classes),
            unlabelled=False,
            shape=SHAPE,
            spacing=SPACING,
            image=f"{name}_0000.nii.gz",
            label=f"{name}.nii.gz",
        )
        image = (phantom.image_ZYX.clip(INTENSITY.lower, INTENSITY.upper) - INTENSITY.mean) / (
            INTENSITY.std
        )
        labels = only(code_labels(phantom.labels_ZYX), case.annotated)
        write_case(folder, case, image.astype("float32"), labels)
        names.append(name)
    write_index(folder, INTENSITY, names, SPACING)
    return Store(folder)
