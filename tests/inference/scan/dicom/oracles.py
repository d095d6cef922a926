"""Other programs' readers of what is written, and one of the tests' own for RTSTRUCT."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from inference.scan.dicom.source import DicomSource
from tests.inference.scan.dicom.series_maker import PROBES


@dataclass(frozen=True)
class Plane:
    """Labels on one slice, with the place that the file itself states."""

    position: np.ndarray
    orientation: np.ndarray  # (2, 3): along a row, down a column
    spacing: np.ndarray  # between rows, between columns
    labels: np.ndarray


def seg_planes(path: Path) -> list[Plane]:
    """Every position of a SEG, segments put together, by the SEG's own geometry alone."""
    seg = dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    planes: dict[tuple[float, ...], np.ndarray] = {}
    for item, frame in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        position = tuple(map(float, item.PlanePositionSequence[0].ImagePositionPatient))
        plane = planes.setdefault(position, np.zeros(frame.shape, np.uint8))
        if "SegmentIdentificationSequence" in item:
            number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            assert not plane[frame > 0].any()
            plane[frame > 0] = number
        else:
            plane[:] = frame
    return [
        Plane(np.array(position), orientation.reshape(2, 3), spacing, labels)
        for position, labels in planes.items()
    ]


def label_at(planes: list[Plane], point: np.ndarray) -> int:
    """The label at a place in the patient, on the nearest slice."""

    def off(plane: Plane) -> float:
        return abs(float(np.cross(*plane.orientation) @ (point - plane.position)))

    plane = min(planes, key=off)
    column, row = plane.orientation @ (point - plane.position) / plane.spacing[::-1]
    return int(plane.labels[round(row), round(column)])


def assert_probes(planes: list[Plane]) -> None:
    """Each probe's label lies where the series' maker put its cube."""
    for label, centre in enumerate(PROBES.values(), 1):
        assert label_at(planes, centre) == label


def assert_probes_in_image(image: sitk.Image) -> None:
    """The same through SimpleITK's geometry."""
    for label, centre in enumerate(PROBES.values(), 1):
        assert image[image.TransformPhysicalPointToIndex(centre.tolist())] == label


def by_highdicom(path: Path, source: DicomSource) -> np.ndarray:
    """(n_frames, rows, columns) by highdicom's own reader, in the order of the source's frames."""
    from highdicom.seg import segread

    seg = segread(path)
    uids = [frame.sop_instance_uid for frame in source.frames]
    if len(set(uids)) == 1:
        numbers = [frame.frame + 1 for frame in source.frames]
        return seg.get_pixels_by_source_frame(
            uids[0],
            numbers,
            combine_segments=True,
            assert_missing_frames_are_empty=True,
            ignore_spatial_locations=False,
        ).astype(np.uint8)
    return seg.get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    ).astype(np.uint8)


def by_dcmqi(path: Path, folder: Path) -> tuple[sitk.Image, dict[int, dict[str, object]]]:
    """dcmqi's segimage2itkimage: one image of all labels, and what it says of each segment."""
    dcmqi = pytest.importorskip("dcmqi")
    tool = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    folder.mkdir(parents=True)
    command = [tool, "--inputDICOM", path, "--outputDirectory", folder, "--mergeSegments",
               "-t", "nrrd"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (image,) = folder.glob("*.nrrd")
    (meta,) = folder.glob("*.json")
    segments = [s for group in json.loads(meta.read_text())["segmentAttributes"] for s in group]
    return sitk.ReadImage(str(image)), {segment["labelID"]: segment for segment in segments}


def assert_same_places(image: sitk.Image, nifti: sitk.Image) -> None:
    """Two label images hold the same values at the same places of the patient.

    ``image`` may lack slices at its ends that hold nothing.
    """
    nearest = sitk.Resample(nifti, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    read = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(read, sitk.GetArrayFromImage(nearest))
    assert np.count_nonzero(read) == np.count_nonzero(sitk.GetArrayFromImage(nifti))


def rasterised(path: Path, source: DicomSource) -> np.ndarray:
    """(n_frames, rows, columns): an RTSTRUCT's contours filled, on the frames they refer to.

    A pixel is inside where a ray from its centre crosses one contour an odd number of times; each
    contour is filled alone, and the areas put together, which is what fails for holes that are
    contours of their own.
    """
    data = dcmread(path)
    out = np.zeros((len(source.frames), source.frames[0].rows, source.frames[0].columns), np.uint8)
    index = {(f.sop_instance_uid, f.frame): k for k, f in enumerate(source.frames)}
    for roi in data.ROIContourSequence:
        for contour in roi.get("ContourSequence", ()):
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            (image,) = contour.ContourImageSequence
            frame = int(image.get("ReferencedFrameNumber", 1)) - 1
            k = index[image.ReferencedSOPInstanceUID, frame]
            plane = out[k]
            inside = fill(_pixels(contour, source, k), plane.shape)
            plane[inside] = roi.ReferencedROINumber
    return out


def _pixels(contour: Dataset, source: DicomSource, k: int) -> np.ndarray:
    """A contour's points as (row, column), which must lie in the slice that it refers to."""
    points = np.array(contour.ContourData, float).reshape(-1, 3)
    assert len(points) == contour.NumberOfContourPoints >= 3
    frame = source.frames[k]
    across, down = np.array(frame.orientation).reshape(2, 3)
    relative = points - frame.position
    assert np.abs(relative @ np.cross(across, down)).max() < 0.002
    return np.stack(
        [relative @ down / frame.pixel_spacing[0], relative @ across / frame.pixel_spacing[1]], 1
    )


def fill(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixel centres inside a closed polygon of (row, column) points, by the even-odd rule."""
    inside = np.zeros(shape, bool)
    columns = np.arange(shape[1])
    for (r0, c0), (r1, c1) in zip(points, np.roll(points, -1, 0), strict=True):
        rows = np.arange(
            max(0, np.ceil(min(r0, r1))), min(shape[0], np.ceil(max(r0, r1))), dtype=int
        )
        if len(rows):
            at = c0 + (rows - r0) * (c1 - c0) / (r1 - r0)
            inside[rows] ^= columns < at[:, None]
    return inside


def dciodvfy(path: Path) -> list[str]:
    """The errors that Debian's dicom3tools find in a file."""
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("no dciodvfy: apt-get install dicom3tools")
    done = subprocess.run([tool, path], capture_output=True, text=True, check=False, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]


def by_plastimatch(path: Path, series: Path, folder: Path) -> dict[str, sitk.Image]:
    """plastimatch's masks of an RTSTRUCT on a series' own raster, by the structures' names."""
    plastimatch = pytest.importorskip("plastimatch")
    tool = Path(plastimatch.__file__).parent / "bin" / "plastimatch"
    command = [tool, "convert", "--input", path, "--referenced-ct", series,
               "--output-prefix", folder, "--prefix-format", "nrrd"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file.stem: sitk.ReadImage(str(file)) for file in sorted(folder.glob("*.nrrd"))}
