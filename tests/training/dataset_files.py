"""Small data sets on disk for the tests of the training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

SHARED = Path(__file__).parents[3] / "shared" / "data"


def save(path: Path, array_ZYX: np.ndarray, spacing: float = 2.0) -> Path:
    """Write an array as NIfTI with isotropic spacing in mm; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array_ZYX)
    image.SetSpacing((spacing,) * 3)
    sitk.WriteImage(image, str(path))
    return path


def load(path: Path) -> np.ndarray:
    """The voxels (z, y, x) of a file."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def noise() -> np.ndarray:
    """A 12^3 int16 image that compresses badly and passes for a CT."""
    return np.random.default_rng(0).integers(-1000, 1000, (12, 12, 12)).astype(np.int16)


def blocks(**bounds: tuple[int, int]) -> np.ndarray:
    """A 12^3 uint8 label map with one slab over z per argument: ``c3=(2, 5)`` is class 3."""
    labels = np.zeros((12, 12, 12), np.uint8)
    for name, (first, last) in bounds.items():
        labels[first:last, 3:9, 3:9] = int(name[1:])
    return labels


def flare_dataset(root: Path) -> Path:
    """FLARE23 layout, two partial and two unlabelled cases and two pseudo-label sets.

    Case 1 annotates the liver and a tumour, case 2 the spleen; the sets agree on all but case 3.
    """
    truths = {"1": blocks(c1=(0, 6), c14=(2, 4)), "2": blocks(c3=(1, 5))}
    first = blocks(c1=(0, 5), c3=(6, 11))
    second = {"3": blocks(c1=(6, 11), c3=(0, 5))}
    for number in "1234":
        name = f"FLARE23_000{number}"
        kind = "imagesTr2200" if number in truths else "unlabeledTr1800"
        save(root / kind / f"{name}_0000.nii.gz", noise())
        save(root / "pseudo_labels" / "aladdin5" / f"{name}.nii.gz", first)
        save(root / "pseudo_labels" / "blackbean" / f"{name}.nii.gz", second.get(number, first))
        if number in truths:
            save(root / "labelsTr2200" / f"{name}.nii.gz", truths[number])
    return root
