"""Labels of a scan in any format that is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HeaderError, OutputError
from ..grid import Grid
from ..types import Labels
from .formats import SegType
from .nifti_header import NiftiHeader
from .remarks import Remarks
from .segmentation_nrrd import write_segmentation_nrrd
from .volume import write_labels

if TYPE_CHECKING:
    from .dicom.derived import Algorithm
    from .dicom.source import DicomSource


@dataclass(frozen=True)
class LabelWriter:
    """Labels and what the formats say of them.

    Attributes:
        labels_ZYX: uint8, in the scan's own axis order.
        grid: of the scan.
        header: the NIfTI header that they carry.
        source: the DICOM frames of the scan; None for other formats.
        algorithm: who made them; DICOM wants to know.
        remarks: what DICOM and .seg.nrrd say beside them.
    """

    labels_ZYX: Labels
    grid: Grid
    header: NiftiHeader
    source: DicomSource | None = None
    algorithm: Algorithm | None = None
    remarks: Remarks = field(default_factory=Remarks)

    def write(
        self,
        form: str,
        path: Path,
        *,
        seg_type: SegType = "labelmap",
        label_table: bool = True,
    ) -> None:
        """Write one file, whole or not at all.

        Args:
            form: one of :data:`inference.scan.formats.SUFFIXES`.
            path: ends as that format's files do, but for DICOM, whose files have any name.
            seg_type: of ``dicom-seg``.
            label_table: whether ``nifti`` carries names and colours.

        Raises:
            OutputError: a DICOM format of a scan that was none; the file cannot be written.
        """
        if form == "nifti":
            write_labels(path, self.labels_ZYX, self.header, label_table=label_table)
        elif form == "seg-nrrd":
            write_segmentation_nrrd(path, self.labels_ZYX, self.grid, self.remarks)
        else:
            self._write_dicom(form, path, seg_type)

    def _write_dicom(self, form: str, path: Path, seg_type: SegType) -> None:
        if self.source is None or self.algorithm is None:
            cause = "cannot be written: the scan is no DICOM series, to whose slices it could refer"
            raise OutputError(path, cause, "write .nii.gz or .seg.nrrd")
        from .dicom import need

        try:
            need("pydicom", *(["highdicom"] if form == "dicom-seg" else []))
        except HeaderError as error:
            raise OutputError(path, str(error), error.remedy) from error
        if form == "dicom-seg":
            from .dicom.segmentation import write_segmentation

            write_segmentation(
                path, self.labels_ZYX, self.source, self.algorithm, seg_type, self.remarks
            )
        else:
            from .dicom.structure_set import write_structure_set

            write_structure_set(path, self.labels_ZYX, self.source, self.algorithm, self.remarks)
