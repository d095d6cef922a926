"""A store of two tiny scans that need no files of ours: a few ellipsoids in noise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from inference.labels import ORGANS
from inference.model.description import Intensity
from training.data.coding import only
from training.data.store import Store, StoredCase, write_case, write_index
from training.recipe import Augmentation, Recipe, load_recipe

INTENSITY = Intensity(-200.0, 300.0, 50.0, 100.0)
SHAPE = (24, 40, 40)
SPACING = (5.0, 3.9, 3.9)
# Of a recipe for a network and patches as small as the store.
SMALL_SECTIONS = """
[network]
features = [4, 8]
strides = [[1, 1, 1], [2, 2, 2]]
kernels = [[3, 3, 3], [3, 3, 3]]
[sampling]
patch = [16, 16, 16]
batch = 2
"""
# No augmentation.
STILL = Augmentation(
    rotation=0,
    scaling=0,
    elastic=0,
    noise=0,
    blur=0,
    brightness=0,
    contrast=0,
    low_resolution=0,
    gamma=0,
    gamma_inverted=0,
)


def scan(seed: int, shape=SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Normalised image and labels: organs 1 to 3 of different brightness, and a tumour in 1."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    labels = np.zeros(shape, np.uint8)
    image = np.full(shape, -1.5, np.float32)
    image[y**2 + x**2 < 0.9] = -0.5
    for value, (cy, cx), brightness in (
        (1, (0, -0.4), 1.0),
        (2, (0.2, 0.5), 2.0),
        (3, (-0.5, 0.3), 0.3),
    ):
        shift = rng.uniform(-0.08, 0.08, 2)
        inside = (z / 0.7) ** 2 + ((y - cy - shift[0]) / 0.35) ** 2 + (
            (x - cx - shift[1]) / 0.3
        ) ** 2 < 1
        labels[inside], image[inside] = value, brightness
    tumor = (z / 0.2) ** 2 + (y / 0.15) ** 2 + ((x + 0.4) / 0.15) ** 2 < 1
    image[tumor] = -0.2
    return image + rng.normal(0, 0.1, shape).astype(np.float32), labels | (tumor * np.uint8(16))


def make_store(folder: Path, annotated=((*ORGANS, 14), (*ORGANS, 14)), split="train") -> Store:
    """One case per entry of ``annotated``; the last also as validation case ``v``."""
    names = [f"case{i}" for i in range(len(annotated))] + ["v"]
    for seed, name in enumerate(names):
        image, labels = scan(seed)
        case = StoredCase(
            name=name,
            patient=name,
            split="validation" if name == "v" else split,
            annotated=tuple(annotated[min(seed, len(annotated) - 1)]),
            unlabelled=False,
            shape=SHAPE,
            spacing=SPACING,
            image=f"{name}_0000.nii.gz",
            label=f"{name}.nii.gz",
        )
        write_case(folder, case, image, only(labels, case.annotated))
    write_index(folder, INTENSITY, names, SPACING)
    return Store(folder)


def small_recipe(**sampling) -> Recipe:
    """Two stages, patches of 16 x 16 x 16, everything else as in tiny."""
    recipe = load_recipe("tiny")
    return replace(
        recipe,
        network=replace(
            recipe.network,
            features=(4, 8),
            strides=recipe.network.strides[:2],
            kernels=recipe.network.kernels[:2],
        ),
        sampling=replace(recipe.sampling, **{"patch": (16, 16, 16), "batch": 2, **sampling}),
        optimisation=replace(
            recipe.optimisation, epochs=2, steps_per_epoch=3, amp="float32", ema=0.9
        ),
        validate_every=1,
    )
