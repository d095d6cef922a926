"""NRRD and MetaImage by SimpleITK: only these two readers, and no file that the header points at
beyond its own folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ..errors import HeaderError
from ..grid import Grid
from ..memory import Admit, check_memory
from .limits import check_grid, check_size
from .metaimage import check_metaimage
from .nrrd import check_nrrd
from .regular_file import beside, open_regular

# Left to itself, SimpleITK would choose among two dozen readers by a file's contents.
READERS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
# Both parsers' spellings of where the voxels are, wherever in the header a line begins.
_DATA_FILE = re.compile(
    rb"^[ \t]*(?:element[ \t]*data[ \t]*file[ \t]*[=:]|data[ \t]*file[ \t]*:=?)[ \t]*([^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_LONGEST_HEADER = 1 << 20


def stored_other(path: Path, admit: Admit = check_memory) -> tuple[npt.NDArray[Any], Grid]:
    """Voxels (z, y, x) as stored, and their grid.

    Raises:
        HeaderError: its name is of no such format, SimpleITK cannot read it, or it is not one 3D
            volume of grey values.
        EOFError, isal_zlib.error: its compressed voxels are cut or corrupt.
        OSError: it is missing or may not be read.
    """
    name = READERS.get(path.suffix.lower())
    if name is None:
        formats = ", ".join((".nii.gz", ".nii", *READERS))
        raise HeaderError(
            f"is no scan: its name ends in none of {formats}", "convert it to .nii.gz"
        )
    import SimpleITK as sitk

    check_data_files(path)
    if name == "MetaImageIO":
        check_metaimage(path)
    try:
        reader = sitk.ImageFileReader()
        reader.SetImageIO(name)
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        size = reader.GetSize()
        if len(size) < 3 or any(n != 1 for n in size[3:]) or reader.GetNumberOfComponents() != 1:
            raise HeaderError("is not one volume of grey values", "give one 3D volume per file")
        check_size((size[2], size[1], size[0]))
        voxel_bytes = sitk.Image(1, 1, reader.GetPixelIDValue()).GetSizeOfPixelComponent()
        voxels = size[0] * size[1] * size[2]
        admit(voxels * (2 * voxel_bytes + 1))  # SimpleITK's copy, ours, and the labels
        if name == "NrrdImageIO":
            check_nrrd(path, voxels * voxel_bytes)
        image = reader.Execute()
    except RuntimeError as error:
        cause = str(error).strip().splitlines()[-1].strip()
        raise HeaderError(f"cannot be read by SimpleITK ({cause})") from error
    stored, grid = array_of(image)
    check_grid(grid)
    return stored, grid


def array_of(image: Any) -> tuple[npt.NDArray[Any], Grid]:
    """Voxels (z, y, x) and grid of a SimpleITK image: three dimensions, or four with one frame."""
    import SimpleITK as sitk

    if image.GetDimension() == 4:
        image = image[:, :, :, 0]
    voxels = sitk.GetArrayFromImage(image)
    z, y, x = voxels.shape
    spacing = tuple(float(s) for s in image.GetSpacing()[::-1])
    grid = Grid((z, y, x), spacing, image.GetOrigin(), image.GetDirection())  # type: ignore[arg-type]
    return voxels, grid


def check_data_files(path: Path) -> None:
    """Refuse headers whose voxels lie elsewhere, or in several files. Raises HeaderError."""
    with open_regular(path) as file:
        header = file.read(_LONGEST_HEADER)
    for found in _DATA_FILE.findall(header):
        name = os.fsdecode(found.strip())
        if name.upper() == "LOCAL":
            continue
        if name.upper().startswith("LIST") or "%" in name:
            raise HeaderError("keeps its voxels in several files", "convert it to one .nii.gz")
        data = beside(path, name)
        if data.exists() and not data.is_file():
            raise HeaderError(f"points at something that is no file ({name})")
