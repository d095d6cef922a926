"""A recipe: everything that decides how a network is trained, read from a short TOML file.

A recipe may name another as its ``base`` and then states only what differs. Unknown keys are
errors, so that a misspelt setting cannot go unnoticed.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from inference.errors import AbdoboxError
from inference.labels import NAMES, TUMOR
from inference.model.architecture import Architecture
from inference.types import Decode, Shape, Triple

FOLDER = Path(__file__).parent / "recipes"
Range = tuple[float, float]
SectionT = TypeVar("SectionT")


class RecipeError(AbdoboxError):
    """A recipe that is missing or states something impossible."""


@dataclass(frozen=True)
class Network:
    """The U-Net (paper Table 2); see :class:`inference.model.description.Architecture`.

    Attributes:
        previous: whether the previous stage's labels come as 14 further input channels (cascade).
        head_prior: probability that every class is predicted with before training, set through the
            heads' biases (Lin et al., focal loss, 2017); 0 leaves the biases at 0.
    """

    features: tuple[int, ...]
    strides: tuple[Shape, ...]
    kernels: tuple[Shape, ...]
    previous: bool = False
    head_prior: float = 0.0

    def architecture(self) -> Architecture:
        inputs = 1 + len(NAMES) if self.previous else 1
        return Architecture(self.features, self.strides, self.kernels, inputs=inputs)


@dataclass(frozen=True)
class Sampling:
    """Where patches are taken.

    Attributes:
        spacing: voxel size (z, y, x) that the network sees, mm.
        patch: patch shape (z, y, x), voxels.
        shapes: patch shapes to train with, one drawn for each step; empty for always ``patch``.
            Scans that are smaller than the patch then cost less, and networks get used to both.
        batch: patches per step, over all processes.
        foreground: share of patches that are centred on a voxel of an annotated class.
        tumor: share of patches of scans (before synthetic ones replace some) that are centred on an
            annotated tumour, patients in equal parts; by ``foreground`` alone it is one in
            hundreds where few scans have one.
        native: keep preprocessed scans on their own grid and resample each patch once, together
            with its deformation; otherwise scans are resampled to ``spacing`` beforehand.
        slab: share of patches that see only a slab of the scan, mirrored beyond its ends.
        slab_mm: range of the slab's thickness.
    """

    spacing: Triple
    patch: Shape
    batch: int = 4
    shapes: tuple[Shape, ...] = ()
    foreground: float = 0.33
    tumor: float = 0.0
    native: bool = False
    slab: float = 0.0
    slab_mm: Range = (30.0, 150.0)


@dataclass(frozen=True)
class Augmentation:
    """Probabilities per patch and ranges; the defaults are nnU-Net's, with the paper's elastic
    deformation and additive brightness (section 3.2). No mirroring: left and right differ.

    Attributes:
        rotation_degrees: largest angle about each axis (z, y, x).
        scaling_range: zoom factors; below 1 the anatomy grows.
        elastic_mm: range of the standard deviation of the displacements, mm.
        elastic_spacing_mm: distance of the control points.
        brightness_shift: SD of the additive, ``brightness_factor`` range of the multiplicative
            brightness, in normalised units.
        noise_variance, blur_sigma, low_resolution_zoom, contrast_range, gamma_range: as in nnU-Net.
        window: probability of clipping to ``window_hu`` (lower and upper HU are drawn within
            ``window_jitter_hu`` of it), as some collections store only a soft-tissue window.
    """

    rotation: float = 0.2
    rotation_degrees: Triple = (30.0, 30.0, 30.0)
    scaling: float = 0.2
    scaling_range: Range = (0.7, 1.4)
    elastic: float = 0.2
    elastic_mm: Range = (2.0, 8.0)
    elastic_spacing_mm: float = 64.0
    noise: float = 0.1
    noise_variance: Range = (0.0, 0.1)
    blur: float = 0.2
    blur_sigma: Range = (0.5, 1.0)
    brightness: float = 0.15
    brightness_factor: Range = (0.75, 1.25)
    brightness_shift: float = 0.1
    contrast: float = 0.15
    contrast_range: Range = (0.75, 1.25)
    low_resolution: float = 0.25
    low_resolution_zoom: Range = (0.5, 1.0)
    gamma: float = 0.3
    gamma_inverted: float = 0.1
    gamma_range: Range = (0.7, 1.5)
    window: float = 0.0
    window_hu: Range = (-160.0, 240.0)
    window_jitter_hu: float = 20.0


@dataclass(frozen=True)
class Synthesis:
    """Synthetic content, where the training is given anatomies to make it from
    (:mod:`training.synthesis`).

    Attributes:
        share: of patches that are synthetic altogether.
        elsewhere: share of these that show no abdomen (:mod:`training.synthesis.elsewhere`).
        tumors: share of the other patches with annotated tumours that get further ones.
        transplants: share of the real patches with annotated tumours that get tumours of other
            training scans (:mod:`training.synthesis.transplant`).
        cysts: share of the patches with synthetic content (but for those that show no abdomen)
            that get cysts, which are no tumours.
        fillings: share of the real patches with annotated stomachs that get other contents there
            (:mod:`training.synthesis.filling`).
        removals: share of the real patches in which an organ that people live without is taken
            away (:mod:`training.synthesis.removal`).
    """

    share: float = 0.0
    elsewhere: float = 0.0
    tumors: float = 0.0
    transplants: float = 0.0
    cysts: float = 0.0
    fillings: float = 0.0
    removals: float = 0.0


@dataclass(frozen=True)
class Loss:
    """The compound loss (paper equations 1 and 2).

    Attributes:
        selected: the set S; a class in it counts for a case only where the case annotates it. A
            class outside S that a case does not annotate counts as background there. Empty gives
            the "normal" compound loss.
    """

    selected: tuple[int, ...] = (TUMOR,)


@dataclass(frozen=True)
class Optimisation:
    """Optimiser and schedule (paper Table 4).

    Attributes:
        warmup: share of the training over which the rate grows linearly from 0.
        decay: ``poly`` (exponent 0.9) or ``cosine``.
        clip_norm: largest norm of the gradient.
        ema: decay of the moving average of the weights; 0 keeps none.
        amp: ``auto`` (bfloat16 where the device is fast at it, else float16 on CUDA and float32 on
            a CPU), ``bfloat16``, ``float16`` or ``float32``.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    rate: float = 0.01
    momentum: float = 0.99
    weight_decay: float = 3e-5
    warmup: float = 0.0
    decay: Literal["poly", "cosine"] = "poly"
    epochs: int = 1000
    steps_per_epoch: int = 250
    clip_norm: float = 12.0
    ema: float = 0.0
    amp: str = "auto"


