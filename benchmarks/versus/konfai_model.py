"""A model of this project as a KonfAI app: a folder that ``konfai-apps infer`` runs from.

KonfAI's own apps (TotalSegmentator-KonfAI among them) keep weights and configuration on Hugging
Face; what its package holds is the runner and the network's class, which loads nnU-Net's weights.
So this is KonfAI's runner around the network that the other peers compute, in windows half a patch
apart with Gaussian weights, resampled linearly, logits enlarged before they are decided.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.versus import mapping
from inference.model.description import ModelDescription

NETWORK = "PlainConvUNet"
CHECKPOINT = "model.pt"
_NAME = "abdobox"
_INPUT = "Volume_0"
_GROUP = "Labels"
# Where the labels are below its output: it names the first case P000 whatever the file is called.
WRITTEN = f"{_NAME}/Dataset/P000/{_GROUP}.nii.gz"


def write_app(model: Path, folder: Path) -> None:
    """Write ``folder``: app.json, Prediction.yml and the checkpoint.

    Args:
        model: a folder with model.json and model.safetensors.
        folder: made where it is missing.

    Raises:
        ModelError: the model is missing or damaged.
    """
    description, weights = mapping.read_model(model)
    state = state_dict(weights)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"Model": {NETWORK: state}}, folder / CHECKPOINT)
    # JSON is YAML.
    (folder / "app.json").write_text(json.dumps(app(), indent=1))
    (folder / "Prediction.yml").write_text(json.dumps(prediction(description), indent=1))


def app() -> dict[str, Any]:
    """app.json: one volume in, one segmentation out, one checkpoint, no augmentation."""
    entry = {"display_name": "CT", "volume_type": "VOLUME", "required": True}
    return {
        "display_name": _NAME,
        "description": "abdobox's network",
        "short_description": "abdobox's network",
        "tta": 0,
        "mc_dropout": 0,
        "models": [CHECKPOINT],
        "inputs": {_INPUT: entry},
        "outputs": {_GROUP: entry | {"volume_type": "SEGMENTATION"}},
    }


def prediction(description: ModelDescription) -> dict[str, Any]:
    """Prediction.yml. The written labels are on the scan's grid: each transform of the input that
    has an inverse is undone, the last one first."""
    hu = description.intensity
    net = description.architecture
    transforms = {
        # Canonical's axes grow to the right, the front and the head; the network's to the left, the
        # back and the head.
        "Canonical": {"inverse": True, "fill": hu.lower},
        "Flip": {"dims": "1|2", "inverse": True},
        "TensorCast": {"dtype": "float32", "inverse": False},
        "Resample": {"spacing": list(reversed(description.spacing)), "inverse": True},
        "Clip": {"min_value": hu.lower, "max_value": hu.upper},
        "Standardize": {"mean": [hu.mean], "std": [hu.std], "inverse": False},
    }
    group = {"transforms": transforms, "patch_transforms": "None", "is_input": True}
    output = {
        "name_class": "OutputDataset",
        "before_reduction_transforms": "None",
        "after_reduction_transforms": "None",
        "final_transforms": {
            "Argmax": {"dim": 0},
            "TensorCast": {"dtype": "uint8", "inverse": False},
        },
        "dataset_filename": "Dataset:nii.gz",
        "group": _GROUP,
        "same_as_group": f"{_INPUT}:{_INPUT}",
        "patch_combine": "Gaussian",
        "reduction": "Mean",
        "Mean": {},
    }
    return {
        "Predictor": {
            "Model": {
                "classpath": f"segmentation.plainconvunet.{NETWORK}",
                NETWORK: {
                    "outputs_criterions": "None",
                    "n_stages": len(net.features),
                    "features_per_stage": list(net.features),
                    "strides": [list(stride) for stride in net.strides],
                    "kernel_sizes": [list(kernel) for kernel in net.kernels],
                    "n_conv_per_stage": net.convolutions,
                    "n_conv_per_stage_decoder": net.convolutions,
                    "num_classes": net.outputs + 1,
                },
            },
            "Dataset": {
                "groups_src": {_INPUT: {"groups_dest": {_INPUT: group}}},
                "augmentations": "None",
                "Patch": {"patch_size": list(description.patch), "overlap": "50%", "pad_value": 0},
                "subset": "None",
                "dataset_filenames": ["./Dataset:a:nii.gz"],
                "batch_size": 1,
            },
            "outputs_dataset": {f"SegHead_{len(net.features) - 2}": {"OutputDataset": output}},
            "train_name": _NAME,
            "combine": "Mean",
        }
    }


def state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """KonfAI's names for what PlainConvUNet's state dict holds once."""
    names = {
        r"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.conv\.": r"Encoder_\1.Conv_\2.",
        r"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.norm\.": r"Encoder_\1.Norm_\2.",
        r"decoder\.stages\.(\d+)\.convs\.(\d+)\.conv\.": r"Decoder_\1.Conv_\2.",
        r"decoder\.stages\.(\d+)\.convs\.(\d+)\.norm\.": r"Decoder_\1.Norm_\2.",
        r"decoder\.transpconvs\.(\d+)\.": r"Up_\1.",
        r"decoder\.seg_layers\.(\d+)\.": r"SegHead_\1.",
    }
    found: dict[str, Tensor] = {}
    for name, values in state.items():
        for pattern, replacement in names.items():
            renamed, count = re.subn(f"^{pattern}", replacement, name)
            if count:
                found[renamed] = values
    return found
