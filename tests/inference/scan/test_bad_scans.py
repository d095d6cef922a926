"""Bad input: one line that names the file, the cause and the remedy."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from inference.errors import ScanError
from inference.scan.volume import read_volume
from tests.bad_files import SCAN, Make, bomb, contents, dim, named, nifti
from tests.bad_kinds import BAD
from tests.inference.memory import resident_growth
from tests.inference.nifti_files import nifti_bytes

# A warning of NumPy's would be a second line.
pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.mark.parametrize("name", BAD)
def test_bad_scan_gets_one_clear_line(tmp_path: Path, name: str):
    path = BAD[name].make(tmp_path / "scan")
    with pytest.raises(ScanError) as caught:
        read_volume(path)
    error = caught.value
    message = str(error)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert BAD[name].words in error.cause or BAD[name].words in error.remedy
    assert error.remedy


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("place", ["missing", "folder"])
def test_places_where_no_file_is(tmp_path: Path, suffix: str, place: str):
    path = named(tmp_path / "scan", suffix)
    if place == "folder":
        path.mkdir()
    with pytest.raises(
        ScanError, match="No such file" if place == "missing" else "directory|holds no CT series"
    ):
        read_volume(path)


def huge_claims() -> dict[str, bytes]:
    shapes = {"a long axis": (32767, 2, 2), "many voxels": (8000, 8000, 8000)}
    return {name: nifti_bytes(SCAN, **dim(3, *shape)) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", huge_claims())
def test_huge_claims_are_refused_before_memory_is_taken(tmp_path: Path, name: str):
    path = contents(gzip.compress(huge_claims()[name]))(tmp_path / "scan")
    tracemalloc.start()
    try:
        with pytest.raises(ScanError, match="claims"):
            read_volume(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bomb, "far beyond"),
        # 1 GiB is claimed, 700 bytes are there: pages that nothing is read into stay untouched.
        (nifti(**dim(3, 800, 800, 800), pixdim=(1, 1, 1, 1, 1, 1, 1, 1)), "announces"),
    ],
    ids=["bomb", "claim within the limits"],
)
def test_what_is_not_there_does_not_fill_the_memory(tmp_path: Path, make: Make, words: str):
    path = make(tmp_path / "scan")
    with resident_growth() as grown, pytest.raises(ScanError, match=words):
        read_volume(path)
    assert grown() < 64 << 20
