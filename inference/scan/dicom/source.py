"""The source frames of a DICOM volume, and the exact way back from its slices to theirs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...grid import Grid
from ...types import Labels, Triple
from .files import DicomFile

if TYPE_CHECKING:
    from pydicom import Dataset

Orientation6 = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """One slice as its file states it: a whole instance, or a frame of a multi-frame one.

    Attributes:
        file: where it lies; ``file.open()`` reads it, also from within a .zip.
        frame: its number in the file from 0 on; 0 in a single-frame file.
        sop_class_uid, sop_instance_uid: of its instance; the file meta information's where the
            data set has lost them.
        position: Image Position (Patient), the centre of its first pixel: (x, y, z) in mm, LPS.
        orientation: Image Orientation (Patient): the unit vector along a row (growing column), then
            the one down a column (growing row).
        pixel_spacing: mm (between rows, between columns).
        rows, columns: its size.
    """

    file: DicomFile
    frame: int
    sop_class_uid: str
    sop_instance_uid: str
    position: Triple
    orientation: Orientation6
    pixel_spacing: tuple[float, float]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class DicomSource:
    """The frames that a :class:`inference.scan.volume.Volume` was made of, in its stack order.

    The volume's array (z, y, x) has x along the frames' rows, y along their columns and z along
    their normal (row x column). Frame ``k`` is the volume's slice ``slices[k]``, from its row and
    column ``offsets[k]`` on: exactly where ``exact``, else to the nearest voxel.

    Attributes:
        frames: along the slice normal, in growing order; duplicates are left out.
        study_uid, series_uid, frame_of_reference_uid: empty where the source states none.
        grid: of the volume, and so of its labels.
        slices: for each frame, the index of its slice in the volume (the nearest where slices
            were resampled to even steps).
        offsets: for each frame, (row, column) of its first pixel in the volume's slice; other than
            (0, 0) only where a tilted gantry's shear was undone.
        exact: whether the volume's voxels are the frames' own, each one; slices that were missing
            may have been interpolated between them.
    """

    frames: tuple[SourceFrame, ...]
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    grid: Grid
    slices: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    exact: bool

    @property
    def multi_frame(self) -> bool:
        """Whether frames are parts of files (Enhanced CT), not files of their own."""
        instances = {frame.sop_instance_uid for frame in self.frames}
        return len(instances) < len(self.frames) or any(frame.frame for frame in self.frames)

    def labels_on_frames(self, labels_ZYX: Labels) -> Labels:
        """Labels of the volume on the frames' own pixels.

        Args:
            labels_ZYX: uint8 on :attr:`grid`, in the volume's own axis order.

        Returns:
            uint8 (n_frames, rows, columns) in the order of :attr:`frames`.

        Raises:
            ValueError: the labels have another shape than the volume.
        """
        if labels_ZYX.shape != self.grid.shape:
            raise ValueError(f"labels of shape {labels_ZYX.shape}, not {self.grid.shape}")
        rows, columns = self.frames[0].rows, self.frames[0].columns
        out = np.empty((len(self.frames), rows, columns), np.uint8)
        for k, (z, (row, column)) in enumerate(zip(self.slices, self.offsets, strict=True)):
            out[k] = labels_ZYX[z, row : row + rows, column : column + columns]
        return out

    def header(self) -> Dataset:
        """The first frame's data set without pixels: patient, study, equipment.

        Raises:
            HeaderError: the file has changed since it was looked through.
            OSError: it cannot be read any more.
        """
        return self.frames[0].file.header()

    def headers(self) -> list[Dataset]:
        """The data sets without pixels of all instances, each once, in stack order.

        Raises:
            HeaderError, OSError: see :meth:`header`.
        """
        return [file.header() for file in dict.fromkeys(frame.file for frame in self.frames)]
