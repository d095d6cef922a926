"""A model of this project as a folder that nnU-Net v2 predicts from.

nnU-Net's own decision for sigmoid outputs (regions) lets the highest label win where several pass
the threshold; here the likeliest organ does. Its decision for softmax outputs is an argmax, which
needs no probabilities and so is also its cheaper one: with a background output of constant zero it
is this project's decision (:func:`benchmarks.versus.mapping.softmax_state_dict`), by nnU-Net's own
unchanged code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.versus import mapping
from inference.labels import BACKGROUND, NAMES
from inference.model.description import Architecture, Intensity, ModelDescription
from inference.types import Shape, Triple

CONFIGURATION = "3d_fullres"


def write_model(model: Path, folder: Path) -> None:
    """Write ``folder``: plans.json, dataset.json and fold_0/checkpoint_final.pth.

    Args:
        model: a folder with model.json and model.safetensors.
        folder: made where it is missing.

    Raises:
        ModelError: the model is missing or damaged.
    """
    description, state = mapping.read_model(model)
    write_folder(folder, plans(description), dataset(NAMES), state)


def write_folder(
    folder: Path,
    plans: dict[str, Any],
    dataset: dict[str, Any],
    state: dict[str, Tensor],
) -> None:
    """Write what nnU-Net predicts from."""
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans, indent=1))
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1))
    checkpoint = {
        "network_weights": state,
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": CONFIGURATION},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def dataset(names: dict[int, str]) -> dict[str, Any]:
    """dataset.json: one label per output."""
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": BACKGROUND} | {name: label for label, name in names.items()},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }


def plans(description: ModelDescription) -> dict[str, Any]:
    """plans.json of a model of this project."""
    return default_plans(
        "Dataset001_abdobox", description.architecture, description.spacing, description.patch,
        description.intensity,
    )  # fmt: skip


def default_plans(
    name: str, net: Architecture, spacing: Triple, patch: Shape, hu: Intensity
) -> dict[str, Any]:
    """plans.json with nnU-Net's default preprocessor, resampling and CT normalisation."""
    properties = {
        "mean": hu.mean, "std": hu.std, "median": hu.mean, "min": hu.lower, "max": hu.upper,
        "percentile_00_5": hu.lower, "percentile_99_5": hu.upper,
    }  # fmt: skip
    resample = "resample_data_or_seg_to_shape"
    image = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(spacing),
        "original_median_shape_after_transp": list(patch),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": properties},
        "configurations": {
            CONFIGURATION: {
                "data_identifier": f"nnUNetPlans_{CONFIGURATION}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch),
                "median_image_size_in_voxels": list(patch),
                "spacing": list(spacing),
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": resample,
                "resampling_fn_data_kwargs": image,
                "resampling_fn_seg": resample,
                "resampling_fn_seg_kwargs": {**image, "is_seg": True, "order": 1},
                "resampling_fn_probabilities": resample,
                "resampling_fn_probabilities_kwargs": {**image, "order": 1},
                "architecture": {
                    "network_class_name": mapping.CLASS,
                    "arch_kwargs": mapping.arguments(net),
                    "_kw_requires_import": list(mapping.IMPORTED),
                },
                "batch_dice": True,
            }
        },
    }
