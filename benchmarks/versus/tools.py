"""How each tool is called for one scan: a command line, and where its labels appear."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.versus import konfai_model, totalsegmentator_model
from benchmarks.versus.nnunet_model import write_model
from benchmarks.versus.totalsegmentator_model import Network

BUILD = ROOT / "build"
PEERS = BUILD / "peers" / ".venv" / "bin"


@dataclass(frozen=True)
class Task:
    """One scan for one tool.

    Attributes:
        scan: ``NAME_0000.nii.gz``.
        model: folder of the model of this project.
        folder: empty; takes whatever the tool writes.
        device: ``cpu`` or ``cuda``.
    """

    scan: Path
    model: Path
    folder: Path
    device: str

    @property
    def name(self) -> str:
        """The case's name."""
        return case_name(self.scan)

    @property
    def labels(self) -> Path:
        """Where the labels are after the run."""
        return self.folder / f"{self.name}.nii.gz"


def case_name(scan: Path) -> str:
    """``X`` for ``X_0000.nii.gz``; ValueError for other names, which nnU-Net would not take."""
    if not scan.name.endswith("_0000.nii.gz"):
        raise ValueError(f"{scan}: a case must be named X_0000.nii.gz")
    return scan.name.removesuffix("_0000.nii.gz")


def abdobox(task: Task) -> list[str]:
    """The command line of abdobox with the model's own defaults."""
    return [
        sys.executable, "-m", "inference", "--quiet", "-i", str(task.scan), "-o", str(task.folder),
        "--model", str(task.model), "--device", task.device,
    ]  # fmt: skip


def abdobox_half_steps(task: Task) -> list[str]:
    """abdobox with the peers' windows, half a patch apart, and their decoding, in its precision."""
    return [*abdobox(task), "--decode", "linear", "--step", "0.5"]


def abdobox_reference(task: Task) -> list[str]:
    """abdobox doing the peers' work: the same in float32."""
    return [*abdobox_half_steps(task), "--precision", "f32"]


def nnunet(task: Task) -> list[str]:
    """nnUNetv2_predict_from_modelfolder with its defaults, less the mirroring."""
    inputs, model = task.folder / "input", task.folder / "model"
    write_model(task.model, model)
    inputs.mkdir()
    (inputs / task.scan.name).symlink_to(task.scan.resolve())
    return [
        str(PEERS / "nnUNetv2_predict_from_modelfolder"), "-i", str(inputs), "-o", str(task.folder),
        "-m", str(model), "-f", "0", "-step_size", "0.5", "--disable_tta",
        "-device", task.device, "--disable_progress_bar",
    ]  # fmt: skip


def monai(task: Task) -> list[str]:
    """MONAI's transforms and SlidingWindowInferer: see monai_peer."""
    return [
        str(PEERS / "python"), "-m", "benchmarks.versus.monai_peer", "--model", str(task.model),
        "--input", str(task.scan), "--output", str(task.labels), "--device", task.device,
    ]  # fmt: skip


def konfai(task: Task) -> list[str]:
    """konfai-apps infer around this project's network: see konfai_model."""
    app, output = task.folder / "app", task.folder / "output"
    konfai_model.write_app(task.model, app)
    return [
        "sh", "-c", 'from=$1 to=$2; shift 2; "$@" && mv "$from" "$to"', "sh",
        str(output / konfai_model.WRITTEN), str(task.labels), "env", "HF_HUB_OFFLINE=1",
        str(PEERS / "konfai-apps"), "infer", str(app), "-i", str(task.scan), "-o", str(output),
        *(("--gpu", "0") if task.device == "cuda" else ()),
    ]  # fmt: skip


def totalsegmentator(task: Task) -> list[str]:
    """TotalSegmentator's command with its defaults, its five 1.5 mm networks: 117 labels."""
    return _totalsegmentator(task, totalsegmentator_model.FULL)


def totalsegmentator_fast(task: Task) -> list[str]:
    """TotalSegmentator --fast: one 3 mm network, 117 labels."""
    return [*_totalsegmentator(task, totalsegmentator_model.FAST), "--fast"]


def _totalsegmentator(task: Task, networks: tuple[Network, ...]) -> list[str]:
    # Not in the task's folder: 600 MB for every scan.
    home = BUILD / "models" / "totalsegmentator"
    totalsegmentator_model.write_home(home, networks)
    return [
        "env", "-u", "TOTALSEG_WEIGHTS_PATH", f"TOTALSEG_HOME_DIR={home}",
        str(PEERS / "TotalSegmentator"), "-i", str(task.scan), "-o", str(task.labels), "--ml",
        "--device", "gpu" if task.device == "cuda" else task.device,
    ]  # fmt: skip


TOOLS: dict[str, Callable[[Task], list[str]]] = {
    "abdobox": abdobox,
    "abdobox-half-steps": abdobox_half_steps,
    "abdobox-reference": abdobox_reference,
    "nnunet": nnunet,
    "monai": monai,
    "konfai": konfai,
    "totalsegmentator-fast": totalsegmentator_fast,
    "totalsegmentator": totalsegmentator,
}
# They compute networks of their own, with other labels: none are compared, and only who asks for
# them waits for them.
OWN_NETWORKS = frozenset({"totalsegmentator-fast", "totalsegmentator"})


def fresh(folder: Path) -> Path:
    """``folder``, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
