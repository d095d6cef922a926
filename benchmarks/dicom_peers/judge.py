"""Written labels, compared with what belongs on the source's own slices, by the files alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import dcmread

from benchmarks.dicom_peers.scene import labels_at
from tests.inference.scan.dicom.oracles import Plane, fill, seg_planes

Key = tuple[float, ...]


def wanted_planes(folder: Path) -> dict[str, Plane]:
    """What belongs on each slice of a series: by its instance's UID, and its frame from 1 on."""
    planes = {}
    for path in sorted(folder.iterdir()):
        data = dcmread(path)
        if "LOCALIZER" in data.ImageType:
            continue
        if "PerFrameFunctionalGroupsSequence" in data:
            shared = data.SharedFunctionalGroupsSequence[0]
            orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
            spacing = shared.PixelMeasuresSequence[0].PixelSpacing
            places = [
                item.PlanePositionSequence[0].ImagePositionPatient
                for item in data.PerFrameFunctionalGroupsSequence
            ]
        else:
            orientation, spacing = data.ImageOrientationPatient, data.PixelSpacing
            places = [data.ImagePositionPatient]
        for number, place in enumerate(places, 1):
            planes[f"{data.SOPInstanceUID} {number}"] = _plane(
                np.array(place, float),
                np.array(orientation, float).reshape(2, 3),
                np.array(spacing, float),
                (data.Rows, data.Columns),
            )
    return planes


def _plane(
    position: np.ndarray, axes: np.ndarray, spacing: np.ndarray, shape: tuple[int, int]
) -> Plane:
    r, c = np.meshgrid(*map(np.arange, shape), indexing="ij")
    points = (
        position + (r * spacing[0])[..., None] * axes[1] + (c * spacing[1])[..., None] * axes[0]
    )
    return Plane(position, axes, spacing, labels_at(np.round(points, 3)))


def _key(plane: Plane) -> Key:
    return tuple(np.round((*plane.position, *plane.orientation.ravel()), 2) + 0.0)


def seg_dice(path: Path, wanted: dict[str, Plane]) -> float:
    """The DSC of a SEG's labels, all together, with those that belong on the slices."""
    written = {_key(plane): plane.labels for plane in seg_planes(path)}
    return _dice(written, wanted)


def structure_set_dice(path: Path, wanted: dict[str, Plane]) -> float:
    """The same of an RTSTRUCT: centres of pixels within the contours of a slice."""
    data = dcmread(path)
    drawn = {key: np.zeros_like(plane.labels) for key, plane in wanted.items()}
    for number, roi in enumerate(data.ROIContourSequence, 1):
        inside = {key: np.zeros(plane.labels.shape, bool) for key, plane in wanted.items()}
        for contour in roi.get("ContourSequence", ()):
            (image,) = contour.ContourImageSequence
            key = f"{image.ReferencedSOPInstanceUID} {image.get('ReferencedFrameNumber', 1)}"
            plane = wanted[key]
            relative = np.array(contour.ContourData, float).reshape(-1, 3) - plane.position
            normal = np.cross(*plane.orientation)
            if np.abs(relative @ normal).max() > 0.1:  # it lies beside the slice that it names
                continue
            pixels = (relative @ plane.orientation[::-1].T) / plane.spacing
            inside[key] ^= fill(pixels, plane.labels.shape)
        for key, mask in inside.items():
            drawn[key][mask] = number
    written: dict[Key, np.ndarray] = {}
    for key, plane in wanted.items():  # slices that are there twice have contours once
        place = _key(plane)
        written[place] = np.maximum(written.get(place, np.uint8(0)), drawn[key])
    return _dice(written, wanted)


def _dice(written: dict[Key, np.ndarray], wanted: dict[str, Plane]) -> float:
    truth = {_key(plane): plane.labels for plane in wanted.values()}
    both = alike = 0
    for key in {*written, *truth}:
        zero = np.zeros(1, np.uint8)
        a, b = written.get(key, zero), truth.get(key, zero)
        both += np.count_nonzero(a) + np.count_nonzero(b)
        alike += 2 * np.count_nonzero((a == b) & (b > 0))
    return alike / both
