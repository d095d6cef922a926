"""The MONAI peer: one scan in a process of its own. Runs under the peers' Python.

    python -m benchmarks.versus.monai_peer --model DIR --input X_0000.nii.gz --output X.nii.gz

The usual pipeline of MONAI's bundles: dictionary transforms, SlidingWindowInferer (half overlap,
Gaussian weights), logits inverted to the scan's grid, then threshold.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)
from safetensors.torch import load as load_safetensors

from benchmarks.versus.mapping import IMPORTED, arguments, state_dict
from inference.labels import NAMES, TUMOR
from inference.model.description import ModelDescription, verified_weights


def main() -> None:
    """Segment one scan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    description = ModelDescription.load(options.model)
    device = torch.device(options.device)
    network = load_network(options.model, description).to(device)
    before = preprocessing(description)
    inferer = SlidingWindowInferer(
        roi_size=description.patch, sw_batch_size=1, overlap=0.5, mode="gaussian",
        device=torch.device("cpu"), sw_device=device,
    )  # fmt: skip
    after = Invertd(
        keys="pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True
    )
    data: dict[str, Any] = before({"image": str(options.input)})
    batch = list_data_collate([data])
    with torch.inference_mode(), torch.autocast(device.type, enabled=device.type == "cuda"):
        batch["pred"] = inferer(batch["image"], network)
    logits_CXYZ = after(decollate_batch(batch)[0])["pred"]
    write(decide(logits_CXYZ), options.input, options.output)


def load_network(folder: Path, description: ModelDescription) -> torch.nn.Module:
    """PlainConvUNet with the model's weights."""
    net = description.architecture
    options = arguments(net)
    classes = {
        "torch.nn.modules.conv.Conv3d": torch.nn.Conv3d,
        "torch.nn.modules.instancenorm.InstanceNorm3d": torch.nn.InstanceNorm3d,
        "torch.nn.LeakyReLU": torch.nn.LeakyReLU,
        None: None,
    }
    options |= {name: classes[options[name]] for name in IMPORTED}
    network = PlainConvUNet(net.inputs, num_classes=net.outputs, deep_supervision=False, **options)
    weights = load_safetensors(verified_weights(folder, description))
    network.load_state_dict(state_dict(weights, net))
    return network.eval()


def preprocessing(description: ModelDescription) -> Compose:
    """Axes (z, y, x) growing to head, back and left; clip and normalise as one linear range."""
    hu = description.intensity
    return Compose(
        [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes="SPL"),
            Spacingd(keys="image", pixdim=description.spacing, mode="bilinear"),
            ScaleIntensityRanged(
                keys="image", a_min=hu.lower, a_max=hu.upper,
                b_min=hu.normalised(hu.lower), b_max=hu.normalised(hu.upper), clip=True,
            ),
        ]
    )  # fmt: skip


def decide(logits_CXYZ: torch.Tensor) -> np.ndarray:
    """Labels (x, y, z): the likeliest organ where it passes one half, the tumour over all."""
    best = torch.zeros(logits_CXYZ.shape[1:])
    labels = torch.zeros(logits_CXYZ.shape[1:], dtype=torch.uint8)
    for label, logits in zip(NAMES, logits_CXYZ, strict=True):
        wins = logits > (0 if label == TUMOR else best)
        labels[wins] = label
        torch.maximum(best, logits, out=best)
    return labels.numpy()


def write(labels_XYZ: np.ndarray, scan: Path, path: Path) -> None:
    """Write the labels on the scan's grid."""
    image = nibabel.load(scan)
    result = nibabel.Nifti1Image(labels_XYZ, image.affine, image.header)
    result.set_data_dtype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(result, path)


if __name__ == "__main__":
    main()
