"""The same scan gives the same bytes: again, in company, however it lies in the file."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from inference.machine.threads import processors
from inference.scan.volume import read_labels
from phantom import make_phantom
from tests.reliability.conftest import ROOT, contents

Call = Callable[..., subprocess.CompletedProcess]
CASE = "train/images/hcc_048_0000.nii.gz"


def test_again_and_alone(sound: Path, tmp_path: Path, call: Call, clean: dict):
    assert call(sound, tmp_path / "again").returncode == 0
    assert contents(tmp_path / "again") == clean
    assert call(sound / "m_0000.nii.gz", tmp_path / "alone").returncode == 0
    assert contents(tmp_path / "alone") == {"m.nii.gz": clean["m.nii.gz"]}


@pytest.mark.slow
def test_48_orientations_gzip_and_plain(tmp_path: Path, call: Call):
    """96 files of one patient in one run; nibabel turns the scans, and the labels back."""
    phantom = make_phantom((12, 22, 24), (14.0, 13.0, 12.0), seed=3)
    affine = np.diag((12.0, 13.0, 14.0, 1.0))
    scan = nib.Nifti1Image(phantom.image_ZYX.transpose(2, 1, 0)[::-1, ::-1], affine)
    (tmp_path / "in").mkdir()
    turns = itertools.product(
        itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)
    )
    for number, (axes, signs) in enumerate(turns):
        turned = scan.as_reoriented(np.column_stack((axes, signs)))
        for suffix in (".nii", ".nii.gz"):
            nib.save(turned, tmp_path / "in" / f"{number:02}{suffix[-1]}_0000{suffix}")
    result = call(tmp_path / "in", tmp_path / "out")
    assert (result.returncode, result.stderr.count("\n")) == (0, 1)
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 96
    masks = [nib.as_closest_canonical(nib.load(path)).get_fdata() for path in files]
    assert len(np.unique(masks[0])) > 5
    for mask in masks:
        np.testing.assert_array_equal(mask, masks[0])


@pytest.mark.slow
@pytest.mark.skipif(processors() < 2, reason="needs two processors")
@pytest.mark.parametrize("precision", ["f32", "auto"])
def test_one_processor_or_two(shared_data: Path, tmp_path: Path, precision: str):
    """The bundled model on a real scan: equal bytes on as many processors, nearly so on others.

    OpenVINO divides its sums among its threads, so the logits' last digits depend on their number.
    """
    if shutil.which("taskset") is None:
        pytest.skip("no taskset")
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    files = []
    for number, count in enumerate((1, 1, 2, 2)):
        cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))
        files.append(tmp_path / f"out{number}.nii.gz")
        words = ["taskset", "-c", cpus, sys.executable, "-m", "inference", "-i",
                 str(shared_data / CASE), "-o", str(files[-1]), "--device", "cpu",
                 "--precision", precision]  # fmt: skip
        subprocess.run(words, cwd=ROOT, env=environment, check=True)
    one, one_again, two, two_again = (path.read_bytes() for path in files)
    assert one == one_again
    assert two == two_again
    differing = read_labels(files[0])[0] != read_labels(files[2])[0]
    assert differing.mean() < 1e-3
