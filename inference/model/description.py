"""What a model folder says about itself: ``weights/NAME/model.json``.

A pure value: architecture, grid, intensity statistics, labels, decoding defaults and the hash of
the weights. Engines build the network from it; no configuration lives in code.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..labels import NAMES
from ..types import DECODES, Decode, Shape, Triple
from .architecture import Architecture
from .int8_ranges import Ranges, read_ranges

FORMAT = 1
# What a network may be meant for; beyond that an image takes all memory, or float32 overflows.
_MOST_HU = 1e6
_LEAST_STD_HU = 1e-3
_LEAST_SPACING_MM, _MOST_SPACING_MM = 0.1, 100.0
_MOST_PATCH_AXIS = 1024
_MOST_PATCH_VOXELS = 2**25


@dataclass(frozen=True)
class Intensity:
    """CT intensity normalisation (paper section 2.1): clip, subtract the mean, divide by the SD.

    Attributes:
        lower, upper: 0.5 and 99.5 percentile of foreground voxels, HU.
        mean, std: of the clipped foreground voxels, HU.
    """

    lower: float
    upper: float
    mean: float
    std: float

    def __post_init__(self) -> None:
        values = (self.lower, self.upper, self.mean, self.std)
        sound = all(abs(v) <= _MOST_HU for v in values) and self.std >= _LEAST_STD_HU
        if not sound or self.lower >= self.upper:
            raise ValueError(
                f"intensity needs numbers up to {_MOST_HU:g} HU, lower < upper and "
                f"std >= {_LEAST_STD_HU:g}"
            )

    def normalised(self, hounsfield: float) -> float:
        """The network's input value for a value in HU."""
        return (min(max(hounsfield, self.lower), self.upper) - self.mean) / self.std


@dataclass(frozen=True)
class Crop:
    """Windows are cut to the organs that another, small model finds.

    Attributes:
        model: its folder, beside this model's.
        margin_mm: of the box around what it finds.
        agreement: with less agreement than this between the two models' labels
            (:func:`inference.steps.organs.agreement`), neither is believed and none are given.
    """

    model: str
    margin_mm: float
    agreement: float = 0.0

    def __post_init__(self) -> None:
        named = Path(self.model).name == self.model and self.model not in ("", "..")
        if not named or not 0 <= self.margin_mm < math.inf:
            raise ValueError("crop needs a folder's name and a margin of at least 0 mm")
        if not 0 <= self.agreement < 1:
            raise ValueError("crop needs an agreement in [0, 1)")


