"""Labels of every format lie on the source's own slices: orientations x kinds of series x formats.

Each is read by other programs and compared voxel for voxel with the NIfTI labels of the same scan,
and by probes in patient mm with what the series' maker put there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.scan.formats import SEG_TYPES, SegType
from inference.scan.volume import read_labels
from inference.scan.writing import LabelWriter
from tests.inference.scan.dicom.oracles import (
    Plane,
    assert_probes,
    assert_probes_in_image,
    assert_same_places,
    by_dcmqi,
    by_highdicom,
    dciodvfy,
    rasterised,
    seg_planes,
)
from tests.inference.scan.dicom.scans import ALGORITHM, MATRIX, SHARE, MadeScan, make_scan

CASES = [
    pytest.param(case, id="-".join(case), marks=() if case in SHARE else pytest.mark.slow)
    for case in MATRIX
]


@pytest.fixture(scope="module", params=CASES)
def scan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MadeScan:
    orientation, kind = request.param
    return make_scan(tmp_path_factory.mktemp("series"), orientation, kind)


@pytest.fixture(scope="module")
def write(scan: MadeScan, tmp_path_factory: pytest.TempPathFactory):
    """A function that writes the scan's labels in a format, and returns the file."""
    folder = tmp_path_factory.mktemp("written")

    def written(form: str, suffix: str, seg_type: SegType = "labelmap") -> Path:
        volume = scan.volume
        result = LabelWriter(scan.labels, volume.grid, volume.header, scan.source, ALGORITHM)
        path = folder / f"{form}-{seg_type}{suffix}"
        result.write(form, path, seg_type=seg_type)
        return path

    return written


def nifti_on_frames(path: Path, scan: MadeScan) -> np.ndarray:
    """The NIfTI labels at the source's slices, by the reader's own way back."""
    labels, _ = read_labels(path)
    return scan.source.labels_on_frames(labels)


def test_nifti(scan: MadeScan, write):
    path = write("nifti", ".nii.gz")
    assert_probes_in_image(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(nifti_on_frames(path, scan), scan.on_frames)


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_seg(scan: MadeScan, write, seg_type: SegType):
    path, nifti = write("dicom-seg", ".dcm", seg_type), write("nifti", ".nii.gz")
    expected = nifti_on_frames(nifti, scan)
    np.testing.assert_array_equal(by_highdicom(path, scan.source), expected)
    planes = seg_planes(path)
    assert_probes(planes)
    truth = {tuple(np.round(place.position, 4)) for place in scan.slices}
    said = [tuple(np.round(plane.position, 4)) for plane in planes]
    assert len(set(said)) == len(said) and set(said) <= truth
    if seg_type == "labelmap":
        assert len(said) == len(truth)
    else:
        assert dciodvfy(path) == []


@pytest.mark.parametrize("seg_type", SEG_TYPES)
def test_seg_by_dcmqi(scan: MadeScan, write, seg_type: SegType, tmp_path: Path):
    path, nifti = write("dicom-seg", ".dcm", seg_type), write("nifti", ".nii.gz")
    image, _ = by_dcmqi(path, tmp_path / "out")
    labels = sitk.ReadImage(str(nifti))
    grid = scan.source.grid
    if scan.source.exact:
        # A slice that the series lacks is made up in the NIfTI file, and empty in dcmqi's.
        for z in set(range(grid.shape[0])) - set(scan.source.slices):
            labels[:, :, z] = 0
        assert_same_places(image, labels)
    else:
        # ITK's images know neither shear nor uneven steps: plane by plane, then.
        frames = scan.on_frames
        used = np.flatnonzero(frames.any((1, 2)))
        read = sitk.GetArrayFromImage(image)
        first = 0 if seg_type == "labelmap" else int(used[0])
        np.testing.assert_array_equal(read, frames[first : first + len(read)])


def test_rtstruct(scan: MadeScan, write):
    path, nifti = write("rtstruct", ".dcm"), write("nifti", ".nii.gz")
    filled = rasterised(path, scan.source)
    # Better than a DSC of 0.98: pixel centres are the labels, exactly.
    np.testing.assert_array_equal(filled, nifti_on_frames(nifti, scan))
    assert_probes(
        [
            Plane(
                np.array(frame.position),
                np.array(frame.orientation).reshape(2, 3),
                np.array(frame.pixel_spacing),
                labels,
            )
            for frame, labels in zip(scan.source.frames, filled, strict=True)
        ]
    )
    assert dciodvfy(path) == []


def test_seg_nrrd(write):
    path, nifti = write("seg-nrrd", ".seg.nrrd"), write("nifti", ".nii.gz")
    image, labels = sitk.ReadImage(str(path)), sitk.ReadImage(str(nifti))
    assert_probes_in_image(image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(labels))
    np.testing.assert_allclose(image.GetOrigin(), labels.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(image.GetSpacing(), labels.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(image.GetDirection(), labels.GetDirection(), atol=1e-6)
