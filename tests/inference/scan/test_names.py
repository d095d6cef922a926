"""What a file's name says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inference.scan import names, volume
from inference.scan.names import (
    channel_groups,
    counted,
    is_unread,
    is_utf8,
    scan_stem,
    shown,
    unread_files,
)


def test_both_lists_of_suffixes_are_the_same():
    """names has its own, because volume's would bring NumPy into --help."""
    assert sorted(names.SUFFIXES) == sorted(volume.SUFFIXES)


def test_names_are_read_without_numpy():
    code = "import sys, inference.scan.names; print('numpy' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[3], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.nii.gz", "a"),
        ("A.b.NII.GZ", "A.b"),
        ("a_0000.Nrrd", "a_0000"),
        ("a.seg.nrrd", "a.seg"),
        ("\udcff.nii", "\udcff"),
        (".nii.gz", None),
        (".a.nii.gz", None),
        ("a.nii.gz.txt", None),
        ("a.gz", None),
        ("nii", None),
    ],
)
def test_stems(name: str, stem: str | None):
    assert scan_stem(name) == stem


@pytest.mark.parametrize("name", ["a.hdr", "a.IMG", "a.nii.zst", "a.nii.BZ2", "a.tar.gz"])
def test_formats_that_are_not_read(name: str):
    assert is_unread(name)
    assert not is_unread(f".{name}")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.txt", "a.raw", "a.json", "README"])
def test_what_is_read_or_no_scan(name: str):
    assert not is_unread(name)


def test_voxels_of_detached_headers_are_no_files_of_their_own():
    files = ["a.mhd", "a.img", "a.zraw", "b.NHDR", "b.raw.gz", "b.c.gz", "d.img", "ab.img"]
    assert unread_files(files) == ["d.img", "ab.img"]


def test_names_of_channels():
    assert channel_groups([]) == {}
    assert channel_groups(["a_0001", "a_0000", "b_0001"]) == {"a": ["a_0000", "a_0001"]}
    assert channel_groups([f"a_{n:04}" for n in range(5)]) == {}
    assert channel_groups(["a_0000", "a_0002", "b_0000", "c_\u0660\u0660\u0660\u0660"]) == {}


def test_counting():
    assert counted(["a"], "file") == "1 file (a)"
    assert counted(["a", "b", "c"], "file") == "3 files (a, b, c)"
    assert counted(["a", "b", "c", "d"], "file") == "4 files (a, b, c, ...)"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a.nii", "a.nii"),
        ("Müller.nii".encode(), "Müller.nii"),
        (b"S\xf8ren.nii", "S\\xf8ren.nii"),
    ],
)
def test_bytes_that_are_no_utf_8(data: bytes, text: str):
    name = os.fsdecode(data)
    assert shown(name) == text
    assert is_utf8(name) == (b"\xf8" not in data)
