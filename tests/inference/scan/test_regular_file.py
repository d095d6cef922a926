"""What may be opened: files, by links too, and what a header names in its own folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.errors import HeaderError
from inference.scan.regular_file import beside, open_regular
from inference.scan.volume import read_volume


@pytest.mark.parametrize(
    "name", ["a.raw", "sub/a.raw", "./a.raw", "sub/../a.raw", "..a.raw", "ä b"]
)
def test_names_in_the_headers_folder(tmp_path: Path, name: str):
    assert beside(tmp_path / "a.mhd", name) == tmp_path / name


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.raw", "sub/../../a.raw", "..", "a\0b"])
def test_names_outside_it(tmp_path: Path, name: str):
    with pytest.raises(HeaderError, match="outside its folder"):
        beside(tmp_path / "a.mhd", name)


def test_a_link_is_opened_and_what_is_no_file_refused(tmp_path: Path):
    (tmp_path / "key").write_bytes(b"scan")
    (tmp_path / "a").symlink_to("key")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"scan"
    os.mkfifo(tmp_path / "pipe")
    for target in ("pipe", "/dev/null"):
        (tmp_path / "b").unlink(missing_ok=True)
        (tmp_path / "b").symlink_to(target)
        with pytest.raises(HeaderError, match="a pipe or a device"):
            open_regular(tmp_path / "b")


@pytest.mark.parametrize("kind", ["mhd", "nhdr"])
def test_header_and_voxels_that_are_links_to_elsewhere(tmp_path: Path, kind: str):
    """As git-annex keeps them: by the hash of their contents, each in a folder of its own."""
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.integers(-1000, 1000, (9, 10, 11)).astype(np.int16))
    (tmp_path / "made").mkdir()
    sitk.WriteImage(image, str(tmp_path / "made" / f"a.{kind}"))
    (tmp_path / "scans").mkdir()
    for number, path in enumerate(sorted((tmp_path / "made").iterdir())):
        kept = tmp_path / "annex" / str(number) / "key"
        kept.parent.mkdir(parents=True)
        path.rename(kept)
        (tmp_path / "scans" / path.name).symlink_to(kept)
    voxels = read_volume(tmp_path / "scans" / f"a.{kind}").voxels_ZYX
    assert np.array_equal(voxels, sitk.GetArrayFromImage(image))