@dataclass(frozen=True)
class Recipe:
    """See the sections. ``unlabelled`` False leaves out cases that no person labelled;
    ``decode`` is the decoding that the exported model uses by default."""

    name: str
    network: Network
    sampling: Sampling
    augmentation: Augmentation = field(default_factory=Augmentation)
    synthesis: Synthesis = field(default_factory=Synthesis)
    loss: Loss = field(default_factory=Loss)
    optimisation: Optimisation = field(default_factory=Optimisation)
    seed: int = 0
    unlabelled: bool = True
    decode: Decode = "nearest"
    validate_every: int = 10
    title: str = ""

    def __post_init__(self) -> None:
        divisor = self.network.architecture().divisor
        for shape in (self.sampling.patch, *self.shapes):
            if any(n % d for n, d in zip(shape, divisor, strict=True)):
                raise ValueError(f"patch {shape} is not divisible by the strides {divisor}")
        if any(c not in NAMES for c in self.loss.selected):
            raise ValueError("loss.selected holds a value that is no label")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The patch shapes (z, y, x) that training draws from."""
        return self.sampling.shapes or (self.sampling.patch,)

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return self.optimisation.epochs * self.optimisation.steps_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as :func:`from_dict` reads them."""
        return dataclasses.asdict(self)


def load_recipe(name: str) -> Recipe:
    """The recipe of that name in ``training/recipes``, or of that file."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
    try:
        document = _with_base(path)
        return from_dict({"name": path.stem, **document})
    except FileNotFoundError as error:
        raise RecipeError(name, "there is no such recipe", f"take one of {known}") from error
    except (ValueError, TypeError) as error:
        raise RecipeError(path, f"is no recipe ({error})", "correct it") from error


def from_dict(document: dict[str, Any]) -> Recipe:
    """Build a recipe from plain values. Raises ValueError or TypeError."""
    return _section(Recipe, document)


def _with_base(path: Path) -> dict[str, Any]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    base = document.pop("base", None)
    return _merged(_with_base(FOLDER / f"{base}.toml"), document) if base else document


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both else value
    return merged


def _section(kind: type[SectionT], values: dict[str, Any]) -> SectionT:
    hints = get_type_hints(kind)
    unknown = set(values) - set(hints)
    if unknown:
        raise ValueError(f"unknown setting {', '.join(sorted(unknown))}")
    return kind(**{key: _value(hints[key], value) for key, value in values.items()})


def _value(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return _section(hint, value)  # type: ignore[arg-type]
    if isinstance(value, list | tuple):
        return tuple(_value(None, item) for item in value)
    return value
