"""A peer's side: each series read, or read and its labels written, by its own code.

    python -m benchmarks.dicom_peers.peer TOOL FOLDER...     (under the peers' Python)

FOLDER holds ``in``; what the tool makes of it goes to ``out``. Prints one line of JSON per folder:
for a reader how far each volume's tissue is misplaced; for a writer nothing but ``error`` and the
names of its files, which the caller judges.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from benchmarks.dicom_peers.scene import labels_at, misplaced_mm

Volume = tuple[np.ndarray, np.ndarray]  # voxels, and (..., 3) where they are said to lie, mm, LPS
NAMES = {1: "liver", 2: "kidney_right", 3: "spleen", 4: "pancreas"}


def _places(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def _of_nifti(path: Path) -> Iterator[Volume]:
    """The volumes of a file: several where it has a fourth axis."""
    image = nib.load(path)
    lps = np.diag([-1, -1, 1, 1]) @ image.affine
    voxels = np.asarray(image.dataobj, float)
    places = _places(voxels.shape[:3], lps)
    for k in range(voxels[0, 0, 0].size):
        yield voxels.reshape(*voxels.shape[:3], -1)[..., k], places


def simpleitk(source: Path, out: Path) -> Iterator[Volume]:
    """The reader that every tutorial shows, of a series or of a lone file."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(source))
    image = sitk.ReadImage(names[0] if len(names) == 1 else names)
    matrix = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, image.GetOrigin()
    voxels = sitk.GetArrayFromImage(image).T.astype(float)
    yield voxels.reshape(image.GetSize()[:3]), _places(image.GetSize()[:3], affine)


def dicom2nifti(source: Path, out: Path) -> Iterator[Volume]:
    """Its function for a folder that holds one series; TotalSegmentator reads so."""
    from dicom2nifti import dicom_series_to_nifti

    dicom_series_to_nifti(str(source), str(out / "ct.nii.gz"), reorient_nifti=True)
    yield from _of_nifti(out / "ct.nii.gz")


def dicom2nifti_directory(source: Path, out: Path) -> Iterator[Volume]:
    """Its function for a folder of series."""
    from dicom2nifti import convert_directory

    convert_directory(str(source), str(out), reorient=True)
    for path in sorted(out.glob("*.nii.gz")):
        yield from _of_nifti(path)


def dcm2niix(source: Path, out: Path) -> Iterator[Volume]:
    """Its command with its defaults."""
    tool = Path(sys.executable).with_name("dcm2niix")
    done = subprocess.run(
        [tool, "-z", "y", "-o", out, source], capture_output=True, text=True, check=False
    )
    made = sorted(out.glob("*.nii.gz"))
    if done.returncode or not made:
        raise RuntimeError(done.stdout.strip().splitlines()[-1])
    # Where it has resampled, it leaves what it had first beside it.
    better = [path for path in made if path.name.endswith(("_Eq.nii.gz", "_Tilt.nii.gz"))]
    for path in better or made:
        yield from _of_nifti(path)


def highdicom(source: Path, out: Path) -> Iterator[Volume]:
    """Its volume of a series, HU by its own transform."""
    from highdicom import get_volume_from_series, imread

    files = sorted(source.iterdir())
    if len(files) == 1:
        volume = imread(files[0]).get_volume(apply_modality_transform=True)
    else:
        from pydicom import dcmread

        volume = get_volume_from_series(
            [dcmread(path) for path in files], apply_modality_transform=True
        )
    yield volume.array.astype(float), _places(volume.spatial_shape, volume.affine)


def totalsegmentator(source: Path, out: Path) -> Iterator[Volume]:
    """Its reader, labels on what that gives, and its writers of SEG and RTSTRUCT."""
    # Its settings import torch; reader and writers ask them only for where weights would lie.
    settings = ModuleType("totalsegmentator.config")
    settings.get_weights_dir = lambda: out  # type: ignore[attr-defined]
    sys.modules["totalsegmentator.config"] = settings
    from totalsegmentator import dicom_io

    dicom_io.dcm_to_nifti(source, out / "ct.nii.gz")
    image = nib.load(out / "ct.nii.gz")
    labels = labels_at(next(_of_nifti(out / "ct.nii.gz"))[1])
    (out / "ct.nii.gz").unlink()
    dicom_io.save_mask_as_dicomseg(labels, NAMES, source, out / "seg.dcm", image.affine)
    with contextlib.suppress(Exception):  # judged by the file that is or is not there
        dicom_io.save_mask_as_rtstruct(labels, NAMES, source, out / "rtstruct.dcm")
    yield from ()


TOOLS: dict[str, Callable[[Path, Path], Iterator[Volume]]] = {
    "SimpleITK": simpleitk,
    "dicom2nifti": dicom2nifti,
    "dicom2nifti, folder": dicom2nifti_directory,
    "dcm2niix": dcm2niix,
    "highdicom": highdicom,
    "TotalSegmentator": totalsegmentator,
}


def main(tool: str, folders: list[str]) -> None:
    """Every folder; an error is its outcome."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the tools print is no answer
    for folder in map(Path, folders):
        misplaced: list[float] = []
        error = ""
        try:
            for voxels, points in TOOLS[tool](folder / "in", folder / "out"):
                misplaced.append(misplaced_mm(voxels, points))
        except Exception as problem:  # whatever it is, it is the outcome
            error = " ".join(f"{type(problem).__name__}: {problem}".split())[:300]
        answer = {"folder": folder.name, "misplaced_mm": misplaced, "error": error}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = os.environ["TOTALSEG_HOME_DIR"] = scratch
        main(sys.argv[1], sys.argv[2:])
