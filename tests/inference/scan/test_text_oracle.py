"""Random NRRD and MetaImage files are read as SimpleITK reads them, to the last bit."""

from __future__ import annotations

import gzip
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.scan.text_formats import stored_text_format
from tests.inference.orientations import AXIS_ALIGNED, rotation
from tests.inference.text_files import metaimage_bytes, nrrd_bytes

DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
SPACES = (
    "left-posterior-superior", "LPS", "right-anterior-superior", "RAS", "left-anterior-superior",
    "LAS", "scanner-xyz", "3D-right-handed", "3D-left-handed",
)  # fmt: skip


def some_voxels(rng: random.Random) -> np.ndarray:
    """Any bits of any type; of floating types, numbers."""
    dtype = np.dtype(rng.choice("<>") + rng.choice(DTYPES))
    shape = tuple(rng.randint(2, 6) for _ in range(3))
    size = shape[0] * shape[1] * shape[2]
    if dtype.kind == "f":
        values = [rng.uniform(-1e30, 1e30) for _ in range(size)]
        return np.array(values).astype(dtype).reshape(shape)
    return np.frombuffer(rng.randbytes(size * dtype.itemsize), dtype).reshape(shape)


def some_matrix(rng: random.Random) -> np.ndarray:
    """A direction, its columns the axes: along the patient's or oblique, of either handedness."""
    if rng.random() < 0.5:
        return np.array(rng.choice(AXIS_ALIGNED), dtype=float).reshape(3, 3)
    turned = rotation(tuple(rng.uniform(-1, 1) for _ in range(4)))
    return turned * (1, 1, rng.choice((1, -1)))


def text(values: object) -> str:
    return " ".join(repr(float(v)) for v in np.ravel(values))  # type: ignore[call-overload]


def vector(values: np.ndarray) -> str:
    return f"({','.join(repr(float(v)) for v in values)})"


def words(voxels: np.ndarray, rng: random.Random) -> bytes:
    """The numbers in text, exact for their type."""
    between = rng.choice((" ", "\n", "  ", "\r\n", "\t"))
    return between.join(str(v) for v in voxels.ravel()).encode() + b"\n"


def stored(voxels: np.ndarray, rng: random.Random) -> tuple[bytes, dict[str, str | None]]:
    """The voxels in one of NRRD's encodings, and the fields that say so."""
    raw, encoding = voxels.tobytes(), rng.choice(("raw", "raw", "gzip", "gz", "hex", "ascii"))
    changed: dict[str, str | None] = {"encoding": encoding}
    before = rng.random() < 0.2
    if encoding in ("gzip", "gz"):
        data = gzip.compress(raw, rng.randint(0, 9))
        if rng.random() < 0.2:
            data = gzip.compress(raw[:40]) + gzip.compress(raw[40:])
        if before:
            data, changed["byte skip"] = gzip.compress(b"some" + raw), "4"
    elif encoding == "raw":
        data = raw
        if before:
            data, changed["byte skip"] = b"some" + raw, rng.choice(("4", "-1"))
    else:
        data = raw.hex().encode() if encoding == "hex" else words(voxels, rng)
    if rng.random() < 0.15 and changed.get("byte skip") != "-1":
        data, changed["line skip"] = b"one\n\n" + data, "2"
    return data, changed


def placed(shape: tuple[int, ...], rng: random.Random) -> dict[str, str | None]:
    """NRRD's fields about some place in some space, or in none."""
    matrix = some_matrix(rng)
    spacing = np.array([rng.uniform(0.02, 9) for _ in range(3)])
    origin = np.array([rng.uniform(-900, 900) for _ in range(3)])
    changed: dict[str, str | None]
    if rng.random() < 0.15:  # without a space: ITK takes the axes as they are
        changed = {"space": None, "space directions": None, "space origin": None}
        changed["spacings"] = text(spacing)
        if rng.random() < 0.5:
            changed["axis mins"] = text(origin)
            changed["centerings"] = rng.choice(("node node cell", "cell cell cell"))
        return changed
    vectors = [vector(column) for column in (matrix * spacing).T]
    changed = {"space": rng.choice(SPACES), "space origin": vector(origin)}
    if rng.random() < 0.15:
        x, y, z = shape[::-1]
        changed |= {"dimension": "4", "sizes": f"1 {x} {y} {z}"}
        changed["kinds"] = "list domain domain domain"
        vectors.insert(0, "none")
    return {**changed, "space directions": " ".join(vectors)}


