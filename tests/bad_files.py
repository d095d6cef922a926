"""Makers of files in which anything can be wrong.

A maker takes a path without its suffix and returns the file that it has made there.
"""

from __future__ import annotations

import gzip
import math
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from tests.inference.nifti_files import nifti_bytes, scan_voxels, write_nifti
from tests.inference.text_files import metaimage_bytes, nrrd_bytes

SCAN = scan_voxels()
Make = Callable[[Path], Path]


@dataclass(frozen=True)
class Bad:
    """A bad scan and words that the cause in its message must have."""

    make: Make
    words: str


def named(base: Path, suffix: str) -> Path:
    """``base`` with a suffix, whatever dots it has."""
    return base.with_name(base.name + suffix)


def nifti(suffix: str = ".nii.gz", /, voxels: np.ndarray = SCAN, **changed: object) -> Make:
    """A maker of a NIfTI file with these header fields."""
    return lambda base: write_nifti(named(base, suffix), voxels, **changed)


def contents(data: bytes, suffix: str = ".nii.gz") -> Make:
    """A maker of a file with these bytes."""

    def make(base: Path) -> Path:
        path = named(base, suffix)
        path.write_bytes(data)
        return path

    return make


def zipped(data: bytes | None = None) -> bytes:
    return gzip.compress(nifti_bytes(SCAN) if data is None else data, mtime=0)


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0xFF
    return bytes(changed)


def with_voxel(value: float) -> np.ndarray:
    voxels = SCAN.astype(np.float32)
    voxels[1, 2, 3] = value
    return voxels


def dim(*sizes: int) -> dict[str, object]:
    return {"dim": (*sizes, *(1,) * (8 - len(sizes)))}


def spacing(x: float, y: float = 2.0, z: float = 5.0) -> dict[str, object]:
    return {"pixdim": (1, x, y, z, 1, 1, 1, 1)}


def sheared(cosine: float) -> dict[str, object]:
    return {"qform_code": 0, "srow": (1, cosine, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)}


def tilted(degrees: float) -> dict[str, object]:
    """Slices moved sideways by a tilted gantry, as a converter states them in the sform."""
    tilt = math.radians(degrees)
    return {"srow": (1, 0, 0, 0, 0, 2, -5 * math.sin(tilt), 0, 0, 0, 5 * math.cos(tilt), 0)}


def png(suffix: str) -> Make:
    def make(base: Path) -> Path:
        picture = named(base, ".png")
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 4), np.uint8)), str(picture))
        return picture.rename(named(base, suffix))

    return make


def bomb(base: Path) -> Path:
    """A small scan followed by 256 MiB of zeros, which compress to nothing."""
    path = named(base, ".nii.gz")
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(nifti_bytes(SCAN))
        for _ in range(256):
            file.write(bytes(1 << 20))
    return path


def link_to(target: str, suffix: str = ".nii.gz") -> Make:
    def make(base: Path) -> Path:
        path = named(base, suffix)
        path.symlink_to(target or path.name)
        return path

    return make


def pipe(suffix: str) -> Make:
    """A named pipe, that nobody ever writes to."""

    def make(base: Path) -> Path:
        path = named(base, suffix)
        os.mkfifo(path)
        return path

    return make


def unix_socket(base: Path) -> Path:
    path = named(base, ".nii.gz")
    with socket.socket(socket.AF_UNIX) as server:
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's whole path may have 107 characters only
        try:
            server.bind(path.name)
        finally:
            os.chdir(before)
    return path


def simpleitk(suffix: str, voxels: np.ndarray = SCAN, **settings: object) -> Make:
    def make(base: Path) -> Path:
        image = sitk.GetImageFromArray(voxels, isVector=bool(settings.get("vector")))
        path = named(base, suffix)
        sitk.WriteImage(image, str(path), useCompression=bool(settings.get("compress")))
        return path

    return make


def nrrd(data_file: str, suffix: str = ".nhdr") -> Make:
    """An NRRD header of 8 x 7 x 6 voxels that lie elsewhere."""
    lines = ("NRRD0004", "type: short", "dimension: 3", "sizes: 8 7 6", "encoding: raw",
             "endian: little", data_file)  # fmt: skip
    return contents("\n".join((*lines, "", "")).encode(), suffix)


def mhd(data_file: str, suffix: str = ".mhd", data: bytes | None = None) -> Make:
    """A MetaImage header of 8 x 7 x 6 voxels that lie elsewhere; ``data`` is written there."""
    lines = ("ObjectType = Image", "NDims = 3", "DimSize = 8 7 6", "ElementType = MET_SHORT",
             data_file)  # fmt: skip
    header = contents("\n".join((*lines, "")).encode(), suffix)

    def make(base: Path) -> Path:
        if data is not None:
            (base.parent / data_file.rsplit(maxsplit=1)[-1]).write_bytes(data)
        return header(base)

    return make


def text_nrrd(data: bytes | None = None, /, **changed: str | None) -> Make:
    """An NRRD file with these fields, the voxels or ``data`` behind."""
    return contents(nrrd_bytes(SCAN, data, **changed), ".nrrd")


def text_mha(data: bytes | None = None, /, **changed: str | None) -> Make:
    """A MetaImage file with these fields, the voxels or ``data`` behind."""
    return contents(metaimage_bytes(SCAN, data, **changed), ".mha")


def cut(make: Make, share: float) -> Make:
    """The file of another maker, cut off after a share of its bytes."""

    def make_cut(base: Path) -> Path:
        path = make(base)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    return make_cut


def corrupted(make: Make) -> Make:
    """The file of another maker with a stretch near its end turned to zeros."""

    def make_corrupted(base: Path) -> Path:
        path = make(base)
        data = path.read_bytes()
        path.write_bytes(data[:-200] + bytes(100) + data[-100:])
        return path

    return make_corrupted


def edited(make: Make, old: bytes, new: bytes) -> Make:
    """The file of another maker with some of its text replaced."""

    def make_edited(base: Path) -> Path:
        path = make(base)
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new))
        return path

    return make_edited