@dataclass(frozen=True)
class ModelDescription:
    """Everything that ``model.json`` says. See :meth:`load`.

    Attributes:
        name, version: of the model.
        architecture: the network.
        spacing: target spacing (z, y, x) in mm.
        patch: window shape (z, y, x) in voxels.
        intensity: normalisation.
        decode: default decoding, ``nearest`` or ``linear``.
        step: default window step, as a fraction of the patch; None cuts windows to the patient.
        crop: model that finds the organs first; None looks at the whole patient.
        islands: pieces of an organ that are smaller than this share of its largest one are left
            out; 0 keeps them all.
        ranges: of the feature maps, for int8; empty where they have not been measured.
        sha256: of the weights file.
        card: recipe, data, metrics, licence and whatever else the training wrote.
    """

    name: str
    version: str
    architecture: Architecture
    spacing: Triple
    patch: Shape
    intensity: Intensity
    decode: Decode
    step: float | None
    sha256: str
    crop: Crop | None = None
    islands: float = 0.0
    ranges: Ranges = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        divisor = self.architecture.divisor
        if any(n < 1 or n % d for n, d in zip(self.patch, divisor, strict=True)):
            raise ValueError(f"patch {self.patch} is not divisible by the strides {divisor}")
        if max(self.patch) > _MOST_PATCH_AXIS or math.prod(self.patch) > _MOST_PATCH_VOXELS:
            raise ValueError(
                f"patch {self.patch} is too large (limits: {_MOST_PATCH_AXIS} per axis, "
                f"{_MOST_PATCH_VOXELS} voxels)"
            )
        if not all(_LEAST_SPACING_MM <= s <= _MOST_SPACING_MM for s in self.spacing):
            raise ValueError(
                f"spacing {self.spacing} must lie in {_LEAST_SPACING_MM:g} to "
                f"{_MOST_SPACING_MM:g} mm"
            )
        if self.decode not in DECODES:
            raise ValueError(f"decode must be one of {', '.join(DECODES)}")
        if self.step is not None and not 0 < self.step <= 1:
            raise ValueError("step must lie in (0, 1], or be null")
        if not 0 <= self.islands <= 1:
            raise ValueError("islands must lie in [0, 1]")
        if self.crop is not None and self.step is not None:
            raise ValueError("crop needs windows cut to the patient: a step of null")

    @classmethod
    def load(cls, folder: Path) -> ModelDescription:
        """Read ``folder/model.json``.

        Raises:
            ModelError: the file is missing, is not JSON, or describes no valid model.
        """
        path = folder / "model.json"
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise ModelError(path, "there is no such file", "name a folder with a model") from error
        except KeyError as error:
            raise ModelError(path, f"has no entry {error}", "restore the model folder") from error
        except (OSError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise ModelError(path, f"is no model description ({error})", "restore it") from error

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ModelDescription:
        """Build from the parsed JSON document. Raises KeyError, ValueError or TypeError."""
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']} instead of {FORMAT}")
        if {int(k): v for k, v in document["labels"].items()} != NAMES:
            raise ValueError("the labels are not the 14 of FLARE 2023")
        net = document["architecture"]
        architecture = Architecture(
            features=tuple(int(n) for n in net["features"]),
            strides=tuple(_shape(s) for s in net["strides"]),
            kernels=tuple(_shape(k) for k in net["kernels"]),
            convolutions=int(net["convolutions"]),
            inputs=int(net["inputs"]),
        )
        known = {"format", "name", "version", "architecture", "spacing_mm", "patch", "intensity_hu"}
        known |= {"decode", "step", "sha256", "labels", "crop", "islands", "ranges"}
        crop = document.get("crop")
        z, y, x = (float(s) for s in document["spacing_mm"])
        return cls(
            name=str(document["name"]),
            version=str(document["version"]),
            architecture=architecture,
            spacing=(z, y, x),
            patch=_shape(document["patch"]),
            intensity=Intensity(**{k: float(v) for k, v in document["intensity_hu"].items()}),
            decode=document["decode"],
            step=None if document["step"] is None else float(document["step"]),
            sha256=str(document["sha256"]),
            crop=crop
            and Crop(str(crop["model"]), float(crop["margin_mm"]), float(crop.get("agreement", 0))),
            islands=float(document.get("islands", 0)),
            ranges=read_ranges(document.get("ranges", {}), architecture),
            card={key: value for key, value in document.items() if key not in known},
        )

    def to_json(self) -> dict[str, Any]:
        """The document that :meth:`from_json` reads."""
        net, hu = self.architecture, self.intensity
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "architecture": {
                "features": list(net.features),
                "strides": [list(s) for s in net.strides],
                "kernels": [list(k) for k in net.kernels],
                "convolutions": net.convolutions,
                "inputs": net.inputs,
            },
            "spacing_mm": list(self.spacing),
            "patch": list(self.patch),
            "intensity_hu": {
                "lower": hu.lower,
                "upper": hu.upper,
                "mean": hu.mean,
                "std": hu.std,
            },
            "decode": self.decode,
            "step": self.step,
            "sha256": self.sha256,
            "labels": {str(value): name for value, name in NAMES.items()},
            **({"crop": asdict(self.crop)} if self.crop else {}),
            **({"islands": self.islands} if self.islands else {}),
            **({"ranges": {n: list(v) for n, v in self.ranges.items()}} if self.ranges else {}),
            **self.card,
        }


def verified_weights(folder: Path, description: ModelDescription) -> bytes:
    """The bytes of ``folder/model.safetensors``, after checking their SHA-256.

    Raises:
        ModelError: the file is missing, unreadable, not the one that model.json names, or does not
            hold the network that it describes.
    """
    path = folder / "model.safetensors"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(path, f"cannot be read ({error.strerror})", "restore it") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != description.sha256:
        raise ModelError(
            path,
            f"has SHA-256 {digest[:12]}… instead of {description.sha256[:12]}…",
            "restore the file that belongs to this model.json",
        )
    if _shapes_in(data) != description.architecture.parameter_shapes():
        raise ModelError(
            path, "does not hold the network that model.json describes", "restore both files"
        )
    return data


def _shapes_in(safetensors: bytes) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes from the header of a safetensors file; None where there is none."""
    try:
        header = json.loads(safetensors[8 : 8 + int.from_bytes(safetensors[:8], "little")])
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: tuple(entry["shape"]) for name, entry in tensors.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _shape(values: Any) -> Shape:
    z, y, x = (int(n) for n in values)
    return (z, y, x)
