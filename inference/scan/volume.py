"""Scans and label maps on disk: what is read is checked, what is written appears whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from ..errors import HeaderError, OutputError, ScanError
from ..grid import Grid, Orientation
from ..machine.memory import Admit, check_memory
from ..types import Image, Labels
from .atomic import write_atomically
from .axes import straighten
from .contents import check_contents, hounsfield
from .gzipped import gzipped
from .label_tables import caret_extension
from .label_values import label_values
from .limits import check_grid, unlikely_extent, unset_geometry
from .nifti_header import NiftiHeader
from .nifti_voxels import stored_nifti
from .text_formats import READERS, StoredScan, stored_text_format
from .unread_formats import unread

if TYPE_CHECKING:
    from .dicom.series import Series
    from .dicom.source import DicomSource

NIFTI_SUFFIXES = (".nii.gz", ".nii")
SUFFIXES = (*NIFTI_SUFFIXES, *READERS)
_INFLATE_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]


@dataclass(frozen=True)
class Volume:
    """Voxels in the file's own axis order, (z, y, x) as SimpleITK gives them.

    Attributes:
        voxels_ZYX: HU, int16 or float32.
        grid: where they lie.
        header: the NIfTI header that the labels will carry.
        warnings: oddities of the file that were accepted, in words.
        source: the DICOM frames that it was made of, and the way of labels back to them; None for
            other formats.
    """

    voxels_ZYX: Image
    grid: Grid
    header: NiftiHeader
    warnings: tuple[str, ...] = ()
    source: DicomSource | None = None

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
            return _on_grid(StoredScan(voxels_ZYX, *straighten(grid)))
        except HeaderError as error:
            raise ScanError("the array", str(error), error.remedy) from error

    def canonical(self) -> tuple[Image, Grid]:
        """The voxels in canonical LPS order (a view) and their grid."""
        orientation = Orientation.of(self.grid.direction)
        return orientation.apply(self.voxels_ZYX), orientation.canonical(self.grid)


def read_volume(path: Path, admit: Admit = check_memory) -> Volume:
    """Read one scan: NIfTI, NRRD or MetaImage by our own readers, DICOM by pydicom.

    Args:
        path: of the file; a .nhdr's or .mhd's voxels lie beside it. A DICOM series is a folder, a
            .zip, or one multi-frame file.
        admit: told how many bytes the scan will take at least, before they are taken; raises
            HeaderError where there are not so many.

    Raises:
        ScanError: a name of no format that is read, unreadable, truncated, corrupt, not one 3D
            volume, or with contents that are no CT (NaN, constant).
    """
    with _explained(path):
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            return _read_nifti(path, admit)
        if _may_be_dicom(path):
            from .dicom import need

            need("pydicom")
            from .dicom.reading import only_series

            return _read_dicom(only_series(path), admit)
        return _on_grid(_stored(path, admit))


def read_series(series: Series, admit: Admit = check_memory) -> Volume:
    """Read one DICOM series of :func:`inference.scan.dicom.series.find_series`.

    Args:
        series: its slices.
        admit: see :func:`read_volume`.

    Raises:
        ScanError: slices are missing or contradict each other, a file is unreadable, truncated or
            corrupt, or the contents are no CT.
    """
    with _explained(series.place):
        return _read_dicom(series, admit)


@dataclass(frozen=True)
class LabelMap:
    """A label map in the file's own axis order.

    Attributes:
        labels_ZYX: values 0..255.
        grid: where they lie.
        warnings: oddities of the file that were accepted, in words.
    """

    labels_ZYX: Labels
    grid: Grid
    warnings: tuple[str, ...] = ()


def read_label_map(path: Path) -> LabelMap:
    """Read a label map; values that a header scales, or floats, are rounded, and that is said.

    Raises:
        ScanError: see :func:`read_volume`; or a value is no label (:mod:`.label_values`).
    """
    with _explained(path):
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            header, stored = stored_nifti(path)
            (labels, rounded), grid = label_values(stored, *header.scale), header.grid
            warnings = header.warnings
        else:
            scan = _stored(path)
            (labels, rounded), grid = label_values(scan.voxels), scan.grid
            warnings = scan.warnings
        return LabelMap(labels, grid, (*warnings, rounded) if rounded else warnings)


def read_labels(path: Path) -> tuple[Labels, Grid]:
    """The labels and the grid of :func:`read_label_map`, for those who can tell nobody the rest."""
    found = read_label_map(path)
    return found.labels_ZYX, found.grid


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn whatever reading ``path`` can raise into a ScanError: file, cause, remedy."""
    again = "copy the file again from its source"
    try:
        yield
    except HeaderError as error:
        raise ScanError(path, str(error), error.remedy) from error
    except _INFLATE_ERROR as error:
        raise ScanError(path, f"the compressed data are corrupt ({error})", again) from error
    except EOFError as error:
        raise ScanError(path, "ends before its data do: it is truncated", again) from error
    except MemoryError as error:
        raise ScanError(path, "does not fit into memory", "give more memory, or crop") from error
    except OSError as error:
        cause = f"cannot be read ({error.strerror or error})"
        raise ScanError(path, cause, "check that it exists and may be read") from error


