"""A home folder for TotalSegmentator: its networks' plans as published, with random weights.

Its weights are files of GitHub releases, which a machine without the network cannot fetch. Times
and memory do not depend on them but for what compresses worse: labels drawn at random.

Where the numbers come from:

- Names of folders and trainers, labels per network (24, 26, 18, 23, 26; 117) and the isotropic 1.5
  and 3 mm: TotalSegmentator 2.18's map_tasks_config.py and map_to_binary.py.
- Windows of 128 x 128 x 128 (1.5 mm) and 112 x 112 x 128 (3 mm): the code of Weber et al.,
  Post-Training Network Compression (arXiv 2404.09683), which runs these networks.
- Stages: nnU-Net's planner (get_pool_and_conv_props) halves 128 x 128 x 128 five times and
  112 x 112 x 128 four times; features 32 to 320, two convolutions a stage are its defaults. The
  result has 31.2 and 16.6 million parameters, 125 and 66.2 MB in float32, which are the sizes that
  TotalSegmentator-KonfAI gives for its copies of the weights.
- Clipping, mean and standard deviation: several ports of the 3 mm network agree on them.

Assumed: the same intensities for the 1.5 mm networks, and nnU-Net's default reader. Resampling
inside nnU-Net has nothing to do, since TotalSegmentator resamples before. Left out, in the tool's
favour: the optimiser's state, which doubles the published files and is read and dropped; and the
trainer's name inside the checkpoint, which is nnUNetTrainer's here, since the search for another
one imports every trainer of nnU-Net and with them timm and torchvision. It builds the same network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.versus import mapping
from benchmarks.versus.nnunet_model import CONFIGURATION, dataset, default_plans, write_folder
from inference.engines.torch_unet import UNet
from inference.model.description import Architecture, Intensity
from inference.types import Shape

INTENSITY = Intensity(lower=-1004.0, upper=1588.0, mean=-50.38697721419439, std=503.39235619144)
# Without a first question, a first note or a call home.
CONFIG = {
    "totalseg_id": "totalseg_benchmark",
    "send_usage_stats": False,
    "prediction_counter": 0,
    "statistics_disclaimer_shown": True,
}


@dataclass(frozen=True)
class Network:
    """One of its networks.

    Attributes:
        dataset: its folder's name.
        trainer: the class of nnU-Net that trained it, part of its folder's name.
        labels: how many it tells apart, without the background.
        mm: isotropic spacing.
        patch: window (z, y, x).
        halvings: of the window in the encoder.
    """

    dataset: str
    trainer: str
    labels: int
    mm: float
    patch: Shape
    halvings: int

    @property
    def architecture(self) -> Architecture:
        """nnU-Net's plain U-Net."""
        stages = self.halvings + 1
        return Architecture(
            features=tuple(min(32 * 2**stage, 320) for stage in range(stages)),
            strides=((1, 1, 1), *((2, 2, 2),) * self.halvings),
            kernels=((3, 3, 3),) * stages,
            outputs=self.labels + 1,
        )

    @property
    def folder(self) -> str:
        """Where it lies among nnU-Net's results."""
        return f"{self.dataset}/{self.trainer}__nnUNetPlans__{CONFIGURATION}"


def _part(name: str, labels: int) -> Network:
    dataset = f"Dataset{name}subj"
    return Network(dataset, "nnUNetTrainerNoMirroring", labels, 1.5, (128, 128, 128), 5)


FAST = (
    Network(
        "Dataset297_TotalSegmentator_total_3mm_1559subj", "nnUNetTrainer_4000epochs_NoMirroring",
        117, 3.0, (112, 112, 128), 4,
    ),
)  # fmt: skip
FULL = (
    _part("291_TotalSegmentator_part1_organs_1559", 24),
    _part("292_TotalSegmentator_part2_vertebrae_1532", 26),
    _part("293_TotalSegmentator_part3_cardiac_1559", 18),
    _part("294_TotalSegmentator_part4_muscles_1559", 23),
    _part("295_TotalSegmentator_part5_ribs_1559", 26),
)


def write_home(home: Path, networks: tuple[Network, ...]) -> None:
    """Write what TOTALSEG_HOME_DIR must hold for ``networks``; the same numbers every time."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.json").write_text(json.dumps(CONFIG))
    for seed, network in enumerate(networks):
        net = network.architecture
        torch.manual_seed(seed)
        write_folder(
            home / "nnunet" / "results" / network.folder,
            default_plans(network.dataset, net, (network.mm,) * 3, network.patch, INTENSITY),
            dataset({label: f"label_{label}" for label in range(1, network.labels + 1)}),
            mapping.state_dict(UNet(net).state_dict(), net),
        )