def some_nrrd(rng: random.Random, folder: Path) -> Path:
    voxels = some_voxels(rng)
    data, changed = stored(voxels, rng)
    changed |= placed(voxels.shape, rng)
    end = rng.choice(("\n", "\n", "\r\n"))
    if rng.random() < 0.4:
        (folder / "some voxels.raw").write_bytes(data)
        path = folder / "scan.nhdr"
        changed["data file"] = "some voxels.raw"
        path.write_bytes(nrrd_bytes(voxels, b"", end, **changed))
    else:
        path = folder / "scan.nrrd"
        path.write_bytes(nrrd_bytes(voxels, data, end, **changed))
    return path


def some_metaimage(rng: random.Random, folder: Path) -> Path:
    voxels, matrix = some_voxels(rng), some_matrix(rng)
    raw, changed = voxels.tobytes(), {}
    data, detached = raw, rng.random() < 0.4
    if rng.random() < 0.4:
        data = zlib.compress(raw, rng.randint(0, 9))
        changed = {"CompressedData": "True", "CompressedDataSize": str(len(data))}
    elif rng.random() < 0.3:
        data, changed["HeaderSize"] = b"some" + raw, "-1"
    if detached and rng.random() < 0.3 and changed.get("HeaderSize") is None:
        data, changed["HeaderSize"] = b"some" + data, "4"
    changed["TransformMatrix"] = text(matrix.T)
    changed["Offset"] = text([rng.uniform(-900, 900) for _ in range(3)])
    changed["ElementSpacing"] = text([rng.uniform(0.02, 9) for _ in range(3)])
    for old, names in (
        ("Offset", ("Position", "Origin")),
        ("TransformMatrix", ("Orientation", "Rotation")),
        ("ElementSpacing", ("ElementSize",)),
    ):
        if rng.random() < 0.3:
            changed[rng.choice(names)] = changed[old]
            changed[old] = None
    end = rng.choice(("\n", "\n", "\r\n"))
    if detached:
        (folder / "some voxels.raw").write_bytes(data)
        path = folder / "scan.mhd"
        path.write_bytes(metaimage_bytes(voxels, b"", "some voxels.raw", end, **changed))
    else:
        path = folder / "scan.mha"
        path.write_bytes(metaimage_bytes(voxels, data, "LOCAL", end, **changed))
    return path


@pytest.mark.parametrize(
    "numbers", [range(100), pytest.param(range(100, 500), marks=pytest.mark.slow)], ids=str
)
@pytest.mark.parametrize("make", [some_nrrd, some_metaimage])
def test_random_files_are_read_as_simpleitk_reads_them(tmp_path: Path, make, numbers: range):
    for number in numbers:
        path = make(random.Random(number), tmp_path)
        scan = stored_text_format(path)
        image = sitk.ReadImage(str(path))
        expected = sitk.GetArrayFromImage(image)
        assert scan.voxels.dtype.newbyteorder("=") == expected.dtype, number
        np.testing.assert_array_equal(scan.voxels, expected, err_msg=str(number))
        assert scan.grid.shape == expected.shape, number
        assert scan.grid.spacing[::-1] == image.GetSpacing(), number
        assert scan.grid.origin == image.GetOrigin(), number
        assert scan.grid.direction == image.GetDirection(), number
        assert scan.exact is None, number
