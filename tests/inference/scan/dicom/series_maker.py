"""CT series written by pydicom, each as sound or as faulty as a test wants it.

A scene says what is where in the patient (mm, LPS), a geometry where the slices lie; each slice
samples the scene at its own pixels' places, so that what a reader makes of it can be compared with
the scene itself:

    slices = make_slices(GEOMETRIES["coronal"])
    write_series(tmp_path, slices)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, Sequence, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.inference.orientations import rotation

ROOT = "1.2.826.0.1.3680043.10.1"
# (row direction, column direction): along growing column and growing row index, in LPS.
ORIENTATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "head first supine": ((1, 0, 0), (0, 1, 0)),
    "feet first supine": ((-1, 0, 0), (0, 1, 0)),
    "head first prone": ((-1, 0, 0), (0, -1, 0)),
    "feet first prone": ((1, 0, 0), (0, -1, 0)),
    "transposed": ((0, 1, 0), (1, 0, 0)),
    "oblique": tuple(map(tuple, rotation((1, 0.08, -0.05, 0.11)).T[:2])),  # type: ignore[dict-item]
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
}
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
CENTRE = np.array([10.0, -180.0, -700.0])  # a scanner's coordinates seldom begin at 0

Scene = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Change = Callable[[Dataset, int], None]


@dataclass(frozen=True)
class Slice:
    """One slice: its pixels in HU, and its place. ``spacing`` is mm (between rows, columns)."""

    hu: np.ndarray
    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]

    @property
    def points(self) -> np.ndarray:
        """(rows, columns, 3): the place of each pixel's centre in the patient, mm."""
        return pixel_places(self)


@dataclass(frozen=True)
class Geometry:
    """A stack of slices.

    ``along`` are their distances along the normal in mm (uneven steps, slices left out and
    duplicates are all there is to them), ``tilt`` the gantry's angle in degrees: slices drift down
    their columns as they go.
    """

    orientation: str = "head first supine"
    shape: tuple[int, int] = (40, 48)
    spacing: tuple[float, float] = (2.6, 2.4)
    along: tuple[float, ...] = tuple(4.0 * k for k in range(16))
    tilt: float = 0.0
    centre: np.ndarray = field(default_factory=lambda: CENTRE)

    def places(self) -> list[Slice]:
        """The slices, still without contents."""
        row, column = (np.array(v, float) for v in ORIENTATIONS[self.orientation])
        normal = np.cross(row, column)
        middle = (min(self.along) + max(self.along)) / 2
        half = [(n - 1) / 2 * s for n, s in zip(self.shape, self.spacing, strict=True)]
        corner = self.centre - half[0] * column - half[1] * row
        drift = np.tan(np.radians(self.tilt)) * column
        empty = np.zeros(self.shape)
        return [
            Slice(empty, corner + (s - middle) * (normal + drift), row, column, self.spacing)
            for s in self.along
        ]


def pixel_places(place: Slice) -> np.ndarray:
    """(rows, columns, 3) in mm, by DICOM's own equation (PS3.3, C.7.6.2.1.1)."""
    rows, columns = place.hu.shape
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    down = r[..., None] * place.spacing[0] * place.column
    return place.position + down + c[..., None] * place.spacing[1] * place.row


# Probes: where a cube of 15 mm of its own HU lies, off every axis of symmetry.
PROBES: dict[int, np.ndarray] = {
    300: CENTRE + np.array([22.0, 5.0, 8.0]),
    500: CENTRE + np.array([-18.0, 14.0, -6.0]),
    700: CENTRE + np.array([4.0, -20.0, 11.0]),
    900: CENTRE + np.array([-6.0, -8.0, -14.0]),
}
PROBE_MM = 15.0


