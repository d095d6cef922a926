"""Sound NIfTI files and seeded ways to damage their headers."""

from __future__ import annotations

import gzip
import random
import struct
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from tests.inference.nifti_files import FIELDS, nifti_bytes, scan_voxels

VOXELS = scan_voxels((4, 5, 6))
INTEGERS = (-1, 0, 1, 2, 3, 4, 7, 8, 127, 255, 256, 8192, 8193, 16384, 32767, -32768)
REALS = (0.0, -0.0, 1.0, -1.0, 352.0, 1e-45, 1e-30, 1e30, 3.4e38, 2.0**31, float("inf"),
         float("-inf"), float("nan"), 0.5, 1e4, -1e-3)  # fmt: skip


def _nifti2() -> bytes:
    header = nib.Nifti2Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(VOXELS.shape[::-1])
    header.set_zooms((1.0, 2.0, 5.0))
    header.set_sform(np.diag((1.0, 2.0, 5.0, 1.0)), code=1)
    header["vox_offset"] = 544
    return bytes(header.binaryblock) + bytes(4) + VOXELS.tobytes()


SEEDS = (
    nifti_bytes(VOXELS),
    nifti_bytes(VOXELS, big_endian=True),
    nifti_bytes(VOXELS.astype(np.float32)),
    nifti_bytes(VOXELS.astype(np.uint16), scl_inter=-1024),
    nifti_bytes(VOXELS, dim=(4, 6, 5, 4, 1, 1, 1, 1)),
    _nifti2(),
)


@dataclass(frozen=True)
class Mutant:
    """A damaged file: its suffix and bytes."""

    suffix: str
    data: bytes


def mutant(number: int) -> Mutant:
    """The file of this number: always the same one."""
    rng = random.Random(number)
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        rng.choice((_flip, _noise, _field, _field, _splice))(data, rng)
    if rng.random() < 0.05:
        del data[rng.randrange(len(data)) :]
    if rng.random() < 0.2:
        return Mutant(".nii.gz", gzip.compress(bytes(data), 1, mtime=0))
    return Mutant(".nii", bytes(data))


def _flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(min(len(data), 352))] ^= 1 << rng.randrange(8)


def _noise(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(348)
    length = rng.choice((1, 2, 4, 8, 16))
    data[at : at + length] = rng.randbytes(length)


def _field(data: bytearray, rng: random.Random) -> None:
    """One number of one field: an extreme one."""
    offset, code = FIELDS[rng.choice(sorted(FIELDS))]
    kind = code[-1]
    order = rng.choice("<<<>")
    size = struct.calcsize(f"<{kind}") if kind != "s" else 4
    at = offset + size * rng.randrange(int(code[:-1] or 1) if kind != "s" else 1)
    if kind == "f":
        value: bytes = struct.pack(f"{order}f", rng.choice(REALS))
    elif kind == "s":
        value = rng.choice((b"n+1\0", b"ni1\0", b"n+2\0", b"\0\0\0\0"))
    else:
        low, high = {"h": (-(2**15), 2**15), "i": (-(2**31), 2**31), "B": (0, 256)}[kind]
        number = rng.choice([n for n in INTEGERS if low <= n < high])
        value = struct.pack(f"{order}{kind}", number)
    data[at : at + size] = value


def _splice(data: bytearray, rng: random.Random) -> None:
    """A stretch of another file's header."""
    other = rng.choice(SEEDS)
    at = rng.randrange(348)
    length = rng.randrange(1, 64)
    data[at : at + length] = other[at : at + length]
