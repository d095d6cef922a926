"""3D Slicer's segmentation files, as SimpleITK and slicerio read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings

from inference.errors import OutputError
from inference.grid import Direction, Grid
from inference.labels import ORGANS, STRUCTURES
from inference.scan.remarks import Remarks
from inference.scan.segmentation_nrrd import write_segmentation_nrrd
from inference.scan.volume import read_labels
from tests.inference.orientations import AXIS_ALIGNED, oblique

GRID = Grid((5, 6, 7), (2.5, 0.8, 0.7), (-100.5, 20.25, 3.0))


def some_labels(shape: tuple[int, ...]) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 15).reshape(shape).astype(np.uint8)


def check_places(path: Path, direction: Direction) -> None:
    grid = Grid(GRID.shape, GRID.spacing, GRID.origin, direction)
    labels = some_labels(grid.shape)
    write_segmentation_nrrd(path, labels, grid)
    image = sitk.ReadImage(str(path))
    assert image.GetPixelID() == sitk.sitkUInt8
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), labels)
    for index in ((0, 0, 0), (4, 5, 6), (1, 0, 3)):
        point = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(point, grid.physical(index), atol=1e-9)


def test_all_orientations(tmp_path: Path):
    for direction in AXIS_ALIGNED:
        check_places(tmp_path / "a.seg.nrrd", direction)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(oblique())
def test_any_direction(tmp_path: Path, direction: Direction):
    check_places(tmp_path / "a.seg.nrrd", direction)


def test_slicerio_reads_names_colours_and_terminology(tmp_path: Path):
    slicerio = pytest.importorskip("slicerio")
    labels = some_labels(GRID.shape)
    labels[labels == 9] = 0  # absent, and described all the same
    write_segmentation_nrrd(tmp_path / "a.seg.nrrd", labels, GRID)
    read = slicerio.read_segmentation(str(tmp_path / "a.seg.nrrd"))
    np.testing.assert_array_equal(read["voxels"], labels.transpose(2, 1, 0))
    assert read["containedRepresentationNames"] == ["Binary labelmap"]
    segments = {segment["labelValue"]: segment for segment in read["segments"]}
    assert list(segments) == list(STRUCTURES)
    assert len({segment["id"] for segment in read["segments"]}) == len(STRUCTURES)
    for value, one in STRUCTURES.items():
        segment = segments[value]
        assert segment["name"] == one.name
        assert tuple(round(255 * part) for part in segment["color"]) == one.rgb
        said = segment["terminology"]
        assert said["category"] == ["SCT", one.category.value, one.category.meaning]
        assert said["type"] == ["SCT", one.type.value, one.type.meaning]
        side = one.modifier
        assert said.get("typeModifier") == (side and ["SCT", side.value, side.meaning])
        region = one.region
        assert said.get("anatomicRegion") == (region and ["SCT", region.value, region.meaning])


def test_doubts_are_tags_that_slicerio_keeps(tmp_path: Path):
    slicerio = pytest.importorskip("slicerio")
    path, labels = tmp_path / "a.seg.nrrd", some_labels(GRID.shape)
    words = {value: f"doubtful, score 0.{value:02}: odd; at 10:30" for value in ORGANS}
    write_segmentation_nrrd(path, labels, GRID, Remarks(words, ("askew", "odder := yes")))
    read = slicerio.read_segmentation(str(path))
    slicerio.write_segmentation(str(tmp_path / "b.seg.nrrd"), read)
    again = slicerio.read_segmentation(str(tmp_path / "b.seg.nrrd"))
    for one in (read, again):
        np.testing.assert_array_equal(one["voxels"], labels.transpose(2, 1, 0))
        tags = {segment["labelValue"]: segment.get("tags") for segment in one["segments"]}
        expected = {v: {"abdobox.Doubt": words[v]} if v in words else None for v in STRUCTURES}
        assert tags == expected
        assert {segment["status"] for segment in one["segments"]} == {"completed"}
        assert all("terminology" in segment for segment in one["segments"])
    assert read["abdobox.ScanDoubts"] == "askew; odder := yes"
    image = sitk.ReadImage(str(path))
    assert image.GetMetaData("abdobox.ScanDoubts") == "askew; odder := yes"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), labels)
    np.testing.assert_array_equal(read_labels(path)[0], labels)


def test_words_cannot_end_a_tag_or_the_header(tmp_path: Path):
    slicerio = pytest.importorskip("slicerio")
    path, labels = tmp_path / "a.seg.nrrd", some_labels(GRID.shape)
    odd = "a|b\n\nc\\nd \u00e9"
    write_segmentation_nrrd(path, labels, GRID, Remarks({1: odd}, (odd,)))
    read = slicerio.read_segmentation(str(path))
    np.testing.assert_array_equal(read["voxels"], labels.transpose(2, 1, 0))
    assert read["segments"][0]["tags"] == {"abdobox.Doubt": "a?b??c?nd ?"}
    assert read["abdobox.ScanDoubts"] == "a?b??c?nd ?"


def test_without_doubts_nothing_is_said(tmp_path: Path):
    write_segmentation_nrrd(tmp_path / "a.seg.nrrd", some_labels(GRID.shape), GRID)
    header = (tmp_path / "a.seg.nrrd").read_bytes().partition(b"\n\n")[0]
    assert b"oubt" not in header


def test_a_second_run_writes_the_same_file(tmp_path: Path):
    for name in ("a.seg.nrrd", "b.seg.nrrd"):
        write_segmentation_nrrd(tmp_path / name, some_labels(GRID.shape), GRID)
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()


def test_labels_from_any_strides(tmp_path: Path):
    labels = some_labels((7, 6, 5)).transpose(2, 1, 0)[:, ::-1]
    write_segmentation_nrrd(tmp_path / "a.seg.nrrd", labels, GRID)
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.seg.nrrd")))
    np.testing.assert_array_equal(read, labels)


def test_another_name_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="is no name for a segmentation"):
        write_segmentation_nrrd(tmp_path / "a.nrrd", some_labels(GRID.shape), GRID)
