"""NRRD and MetaImage through the real command line: names, locales, and nobody else's voxels."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inference.scan.volume import read_volume
from tests.inference.text_files import SPACING, metaimage_bytes, nrrd_bytes, put
from tests.reliability.conftest import ROOT, contents

Call = Callable[..., subprocess.CompletedProcess[str]]
LATIN1 = os.fsdecode(b"M\xfcller")


@pytest.fixture(scope="module")
def voxels(sound: Path) -> dict[str, np.ndarray]:
    """The sound scans' voxels by name."""
    return {p.name[0]: read_volume(p).voxels_ZYX for p in sound.iterdir()}


def plain(folder: Path, voxels: np.ndarray) -> Path:
    """A folder with one scan under an ordinary name in each format."""
    folder.mkdir()
    put(folder / "n.nrrd", nrrd_bytes(voxels))
    put(folder / "m.mha", metaimage_bytes(voxels))
    return folder


@pytest.mark.parametrize("locale", ["utf-8", "C"])
def test_names_in_any_encoding(
    tmp_path: Path,
    voxels: dict[str, np.ndarray],
    call: Call,
    locale: str,
    monkeypatch: pytest.MonkeyPatch,
):
    if locale == "C":
        for name, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
            monkeypatch.setenv(name, value)
    folder = plain(tmp_path / "in", voxels["b"])
    names = ("-o", "a b;c", "ü", "k\nk", LATIN1, "x" * 200, "%d", "LIST")
    for name in names:
        put(folder / f"{name}1_0000.nrrd", nrrd_bytes(voxels["b"]))
        put(folder / f"{name}2_0000.mha", metaimage_bytes(voxels["b"]))
        put(folder / f"{name}.raw", voxels["b"].tobytes())
    header = metaimage_bytes(voxels["b"], b"", "?.raw")
    put(folder / f"{LATIN1}3.mhd", header.replace(b"?", os.fsencode(LATIN1)))
    put(folder / "Müller4.mhd", header.replace(b"?", "ü".encode()))
    put(folder / "Müller5.nhdr", nrrd_bytes(voxels["b"], b"", data_file="ü.raw"))
    result = call(folder, tmp_path / "out")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    found = contents(tmp_path / "out")
    assert len(found) == 2 + 2 * len(names) + 3
    assert set(found.values()) == {found["n.nii.gz"]}


def test_the_voxels_are_the_scans_own(
    tmp_path: Path, voxels: dict[str, np.ndarray], call: Call, monkeypatch: pytest.MonkeyPatch
):
    """One scan after the other in one thread, over memory of another patient or of a pattern."""
    monkeypatch.setenv("MALLOC_PERTURB_", "165")
    folder = tmp_path / "in"
    folder.mkdir()
    for name, scan in voxels.items():
        stream = zlib.compress(scan.tobytes())
        zipped = gzip.compress(scan.tobytes())
        put(folder / f"{name}.mha", metaimage_bytes(scan))
        put(folder / f"{name}_zlib.mha", metaimage_bytes(scan, stream, CompressedData="True"))
        put(folder / f"{name}_gzip.nrrd", nrrd_bytes(scan, zipped, encoding="gzip"))
        half = str(len(stream) // 2)
        cut = metaimage_bytes(
            scan, stream[: int(half)], CompressedData="True", CompressedDataSize=half
        )
        put(folder / f"{name}_cut.mha", cut)
    result = call(folder, tmp_path / "out", "--jobs", "1")
    assert result.returncode == 1
    assert result.stderr.count("ends before its data do") == len(voxels)
    found = contents(tmp_path / "out")
    assert len(found) == 3 * len(voxels)
    for name in voxels:
        assert found[f"{name}.nii.gz"] == found[f"{name}_zlib.nii.gz"]
        assert found[f"{name}.nii.gz"] == found[f"{name}_gzip.nii.gz"]
    assert len({found[f"{name}.nii.gz"] for name in voxels}) == len(voxels)


def test_a_program_whose_locale_writes_commas(tmp_path: Path, voxels: dict[str, np.ndarray]):
    if shutil.which("localedef") is None:
        pytest.skip("no localedef: no locale with decimal commas can be made")
    words = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(tmp_path / "de_DE.UTF-8")]
    if subprocess.run(words, capture_output=True, check=False).returncode > 1:
        pytest.skip("no source of a German locale")
    plain(tmp_path / "in", voxels["b"])
    code = (
        "import locale, sys; locale.setlocale(locale.LC_ALL, 'de_DE.UTF-8'); "
        "from pathlib import Path; from inference.scan.volume import read_volume; "
        "assert locale.localeconv()['decimal_point'] == ','; "
        "print([read_volume(Path(p)).grid.spacing for p in sys.argv[1:]])"
    )
    files = [str(path) for path in sorted((tmp_path / "in").iterdir())]
    result = subprocess.run(
        [sys.executable, "-c", code, *files],
        cwd=ROOT, env={**os.environ, "LOCPATH": str(tmp_path)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert result.stdout.strip() == str([SPACING[::-1]] * 2)