def scene(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A patient (soft tissue that changes smoothly, in air) with a cube at each probe."""
    dx, dy, dz = x - CENTRE[0], y - CENTRE[1], z - CENTRE[2]
    hu = np.where(dx**2 / 44**2 + dy**2 / 44**2 + dz**2 / 60**2 < 1, 0.5 * dz + dx - 40, -1000)
    for value, centre in PROBES.items():
        near = np.maximum.reduce([abs(v - c) for v, c in zip((x, y, z), centre, strict=True)])
        hu = np.where(near <= PROBE_MM / 2, value, hu)
    return np.rint(hu)


def probe_labels(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """uint8 labels of the same places: 1, 2 ... in the probes' cubes, 0 elsewhere."""
    labels = np.zeros(x.shape, np.uint8)
    for label, centre in enumerate(PROBES.values(), 1):
        near = np.maximum.reduce([abs(v - c) for v, c in zip((x, y, z), centre, strict=True)])
        labels[near <= PROBE_MM / 2] = label
    return labels


def make_slices(geometry: Geometry, contents: Scene = scene) -> list[Slice]:
    """The geometry's slices, each sampling ``contents`` at its own pixels' places."""
    return [replace(p, hu=contents(*np.moveaxis(p.points, 2, 0))) for p in geometry.places()]


def of_volume(
    hu_ZYX: np.ndarray, spacing_ZYX: tuple[float, float, float], origin: Iterable[float]
) -> list[Slice]:
    """The slices of a volume in LPS order, e.g. of a NIfTI CT."""
    z, y, x = spacing_ZYX
    row, column = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    start = np.array(list(origin), float)
    return [
        Slice(hu, start + np.array([0, 0, k * z]), row, column, (y, x))
        for k, hu in enumerate(hu_ZYX)
    ]


def data_set(
    place: Slice, number: int, series: str = "1", slope: float = 1, intercept: float = -1024
) -> Dataset:
    """A classic CT image, explicit little endian. ``number`` is its InstanceNumber, from 1 on."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = f"{ROOT}.{series}.1.{number}"
    _about(ds, series)
    ds.AcquisitionNumber = 1
    ds.AcquisitionTime = "101500"
    ds.InstanceNumber = number
    ds.SliceThickness = 4
    ds.ImagePositionPatient = [decimal(v) for v in place.position]
    ds.ImageOrientationPatient = [decimal(v) for v in (*place.row, *place.column)]
    ds.PixelSpacing = [decimal(v) for v in place.spacing]
    ds.RescaleIntercept, ds.RescaleSlope = decimal(intercept), decimal(slope)
    ds.RescaleType = "HU"
    _pixels(ds, place.hu.shape)
    set_stored(ds, np.rint((place.hu - intercept) / slope))
    return ds


def set_stored(ds: Dataset, stored: np.ndarray) -> None:
    """Put stored values in, native, as the data set's pixel description says."""
    kind = ("<i" if ds.PixelRepresentation else "<u") + str(ds.BitsAllocated // 8)
    ds.PixelData = stored.astype(kind).tobytes()
    ds["PixelData"].VR = "OW"


def decimal(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return next(t for n in range(16, 0, -1) if len(t := f"{float(value):.{n}g}") <= 16)


def _about(ds: Dataset, series: str) -> None:
    ds.StudyDate, ds.StudyTime, ds.SeriesDate, ds.SeriesTime = (
        "20250102",
        "1000",
        "20250102",
        "1005",
    )
    ds.AccessionNumber = "A1"
    ds.Modality = "CT"
    ds.Manufacturer = "Maker"
    ds.ReferringPhysicianName = ""
    ds.PatientName, ds.PatientID = "Doe^Jane", "P1"
    ds.PatientBirthDate, ds.PatientSex = "19600101", "F"
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = f"{ROOT}.100"
    ds.SeriesInstanceUID = f"{ROOT}.{series}"
    ds.FrameOfReferenceUID = f"{ROOT}.200"
    ds.PositionReferenceIndicator = ""
    ds.StudyID, ds.SeriesNumber = "S1", 3


def _pixels(ds: Dataset, shape: tuple[int, ...]) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0


def write_series(
    folder: Path,
    slices: list[Slice],
    *,
    change: Change | None = None,
    syntax: str = ExplicitVRLittleEndian,
    series: str = "1",
    slope: float = 1,
    intercept: float = -1024,
) -> list[Path]:
    """One file per slice, ``IM0001`` on.

    Args:
        folder: made where it is not there.
        slices: in the order of their InstanceNumbers.
        change: called with each data set and its index before it is written; what it deletes or
            spoils is deleted or spoilt.
        syntax: transfer syntax.
        series: the last part of SeriesInstanceUID, and a part of each SOPInstanceUID.
        slope, intercept: of the stored values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, place in enumerate(slices):
        ds = data_set(place, k + 1, series, slope, intercept)
        if change:
            change(ds, k)
        paths.append(folder / f"IM{k + 1:04d}")
        paths[-1].write_bytes(encoded(ds, syntax))
    return paths


def write_enhanced(
    path: Path,
    slices: list[Slice],
    *,
    change: Callable[[Dataset], None] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    sop_class: str = EnhancedCTImageStorage,
    series: str = "1",
    slopes: list[float] | None = None,
) -> Path:
    """All slices as the frames of one Enhanced (or Legacy Converted Enhanced) CT image."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{ROOT}.{series}.1"
    _about(ds, series)
    ds.InstanceNumber = 1
    ds.NumberOfFrames = len(slices)
    _pixels(ds, slices[0].hu.shape)
    slopes = slopes or [1.0] * len(slices)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    first = slices[0]
    orientation.ImageOrientationPatient = [decimal(v) for v in (*first.row, *first.column)]
    measures.PixelSpacing = [decimal(v) for v in first.spacing]
    measures.SliceThickness = 4
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence(
        [
            _groups(place, k, slope)
            for k, (place, slope) in enumerate(zip(slices, slopes, strict=True))
        ]
    )
    stored = [np.rint((p.hu + 1024) / slope) for p, slope in zip(slices, slopes, strict=True)]
    set_stored(ds, np.stack(stored))
    if change:
        change(ds)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(ds, syntax))
    return path


def _groups(place: Slice, index: int, slope: float) -> Dataset:
    groups, content, position, values = Dataset(), Dataset(), Dataset(), Dataset()
    content.StackID, content.InStackPositionNumber = "1", index + 1
    content.FrameAcquisitionNumber = 1
    content.DimensionIndexValues = [1, index + 1]
    position.ImagePositionPatient = [decimal(v) for v in place.position]
    values.RescaleIntercept, values.RescaleSlope, values.RescaleType = "-1024", decimal(slope), "HU"
    groups.FrameContentSequence = Sequence([content])
    groups.PlanePositionSequence = Sequence([position])
    groups.PixelValueTransformationSequence = Sequence([values])
    return groups


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The file's bytes. ``ds`` holds native little endian pixels; they are encoded here.

    But for JPEG baseline, which it holds encoded.
    """
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID") or CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID") or f"{ROOT}.9"
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    elif syntax not in (*NATIVE, DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit):
        _compress(ds, syntax)
    buffer = io.BytesIO()
    little = syntax != ExplicitVRBigEndian
    ds.save_as(
        buffer,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=little,
        enforce_file_format=True,
    )
    return buffer.getvalue()


def _compress(ds: Dataset, syntax: str) -> None:
    """RLE by pydicom, JPEG-LS by pyjpegls, lossy JPEG 2000 by OpenJPEG, the rest by GDCM."""
    if syntax in (JPEG2000Lossless, JPEGLossless, JPEGLosslessSV1):
        count = int(ds.get("NumberOfFrames", 1))
        size = ds.Rows * ds.Columns * ds.BitsAllocated // 8
        frames = [ds.PixelData[k * size : (k + 1) * size] for k in range(count)]
        ds.PixelData = encapsulate([_by_gdcm(ds, frame, syntax) for frame in frames])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
        return
    more = {"j2k_cr": [10.0]} if syntax not in (RLELossless, JPEGLSLossless) else {}
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.compress(syntax, generate_instance_uid=False, **more)


def _by_gdcm(ds: Dataset, frame: bytes, syntax: str) -> bytes:
    import tempfile

    kind = ("<i" if ds.PixelRepresentation else "<u") + str(ds.BitsAllocated // 8)
    pixels = np.frombuffer(frame, kind).reshape(1, ds.Rows, ds.Columns)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "frame.dcm")
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG2000" if syntax == JPEG2000Lossless else "JPEG")
        writer.SetFileName(path)
        writer.Execute(sitk.GetImageFromArray(pixels))
        written = dcmread(path)
    return next(generate_frames(written.PixelData, number_of_frames=1))
