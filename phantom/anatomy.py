"""One patient: every structure in the order in which it is painted, and the body's deformation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.labels import BACKGROUND, TUMOR
from phantom import bowel, skeleton, trunk
from phantom.appearance import Waves, tissue_texture
from phantom.organs import Organs, build_organs
from phantom.reference import Jitter
from phantom.solids import Grown, HalfSpace, Solid, Union
from phantom.tumor import place_tumor


@dataclass(frozen=True)
class Structure:
    """A painted solid.

    Attributes:
        solid: where it is; it covers what was painted before.
        tissue: key of appearance.TISSUES.
        label: value written at the voxel centres inside; None leaves the label as it is.
    """

    solid: Solid
    tissue: str
    label: int | None = BACKGROUND


@dataclass(frozen=True)
class Anatomy:
    """A patient, independent of any grid.

    Attributes:
        structures: in painting order.
        scale: size of the body along (x, y, z) relative to the reference.
        deformation: displacement (x, y, z) in mm, added to room coordinates over scale.
        texture: tissue irregularity.
        gain: strength of the contrast enhancement, around 1.
        seed: what it was made from.
    """

    structures: tuple[Structure, ...]
    scale: np.ndarray
    deformation: Waves
    texture: Waves
    gain: float
    seed: int


def make_anatomy(seed: int, *, tumor: bool = True) -> Anatomy:
    """The patient of a seed. Without ``tumor`` it is the same patient before the disease."""
    rng = [np.random.default_rng([seed, part]) for part in range(5)]
    jitter = Jitter(rng[0])
    scale = np.array([jitter.factor(0.025), jitter.factor(0.03), jitter.factor(0.025)])
    fatness, gain = jitter.rng.uniform(0, 1), jitter.factor(0.07)
    walls = trunk.build_trunk(jitter, fatness)
    viscera = build_organs(rng[1], walls.cavity, walls.under_diaphragm)
    structures = [
        *_surroundings(walls, scale),
        *_skeleton(),
        *_bowel(Jitter(rng[2])),
        *_organ_structures(viscera),
    ]
    if tumor:
        structures += _disease(rng[3], viscera)
    lengths = np.array([90, 110, 130, 160, 200, 250.0])
    amplitudes = np.broadcast_to(0.009 * lengths, (3, len(lengths)))
    return Anatomy(
        structures=tuple(structures),
        scale=scale,
        deformation=Waves(rng[4], lengths, amplitudes),
        texture=tissue_texture(rng[4]),
        gain=gain,
        seed=seed,
    )


def _surroundings(walls: trunk.Trunk, scale: np.ndarray) -> list[Structure]:
    """Couch, trunk wall, chest."""
    heart = trunk.heart()
    back = float(walls.skin.bounds[1, 1] * scale[1]) + 2
    return [
        Structure(trunk.Table(back, 24), "couch shell"),
        Structure(trunk.Table(back, 20), "couch foam"),
        Structure(walls.skin, "skin"),
        Structure(walls.fat, "fat"),
        Structure(walls.muscle, "muscle"),
        Structure(walls.cavity, "visceral fat"),
        Structure(Grown(walls.lungs, 2.5) & walls.cavity, "diaphragm"),
        Structure(heart, "heart"),
        Structure(walls.lungs - Grown(heart, 3.0), "lung"),
    ]


def _skeleton() -> list[Structure]:
    """Muscles along the spine, bones, discs, spinal canal."""
    bone, marrow, discs, canal = skeleton.vertebrae()
    ribs, cartilage = skeleton.ribs()
    hip, hip_marrow = skeleton.pelvis()
    sternum = skeleton.sternum()
    return [
        Structure(trunk.muscles(), "muscle"),
        Structure(cartilage, "cartilage"),
        Structure(Union([bone, ribs, hip, sternum]), "cortical bone"),
        Structure(
            Union([marrow, hip_marrow, Grown(ribs, -2.0), Grown(sternum, -2.0)]),
            "spongy bone",
        ),
        Structure(discs, "disc"),
        Structure(canal, "spinal canal"),
    ]


def _bowel(jitter: Jitter) -> list[Structure]:
    small, large = bowel.small_bowel(jitter), bowel.colon(jitter)
    return [
        Structure(Grown(small.wall, 1.5), "visceral fat"),
        Structure(small.wall, "bowel wall"),
        Structure(small.lumen, "bowel content"),
        Structure(small.gas, "gas"),
        Structure(Grown(large.wall, 3.0), "visceral fat"),
        Structure(large.wall, "bowel wall"),
        Structure(large.lumen, "feces"),
        Structure(large.gas, "gas"),
    ]


def _organ_structures(viscera: Organs) -> list[Structure]:
    """The organs over a layer of fat, each followed by what lies inside it."""
    right, left = viscera.right_kidney, viscera.left_kidney
    pieces = [
        viscera.liver, viscera.spleen, viscera.pancreas, viscera.stomach, viscera.duodenum,
        viscera.gallbladder, viscera.aorta, viscera.vena_cava,
    ]  # fmt: skip
    structures = [
        Structure(Grown(Union(pieces), 2.0), "visceral fat"),
        Structure(Grown(Union([right.envelope, left.envelope]), 7.0), "visceral fat"),
        Structure(viscera.portal_vein, "portal vein"),
        Structure(viscera.liver, "liver", 1),
        Structure(viscera.liver_vessels & viscera.liver, "liver vessel", None),
        Structure(viscera.spleen, "spleen", 3),
        Structure(viscera.pancreas, "pancreas", 4),
    ]
    for kidney, label in ((right, 2), (left, 13)):
        structures += [
            Structure(kidney.parenchyma, "kidney cortex", label),
            Structure(kidney.pyramids & kidney.parenchyma, "kidney medulla", None),
            Structure(kidney.pelvis - Grown(kidney.parenchyma, 1.0), "renal pelvis"),
        ]
    front = HalfSpace((0, -106, 0), (0, 1, 0))  # gas rises to the front of a supine patient
    stomach_lumen, duodenal_lumen = Grown(viscera.stomach, -4.0), Grown(viscera.duodenum, -3.0)
    structures += [
        Structure(viscera.gallbladder, "esophagus", 9),
        Structure(Grown(viscera.gallbladder, -1.5), "bile", None),
        Structure(viscera.vena_cava, "vena cava", 6),
        Structure(viscera.aorta, "aorta", 5),
        Structure(viscera.right_adrenal, "adrenal", 7),
        Structure(viscera.left_adrenal, "adrenal", 8),
        Structure(viscera.esophagus, "esophagus", 10),
        Structure(viscera.duodenum, "bowel wall", 12),
        Structure(duodenal_lumen, "bowel content", None),
        Structure(viscera.stomach, "stomach wall", 11),
        Structure(stomach_lumen, "stomach content", None),
        Structure(stomach_lumen & front, "gas", None),
    ]
    return structures


def _disease(rng: np.random.Generator, viscera: Organs) -> list[Structure]:
    hosts = [
        viscera.liver,
        viscera.liver,
        viscera.pancreas,
        viscera.right_kidney.parenchyma,
        viscera.left_kidney.parenchyma,
        viscera.spleen,
    ]
    mass, core = place_tumor(rng, hosts)
    return [Structure(mass, "tumor", TUMOR), Structure(core & mass, "necrosis", None)]
