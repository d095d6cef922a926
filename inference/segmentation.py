"""The labels of one scan, what is said about them, and the ways in which they are written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .findings.doubts import Doubts, doubts
from .findings.statistics import Statistics, statistics
from .grid import Grid
from .scan.formats import SegType
from .scan.nifti_header import NiftiHeader
from .scan.remarks import Remarks
from .scan.writing import LabelWriter
from .steps.organs import Evidence
from .types import Image, Labels, Shape

if TYPE_CHECKING:
    from .scan.dicom.source import DicomSource


@dataclass(frozen=True)
class Segmentation:
    """The labels of one scan.

    Attributes:
        labels: uint8 (z, y, x), in the scan's own axis order; values of labels.NAMES.
        grid: of the scan, and so of the labels.
        timings: seconds per stage.
        windows: how many windows the network was run on.
        window: their shape (z, y, x) in voxels of the network's grid.
        warnings: what is odd about the scan, and fallbacks that were needed, in words.
        header: the NIfTI header that the labels carry.
        image: HU of the scan's voxels, for :meth:`statistics` and :meth:`doubts`; None in what
            :meth:`without_image` gives.
        evidence: what the run has seen that tells whether its labels may be believed.
        source: the DICOM frames of the scan; None for other formats.
        weights_sha256: of the model that made them.
    """

    labels: Labels
    grid: Grid
    timings: dict[str, float]
    windows: int
    window: Shape
    warnings: tuple[str, ...]
    header: NiftiHeader
    image: Image | None
    evidence: Evidence
    source: DicomSource | None = None
    weights_sha256: str = ""

    def statistics(self) -> Statistics:
        """State, volume, HU, place and pieces of each organ, and the tumour's lesions."""
        return statistics(self.labels, self._image(), self.grid)

    def doubts(self) -> Doubts:
        """A score for each organ, and what is odd about the scan."""
        return doubts(self.labels, self._image(), self.grid, self.evidence)

    def without_image(self) -> Segmentation:
        """The same without the scan's voxels, whose memory is then free."""
        return replace(self, image=None)

    def _image(self) -> Image:
        if self.image is None:
            raise ValueError("the scan's voxels are no longer held")
        return self.image

    def write(self, path: Path | str, *, label_table: bool = True) -> None:
        """Write as .nii.gz with the scan's exact geometry. Raises OutputError.

        ``label_table`` puts the labels' names and colours into its header.
        """
        self.writer().write("nifti", Path(path), label_table=label_table)

    def write_dicom_seg(self, path: Path | str, seg_type: SegType = "labelmap") -> None:
        """Write as DICOM SEG on the scan's own slices: a label map, or ``binary``.

        It says what is doubted, as long as the scan's voxels are held.

        Raises:
            OutputError: the scan was no DICOM series, or the file cannot be written.
        """
        self.writer(self._remarks()).write("dicom-seg", Path(path), seg_type=seg_type)

    def write_rtstruct(self, path: Path | str) -> None:
        """Write as DICOM RTSTRUCT on the scan's own slices.

        It says what is doubted, as long as the scan's voxels are held.

        Raises:
            OutputError: the scan was no DICOM series, or the file cannot be written.
        """
        self.writer(self._remarks()).write("rtstruct", Path(path))

    def _remarks(self) -> Remarks:
        return Remarks() if self.image is None else self.doubts().remarks()

    def write_seg_nrrd(self, path: Path | str) -> None:
        """Write as 3D Slicer's .seg.nrrd. Raises OutputError.

        It says what is doubted, as long as the scan's voxels are held.
        """
        self.writer(self._remarks()).write("seg-nrrd", Path(path))

    def writer(self, remarks: Remarks | None = None) -> LabelWriter:
        """What writes the labels, in any format; DICOM and .seg.nrrd with ``remarks``."""
        algorithm = None
        if self.source is not None:
            from .scan.dicom.derived import Algorithm

            algorithm = Algorithm(self.weights_sha256)
        return LabelWriter(
            self.labels, self.grid, self.header, self.source, algorithm, remarks or Remarks()
        )
