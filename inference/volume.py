"""Scans and label maps on disk: what is read is checked, what is written appears whole."""

from __future__ import annotations

import glob
import gzip
import io
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib

from inference.errors import OutputError, ScanError
from inference.grid import Grid, Orientation
from inference.limits import HeaderError, check_grid, check_size
from inference.nifti import NiftiHeader
from inference.resample import Image

NIFTI_SUFFIXES = (".nii.gz", ".nii")
OTHER_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = NIFTI_SUFFIXES + OTHER_SUFFIXES
# Voxels behind the announced ones are read past to reach the checksum, but only so many.
_MAX_TRAILING_BYTES = 1 << 24
_CHUNK_BYTES = 1 << 24
# No write takes so long, so that an older partial file is a killed run's.
_LEFTOVER_S = 3600.0
# ISA-L's level 1 is the quickest and, on label maps, smaller than its level 3 (RESULTS.md).
_COMPRESSION_LEVEL = 1
_INFLATE_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]


@dataclass(frozen=True)
class Volume:
    """Voxels in the file's own axis order, (z, y, x) as SimpleITK gives them.

    Attributes:
        voxels_ZYX: HU, int16 or float32.
        grid: where they lie.
        header: the NIfTI header that the labels will carry.
        warnings: oddities of the file that were accepted, in words.
    """

    voxels_ZYX: Image
    grid: Grid
    header: NiftiHeader
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_array(cls, voxels_ZYX: npt.NDArray[Any], grid: Grid) -> Volume:
        """A scan that is in memory already: HU of any numeric type on ``grid``.

        Raises:
            ScanError: the same contents that :func:`read_volume` refuses.
        """
        try:
            if voxels_ZYX.shape != grid.shape:
                raise HeaderError(f"has shape {voxels_ZYX.shape} on a grid of {grid.shape}")
            check_grid(grid)
            voxels = _hounsfield(voxels_ZYX, 1.0, 0.0)
            return cls(voxels, grid, NiftiHeader.of_grid(grid), tuple(_contents(voxels)))
        except HeaderError as error:
            raise ScanError("the array", str(error), error.remedy) from error

    def canonical(self) -> tuple[Image, Grid]:
        """The voxels in canonical LPS order (a view) and their grid."""
        orientation = Orientation.of(self.grid.direction)
        return orientation.apply(self.voxels_ZYX), orientation.canonical(self.grid)


def read_volume(path: Path) -> Volume:
    """Read one scan: NIfTI by our own reader, anything else by SimpleITK.

    Raises:
        ScanError: unreadable, truncated, corrupt, not one 3D volume, or with contents that are no
            CT (NaN, constant).
    """
    with _explained(path):
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            return _read_nifti(path)
        return _read_other(path)


def read_labels(path: Path) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Read a label map of values 0..255 in its own axis order. Raises ScanError."""
    with _explained(path):
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            header, stored = _stored_nifti(path)
            values, grid = _hounsfield(stored, *header.scale), header.grid
        else:
            values, grid = _stored_other(path)
        labels = values.astype(np.uint8)
        if not np.array_equal(labels, values):
            raise HeaderError("holds values that are no labels 0..255", "give a label map")
        return labels, grid


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever reading ``path`` can raise into a ScanError: file, cause, remedy."""
    again = "copy the file again from its source"
    try:
        yield
    except HeaderError as error:
        raise ScanError(path, str(error), error.remedy) from error
    except (gzip.BadGzipFile, _INFLATE_ERROR) as error:
        raise ScanError(path, f"the compressed data are corrupt ({error})", again) from error
    except EOFError as error:
        raise ScanError(path, "ends before its data do: it is truncated", again) from error
    except MemoryError as error:
        raise ScanError(path, "does not fit into memory", "give more memory, or crop") from error
    except OSError as error:
        cause = f"cannot be read ({error.strerror or error})"
        raise ScanError(path, cause, "check that it exists and may be read") from error


def write_labels(path: Path, labels_ZYX: npt.NDArray[np.uint8], header: NiftiHeader) -> None:
    """Write a label map. See :func:`write_image`."""
    write_image(path, labels_ZYX, header)


def write_image(path: Path, voxels_ZYX: npt.NDArray[Any], header: NiftiHeader) -> None:
    """Write uint8 labels or int16 HU as .nii.gz: beside its place, then renamed. Never half a file.

    Args:
        path: ends in .nii.gz.
        voxels_ZYX: uint8 or int16, in the scan's own axis order.
        header: the scan's; its geometry is copied bit for bit.

    Raises:
        OutputError: the folder is missing, read-only or full.
    """
    compressor = isal_zlib.compressobj(_COMPRESSION_LEVEL, wbits=31)
    voxels = memoryview(np.ascontiguousarray(voxels_ZYX).reshape(-1).view(np.uint8))
    data = [compressor.compress(header.for_voxels(voxels_ZYX.dtype))]
    data += [
        compressor.compress(voxels[i : i + _CHUNK_BYTES])
        for i in range(0, len(voxels), _CHUNK_BYTES)
    ]
    data.append(compressor.flush())
    write_atomically(path, b"".join(data))


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path``, sync it to disk, rename it into place. Raises OutputError.

    Several processes, machines or containers may write one file at once: the last one's stays.
    """
    # Neither process ids nor host names tell containers apart; random letters do.
    partial = path.with_name(f".{path.name}.{os.urandom(4).hex()}.partial")
    try:
        _remove_leftovers(path)
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise OutputError(
            path,
            f"cannot be written ({error.strerror})",
            "check the folder's space and permissions",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _remove_leftovers(path: Path) -> None:
    """Remove what killed runs left of ``path``, but not what another run is writing right now."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_S:
                leftover.unlink()


