"""The peers' own environment: build/peers/.venv, from a pinned list, with torch as it is here."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.environment import ROOT
from benchmarks.versus.tools import PEERS

REQUIREMENTS = ROOT / "benchmarks" / "requirements-peers.txt"
_CHECK = """
import torch, monai, nnunetv2
from importlib.metadata import version
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from monai.inferers import SlidingWindowInferer
import totalsegmentator.nnunet, totalsegmentator.python_api, konfai_apps.app
names = ("nnunetv2", "monai", "totalsegmentator", "konfai-apps")
print("torch", torch.__version__, *(word for name in names for word in (name, version(name))))
"""


def setup() -> str:
    """Make the environment and check that all peers import; returns their versions.

    Everything is installed with --no-deps: nnU-Net's own requirements lead to torchvision, which
    comes with another torch and several gigabytes of CUDA.

    Raises:
        subprocess.CalledProcessError: pip or the imports failed.
    """
    python = PEERS / "python"
    if not python.exists():
        venv.create(PEERS.parent, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True, stdout=sys.stderr)
    wanted = pinned(REQUIREMENTS)["torch"]
    found = subprocess.run(
        [str(python), "-c", _CHECK], check=True, capture_output=True, text=True
    ).stdout.strip()  # fmt: skip
    if not found.startswith(f"torch {wanted}"):
        raise RuntimeError(f"the peers' environment has {found}, not torch {wanted}")
    return found


def pinned(path: Path) -> dict[str, str]:
    """Name to version of a requirements file whose every line pins one."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.split("==") for line in lines if line)