def write_labels(
    path: Path,
    labels_ZYX: npt.NDArray[np.uint8],
    header: NiftiHeader,
    *,
    label_table: bool = True,
) -> None:
    """Write a label map. See :func:`write_image`.

    ``label_table`` puts names and colours into the header, for programs that show them.
    """
    write_image(path, labels_ZYX, header, caret_extension() if label_table else b"")


def write_image(
    path: Path, voxels_ZYX: npt.NDArray[Any], header: NiftiHeader, extension: bytes = b""
) -> None:
    """Write uint8 labels or int16 HU as .nii.gz: beside its place, then renamed. Never half a file.

    Args:
        path: ends in .nii.gz, since nothing else is written.
        voxels_ZYX: uint8 or int16, in the scan's own axis order.
        header: the scan's; its geometry is copied bit for bit.
        extension: see :meth:`NiftiHeader.for_voxels`.

    Raises:
        OutputError: another name; the folder is missing, read-only or full.
    """
    if not path.name.lower().endswith(".nii.gz"):
        raise OutputError(path, "is no name for labels", "end it in .nii.gz")
    voxels = np.ascontiguousarray(voxels_ZYX).reshape(-1).view(np.uint8).data
    head = header.for_voxels(voxels_ZYX.dtype, extension)
    write_atomically(path, gzipped(head, voxels))


def _read_nifti(path: Path, admit: Admit) -> Volume:
    header, stored = stored_nifti(path, admit)
    return _checked(hounsfield(stored, *header.scale), header, header.warnings)


def _stored(path: Path, admit: Admit = check_memory) -> StoredScan:
    """What a file of another format holds. Raises HeaderError for a name of none that is read."""
    if path.suffix.lower() in READERS:
        return stored_text_format(path, admit)
    cause = f"is no scan: its name ends in none of {', '.join(SUFFIXES)}"
    raise HeaderError(*(unread(path.name) or (cause, "convert it to .nii.gz")))


def _on_grid(scan: StoredScan) -> Volume:
    header = NiftiHeader.of_grid(scan.grid, scan.exact)
    return _checked(hounsfield(scan.voxels, 1.0, 0.0), header, scan.warnings)


def _may_be_dicom(path: Path) -> bool:
    """Whether it is a folder, a .zip, or a file of no other format's name that begins as DICOM."""
    if path.is_dir() or path.suffix.lower() == ".zip":
        return True
    if path.suffix.lower() in READERS:
        return False
    from .dicom.candidates import is_dicom

    return is_dicom(path)


def _read_dicom(series: Series, admit: Admit) -> Volume:
    from .dicom import need

    need("pydicom")
    from .dicom.reading import stored_series

    voxels_ZYX, source, notes = stored_series(series, admit)
    return replace(_checked(voxels_ZYX, NiftiHeader.of_grid(source.grid), notes), source=source)


def _checked(voxels_ZYX: Image, header: NiftiHeader, notes: tuple[str, ...] = ()) -> Volume:
    """The volume with all that is odd about it. Raises HeaderError for what is no scan at all."""
    volume = Volume(voxels_ZYX, header.grid, header)
    canonical_ZYX, _ = volume.canonical()
    geometry = (*unset_geometry(header.grid), *unlikely_extent(header.grid))
    notes = (*notes, *geometry, *check_contents(canonical_ZYX))
    return Volume(voxels_ZYX, header.grid, header, notes)
