"""What gpu.py measures with: a model, with random weights where there is no other, and scans."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save as save_safetensors
from torch import nn

from inference.engines.torch_unet import UNet
from inference.grid import Grid
from inference.model.architecture import NEGATIVE_SLOPE
from inference.model.description import Architecture, Intensity, ModelDescription
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import Volume, write_image
from inference.steps.resample import nearest_taps
from inference.types import Shape, Triple
from phantom import Phantom, make_phantom

SMALL = Path(__file__).resolve().parents[2] / "weights" / "small"
# The paper's Small network, on its grid.
RANDOM = ModelDescription(
    name="random",
    version="0",
    architecture=Architecture(
        features=(16, 32, 64, 128, 256),
        strides=((1, 1, 1), *((2, 2, 2),) * 4),
        kernels=((3, 3, 3),) * 5,
    ),
    spacing=(2.42, 1.95, 1.95),
    patch=(128, 128, 128),
    intensity=Intensity(lower=-160.0, upper=240.0, mean=80.0, std=60.0),
    decode="linear",
    step=None,
    sha256="",
    card={"licence": "none: random numbers"},
)
_COARSE: tuple[Shape, Triple] = ((75, 160, 160), (6.0, 2.56, 2.56))
_NOISE_HU = 12.0
_NOISE_SLICES = 8


def model_folder(work: Path) -> Path:
    """weights/small, or a folder below ``work`` with random weights of the same network."""
    return SMALL if (SMALL / "model.json").is_file() else write_random(work / "random", RANDOM)


def write_random(folder: Path, description: ModelDescription, seed: int = 0) -> Path:
    """Write a model with He-initialised weights; the head's biases give every class a share, and
    transposed convolutions have none, as in models that are trained here."""
    torch.manual_seed(seed)
    network = UNet(description.architecture)
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
            assert module.bias is not None
            nn.init.normal_(module.bias, std=0.1 if isinstance(module, nn.Conv3d) else 0.0)
    head = network.heads[0]
    assert isinstance(head, nn.Conv3d) and head.bias is not None
    nn.init.constant_(head.bias, -1.0)
    head.bias.data[-1] = -3.0
    data = save_safetensors(network.state_dict())
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(data)
    described = replace(description, sha256=hashlib.sha256(data).hexdigest())
    (folder / "model.json").write_text(json.dumps(described.to_json()))
    return folder


@cache
def coarse_phantom(seed: int = 1) -> Phantom:
    """A patient at 6 x 2.6 x 2.6 mm; a fine one would take longer than what is measured."""
    return make_phantom(*_COARSE, seed, noise_hu=0.0)


def scan(shape: Shape, spacing: Triple, seed: int = 1) -> Volume:
    """The phantom enlarged (nearest neighbour) with noise on every voxel, int16.

    In plane the field of view is the phantom's whatever ``spacing`` says; along z the patient is
    mirrored as often as ``shape`` asks for.
    """
    coarse = coarse_phantom(seed).image_ZYX
    steps = ((np.arange(shape[0]) + 0.5) * spacing[0] / _COARSE[1][0]).astype(int)
    folded = steps % (2 * coarse.shape[0])
    z = np.minimum(folded, 2 * coarse.shape[0] - 1 - folded)
    y, x = (nearest_taps(coarse.shape[axis], shape[axis]) for axis in (1, 2))
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, _NOISE_HU, (_NOISE_SLICES, *shape[1:])).astype(np.int16)
    image = np.empty(shape, np.int16)
    for k in range(shape[0]):
        plane = coarse[z[k]].take(y, axis=0).take(x, axis=1)
        np.add(plane, noise[k % _NOISE_SLICES], out=image[k])
    return Volume.of_array(image, Grid(shape, spacing))


def usual_scan(slices: int, in_plane: int = 512) -> Volume:
    """``slices`` of 512 x 512 voxels of 0.8 mm (or as many as cover the same), 1.5 mm thick.

    Thicker slices where 1.5 mm would make less than 300 mm.
    """
    thickness = max(1.5, math.floor(300 / slices * 2) / 2)
    spacing = 0.8 * 512 / in_plane
    return scan((slices, in_plane, in_plane), (thickness, spacing, spacing))


def write_scan(volume: Volume, path: Path) -> Path:
    """Write ``volume`` as .nii.gz and return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, volume.voxels_ZYX, NiftiHeader.of_grid(volume.grid))
    return path