def _read_nifti(path: Path) -> Volume:
    header, stored = _stored_nifti(path)
    voxels = _hounsfield(stored, *header.scale)
    return Volume(voxels, header.grid, header, (*header.warnings, *_contents(voxels)))


def _stored_nifti(path: Path) -> tuple[NiftiHeader, npt.NDArray[Any]]:
    with _open(path) as file:
        start = _read_up_to(file, 540)
        if not start:
            raise HeaderError("is empty", "copy the file again from its source")
        header = NiftiHeader.parse(start)
        wanted = math.prod(header.grid.shape) * header.voxel_type.itemsize
        lead = start[header.data_offset :]
        gap = header.data_offset - len(start)
        if gap > 0 and len(_read_up_to(file, gap)) < gap:
            raise EOFError
        data = np.empty(wanted, np.uint8)
        head = min(len(lead), wanted)
        data[:head] = np.frombuffer(lead, np.uint8, head)
        view = memoryview(data)[head:]
        while view:
            count = file.readinto(view[:_CHUNK_BYTES])
            if not count:
                have = wanted - len(view)
                raise HeaderError(
                    f"holds {have} of the {wanted} bytes that its header announces",
                    "copy the file again from its source",
                )
            view = view[count:]
        trailing = 0
        while chunk := file.read(1 << 20):
            trailing += len(chunk)
            if trailing > _MAX_TRAILING_BYTES:
                raise HeaderError("goes on far beyond the volume that its header announces")
    return header, data.view(header.voxel_type).reshape(header.grid.shape)


def _open(path: Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return igzip.open(path, "rb") if zipped else open(path, "rb")


def _read_up_to(file: io.BufferedIOBase, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0 and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _read_other(path: Path) -> Volume:
    stored, grid = _stored_other(path)
    voxels = _hounsfield(stored, 1.0, 0.0)
    return Volume(voxels, grid, NiftiHeader.of_grid(grid), tuple(_contents(voxels)))


def _stored_other(path: Path) -> tuple[npt.NDArray[Any], Grid]:
    import SimpleITK as sitk

    if not path.exists():
        raise FileNotFoundError(2, "no such file")
    try:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) < 3 or any(n != 1 for n in size[3:]) or reader.GetNumberOfComponents() != 1:
            raise HeaderError("is not one volume of grey values", "give one 3D volume per file")
        check_size((size[2], size[1], size[0]))
        image = reader.Execute()
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[-1].strip()
        raise HeaderError(f"cannot be read by SimpleITK ({cause})") from error
    voxels, grid = _array(image)
    check_grid(grid)
    return voxels, grid


def _array(image: Any) -> tuple[npt.NDArray[Any], Grid]:
    """Voxels (z, y, x) and grid of a three-dimensional SimpleITK image."""
    import SimpleITK as sitk

    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    voxels = sitk.GetArrayFromImage(image)
    z, y, x = voxels.shape
    spacing = tuple(float(s) for s in image.GetSpacing()[::-1])
    grid = Grid((z, y, x), spacing, image.GetOrigin(), image.GetDirection())  # type: ignore[arg-type]
    return voxels, grid


def of_simpleitk(image: Any) -> Volume:
    """A scan that is a SimpleITK image already. Raises ScanError."""
    if image.GetNumberOfComponentsPerPixel() != 1 or image.GetDimension() != 3:
        raise ScanError("the image", "is not one 3D volume of grey values", "give one")
    return Volume.of_array(*_array(image))


def _hounsfield(stored: npt.NDArray[Any], slope: float, intercept: float) -> Image:
    """Stored values as HU: int16 where that is exact, else float32."""
    if stored.dtype.kind in "iu":
        if slope == 1 and intercept == 0 and stored.dtype == np.int16:
            return stored  # native byte order: '<i2' == int16 on every machine that torch runs on
        low = float(stored.min()) * slope + intercept
        high = float(stored.max()) * slope + intercept
        whole = all(v == int(v) and abs(v) < 2**31 for v in (slope, intercept))
        if whole and min(low, high) >= -32768 and max(low, high) <= 32767:
            return (stored.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
    elif stored.dtype.kind != "f":
        raise HeaderError(f"has voxels of type {stored.dtype}", "store HU as int16")
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused as such
        voxels = stored.astype(np.float32)
        if (slope, intercept) != (1.0, 0.0):
            voxels *= np.float32(slope)
            voxels += np.float32(intercept)
    return voxels


def _contents(voxels: Image) -> list[str]:
    """Oddities of the values, in words. Raises HeaderError for what is no scan at all."""
    lowest, highest = float(voxels.min()), float(voxels.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise HeaderError("holds NaN or infinite voxels", "replace them by air (-1024 HU)")
    if lowest == highest:
        raise HeaderError(f"holds nothing but the value {lowest:g}", "give a scan")
    if lowest >= 0 and highest > 300:
        return ["no value lies below 0: HU may be stored with an offset of 1024"]
    return []
