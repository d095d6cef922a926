"""The NIfTI header: its two layouts and its sanity.

https://nifti.nimh.nih.gov/nifti-1. SimpleITK fills the missing part of a truncated file with zeros
and overlooks a wrong magic or a NaN spacing; every such file is refused here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..grid import Grid
from ..types import Shape
from .axes import direction_of
from .limits import check_extent, check_size, check_spacing
from .nifti_orientation import placement, quaternion

NIFTI1 = np.dtype([
    ("sizeof_hdr", "<i4"), ("unused1", "S35"), ("dim_info", "u1"), ("dim", "<i2", 8),
    ("intent_p", "<f4", 3), ("intent_code", "<i2"), ("datatype", "<i2"), ("bitpix", "<i2"),
    ("slice_start", "<i2"), ("pixdim", "<f4", 8), ("vox_offset", "<f4"), ("scl_slope", "<f4"),
    ("scl_inter", "<f4"), ("slice_end", "<i2"), ("slice_code", "u1"), ("xyzt_units", "u1"),
    ("cal_max", "<f4"), ("cal_min", "<f4"), ("slice_duration", "<f4"), ("toffset", "<f4"),
    ("glmax", "<i4"), ("glmin", "<i4"), ("descrip", "S80"), ("aux_file", "S24"),
    ("qform_code", "<i2"), ("sform_code", "<i2"), ("quatern", "<f4", 3), ("qoffset", "<f4", 3),
    ("srow", "<f4", (3, 4)), ("intent_name", "S16"), ("magic", "S4"),
])  # fmt: skip
NIFTI2 = np.dtype([
    ("sizeof_hdr", "<i4"), ("magic", "S8"), ("datatype", "<i2"), ("bitpix", "<i2"),
    ("dim", "<i8", 8), ("intent_p", "<f8", 3), ("pixdim", "<f8", 8), ("vox_offset", "<i8"),
    ("scl_slope", "<f8"), ("scl_inter", "<f8"), ("cal_max", "<f8"), ("cal_min", "<f8"),
    ("slice_duration", "<f8"), ("toffset", "<f8"), ("slice_start", "<i8"), ("slice_end", "<i8"),
    ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "<i4"), ("sform_code", "<i4"),
    ("quatern", "<f8", 3), ("qoffset", "<f8", 3), ("srow", "<f8", (3, 4)), ("slice_code", "<i4"),
    ("xyzt_units", "<i4"), ("intent_code", "<i4"), ("intent_name", "S16"), ("dim_info", "u1"),
    ("unused", "S15"),
])  # fmt: skip

VOXEL_TYPES: dict[int, str] = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micrometre


@dataclass(frozen=True)
class NiftiHeader:
    """A checked NIfTI-1 or NIfTI-2 header.

    Attributes:
        fields: the raw record, little endian.
        swapped: whether the file is big endian.
        voxel_type: the stored type, in the file's byte order.
        grid: the geometry.
        warnings: oddities that were accepted, in words.
    """

    fields: npt.NDArray[Any]
    swapped: bool
    voxel_type: np.dtype[Any]
    grid: Grid
    warnings: tuple[str, ...]

    @property
    def data_offset(self) -> int:
        """Bytes before the first voxel."""
        return int(self.fields["vox_offset"])

    @property
    def scale(self) -> tuple[float, float]:
        """Slope and intercept from stored value to HU (1, 0 where none is set).

        A slope that is 0 or no number means none, and then there is no intercept.
        """
        slope, intercept = float(self.fields["scl_slope"]), float(self.fields["scl_inter"])
        return (slope, intercept) if slope != 0 and math.isfinite(slope) else (1.0, 0.0)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # what is no number is refused by name
    def parse(cls, data: bytes) -> NiftiHeader:
        """Parse and check the first bytes of a file (at least 348, or 540 for NIfTI-2).

        Raises:
            HeaderError: not NIfTI, or its sizes, types, spacing or axes make no sense.
        """
        fields, swapped = _record(data)
        notes: list[str] = []
        shape = _shape(fields)
        voxel_type = _voxel_type(fields, swapped)
        if int(fields["bitpix"]) != 8 * voxel_type.itemsize:
            notes.append(
                f"says {int(fields['bitpix'])} bits per voxel for NIfTI type "
                f"{int(fields['datatype'])}: the type is taken"
            )
        _check_offset(float(fields["vox_offset"]), fields.dtype.itemsize)
        unit = _UNIT_MM.get(int(fields["xyzt_units"]) & 7)
        if unit is None:  # garbage, which no reader heeds
            notes.append(f"unknown unit of length {int(fields['xyzt_units']) & 7}: mm is assumed")
            unit = 1.0
        spacing_XYZ = _spacing(fields, unit)
        matrix, origin = placement(fields, spacing_XYZ, unit, notes.append)
        direction = np.diag([-1.0, -1.0, 1.0]) @ matrix
        grid = Grid(
            shape=shape,
            spacing=(float(spacing_XYZ[2]), float(spacing_XYZ[1]), float(spacing_XYZ[0])),
            origin=(-float(origin[0]), -float(origin[1]), float(origin[2])),
            direction=direction_of(direction),
        )
        check_extent(grid)
        header = cls(fields, swapped, voxel_type, grid, tuple(notes))
        if not all(math.isfinite(value) for value in header.scale):
            raise HeaderError("scl_inter is not a number")
        slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
        if math.isfinite(intercept) and intercept != 0 and header.scale != (slope, intercept):
            # Programs differ: nibabel takes none of the two, ITK the intercept.
            note = f"the slope is {slope:g}: the intercept of {intercept:g} is not applied, either"
            return replace(header, warnings=(*header.warnings, note))
        return header

    @classmethod
    def of_grid(cls, grid: Grid, exact: npt.NDArray[np.float64] | None = None) -> NiftiHeader:
        """A NIfTI-1 header that states ``grid`` in both of its forms, for 8-bit labels.

        Args:
            grid: its axes at right angles.
            exact: the sform in its place, as an affine (3x4, LPS), where the scan's axes are not.
        """
        fields = np.zeros((), NIFTI1)
        fields["dim"] = (3, *grid.shape[::-1], 1, 1, 1, 1)
        matrix = np.diag([-1.0, -1.0, 1.0]) @ np.array(grid.direction).reshape(3, 3)
        origin = np.array(grid.origin) * (-1, -1, 1)
        handedness = 1.0 if np.linalg.det(matrix) > 0 else -1.0
        fields["pixdim"] = (handedness, *grid.spacing[::-1], 1, 1, 1, 1)
        fields["xyzt_units"] = 2
        fields["qform_code"] = fields["sform_code"] = 1
        fields["quatern"] = quaternion(matrix * (1, 1, handedness))
        fields["qoffset"] = origin
        fields["srow"] = np.column_stack((matrix * grid.spacing[::-1], origin))
        if exact is not None:
            fields["srow"] = np.diag([-1.0, -1.0, 1.0]) @ exact
        return cls(fields, False, np.dtype("u1"), grid, ())

    def for_voxels(self, voxel_type: np.dtype[Any], extension: bytes = b"") -> bytes:
        """Header bytes of a volume on the same grid: the header, the extension flag, extensions.

        The geometry fields are copied bit for bit, so every reader that places the scan places the
        new volume identically.

        Args:
            voxel_type: uint8 (labels) or int16 (HU).
            extension: a header extension with its size and code, a multiple of 16 bytes long.
        """
        new = self.fields.copy()
        two = new.dtype == NIFTI2
        new["sizeof_hdr"] = new.dtype.itemsize
        new["magic"] = b"n+2\0\r\n\x1a\n" if two else b"n+1"
        new["vox_offset"] = new.dtype.itemsize + 4 + len(extension)
        if (new["dim"][4 : 1 + new["dim"][0]] < 1).any():  # an axis of 0: no reader's fourth
            new["dim"] = (3, *new["dim"][1:4], 1, 1, 1, 1)
        codes = {np.dtype(name): code for code, name in VOXEL_TYPES.items()}
        new["datatype"], new["bitpix"] = codes[voxel_type], 8 * voxel_type.itemsize
        new["scl_slope"], new["scl_inter"] = 1, 0
        new["descrip"], new["aux_file"], new["intent_name"] = b"abdobox", b"", b""
        for name in ("intent_p", "intent_code", "cal_max", "cal_min"):
            new[name] = 0
        return new.tobytes() + bytes([bool(extension), 0, 0, 0]) + extension


def _record(data: bytes) -> tuple[npt.NDArray[Any], bool]:
    for layout, magics in ((NIFTI1, (b"n+1",)), (NIFTI2, (b"n+2\0\r\n\x1a\n",))):
        if len(data) < layout.itemsize:
            continue
        for order in ("<", ">"):
            record = np.frombuffer(data, layout.newbyteorder(order), count=1)[0]
            if record["sizeof_hdr"] == layout.itemsize:
                if bytes(record["magic"]) == b"ni1":
                    raise HeaderError(
                        "is the header of a pair of files", "name the .hdr file's volume as .nii.gz"
                    )
                if bytes(record["magic"]) not in magics:
                    raise HeaderError("has the wrong magic: it is no NIfTI file")
                return np.array(record, dtype=layout), order == ">"
    raise HeaderError("is no NIfTI file (wrong header size)")


def _shape(fields: npt.NDArray[Any]) -> Shape:
    dim = [int(n) for n in fields["dim"]]
    if dim[0] < 3 or dim[0] > 7:
        raise HeaderError(f"has {dim[0]} dimensions", "give one 3D volume per file")
    # An axis of 0 or less beyond the third is one of 1, as in nifti_clib and ITK.
    sizes = [*dim[1:4], *(max(n, 1) for n in dim[4 : dim[0] + 1])]
    if any(n < 1 for n in sizes):
        raise HeaderError(f"has an empty or negative axis: {' x '.join(map(str, sizes))}")
    if any(n != 1 for n in sizes[3:]):
        raise HeaderError(
            f"is not one volume but {' x '.join(map(str, sizes))}", "give one 3D volume per file"
        )
    check_size((sizes[2], sizes[1], sizes[0]))
    return (sizes[2], sizes[1], sizes[0])


def _check_offset(offset: float, header_bytes: int) -> None:
    """Refuse voxels within the header, or so close behind it that its extension flag overlaps."""
    if not (math.isfinite(offset) and offset < 2**31) or (
        int(offset) != header_bytes and offset < header_bytes + 4
    ):
        raise HeaderError(f"the header puts the voxels at byte {offset:g}")


def _voxel_type(fields: npt.NDArray[Any], swapped: bool) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code not in VOXEL_TYPES:
        raise HeaderError(
            f"has voxels of NIfTI type {code} (colour, complex or unknown)", "store HU as int16"
        )
    return np.dtype((">" if swapped else "<") + VOXEL_TYPES[code])


def _spacing(fields: npt.NDArray[Any], unit: float) -> npt.NDArray[np.float64]:
    spacing = fields["pixdim"][1:4].astype(np.float64) * unit
    check_spacing(spacing)
    return spacing
