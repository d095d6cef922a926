"""Eight orientations of the patient, five kinds of stack: every voxel at its place, in mm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.grid import Grid, Orientation
from inference.scan.dicom.reading import source_of
from inference.scan.volume import Volume, read_volume
from tests.inference.scan.dicom.series_maker import (
    CENTRE,
    ORIENTATIONS,
    PROBE_MM,
    PROBES,
    Geometry,
    Slice,
    make_slices,
    probe_labels,
    scene,
    write_enhanced,
    write_series,
)

EVEN = Geometry().along
UNEVEN = tuple(float(v) for v in np.cumsum((0, 3, 5, 4, 6, 3, 4, 5, 3, 6, 4, 3, 5, 4, 3)))
STACKS: dict[str, Callable[[Geometry], Geometry]] = {
    "even": lambda g: g,
    "tilted": lambda g: replace(g, tilt=12.0),
    "uneven": lambda g: replace(g, along=UNEVEN),
    "one missing": lambda g: replace(g, along=EVEN[:6] + EVEN[7:]),
    "Enhanced": lambda g: g,
}


def made(folder: Path, orientation: str, stack: str) -> tuple[Volume, list[Slice]]:
    slices = make_slices(STACKS[stack](Geometry(orientation)))
    if stack == "Enhanced":
        write_enhanced(folder / "ct.dcm", slices)
    else:
        write_series(folder, slices)
    return read_volume(folder), slices


def places(grid: Grid) -> np.ndarray:
    """(3, z, y, x): where the grid's voxels lie, mm. By SimpleITK, not by Grid."""
    image = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    spots = sitk.GetArrayFromImage(sitk.PhysicalPointSource(
        sitk.sitkVectorFloat64, image.GetSize(), image.GetOrigin(), image.GetSpacing(),
        image.GetDirection(),
    ))  # fmt: skip
    return np.moveaxis(spots, 3, 0)


def to_a_border(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """mm from the border of the nearest probe's cube, at least."""
    return np.minimum.reduce([
        abs(np.maximum.reduce([abs(v - c) for v, c in zip((x, y, z), centre, strict=True)])
            - PROBE_MM / 2)
        for centre in PROBES.values()
    ])  # fmt: skip


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_probes_are_found_and_labels_come_back(tmp_path: Path, orientation: str, stack: str):
    volume, slices = made(tmp_path, orientation, stack)
    check_probes(volume)
    source = volume.source
    assert source is not None
    assert source.exact == (stack not in ("tilted", "uneven"))
    back = source.labels_on_frames(probe_labels(*places(volume.grid)))
    assert back.shape == (len(slices), *slices[0].hu.shape)
    assert len(np.unique(back)) == len(PROBES) + 1
    by_place = {tuple(np.round(s.position, 3)): s for s in slices}
    for frame, labels in zip(source.frames, back, strict=True):
        spots = np.moveaxis(by_place[tuple(np.round(frame.position, 3))].points, 2, 0)
        truth = probe_labels(*spots)
        if source.exact:
            np.testing.assert_array_equal(labels, truth)
        else:  # half a voxel of the volume along each axis, at the most
            sure = to_a_border(*spots) > np.linalg.norm(volume.grid.spacing) / 2
            np.testing.assert_array_equal(labels[sure], truth[sure])


def check_probes(volume: Volume) -> None:
    """Each probe's own HU lies at its own point of the patient, in the network's order of axes."""
    image_ZYX, grid = volume.canonical()
    spots = places(grid)
    for value, centre in PROBES.items():
        nearest = np.argmin(sum((axis - c) ** 2 for axis, c in zip(spots, centre, strict=True)))
        assert image_ZYX.ravel()[nearest] == value


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("stack", ["even", "Enhanced"])
def test_every_voxel_of_an_even_stack(tmp_path: Path, orientation: str, stack: str):
    volume, slices = made(tmp_path, orientation, stack)
    np.testing.assert_array_equal(volume.voxels_ZYX, scene(*np.round(places(volume.grid), 6)))
    assert volume.warnings == ()
    stored = {tuple(np.round(s.position, 3)): s.hu for s in slices}
    assert volume.source is not None
    for frame, plane in zip(volume.source.frames, volume.voxels_ZYX, strict=True):
        np.testing.assert_array_equal(plane, stored[tuple(np.round(frame.position, 3))])


@pytest.mark.parametrize("tilt", [5.0, -12.0, 20.0])
@pytest.mark.parametrize("orientation", ["head first supine", "oblique", "coronal"])
def test_gantry_tilt(tmp_path: Path, orientation: str, tilt: float):
    def contents(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """No air, so that whatever a slice has seen must be right, up to the stack's edges."""
        smooth = np.rint(0.3 * (x - CENTRE[0]) + 0.5 * (z - CENTRE[2]) - 40)
        return np.where(probe_labels(x, y, z), scene(x, y, z), smooth)

    slices = make_slices(Geometry(orientation, tilt=tilt), contents)
    write_series(tmp_path, slices)
    volume = read_volume(tmp_path)
    assert any(f"tilted by {abs(tilt):.1f} degrees" in note for note in volume.warnings)
    spots = places(volume.grid)
    seen = volume.voxels_ZYX > -900
    # A pixel from the cubes' borders, where two materials mix.
    sure = (to_a_border(*spots) > 2.7) & seen
    assert sure.sum() > 0.6 * sum(s.hu.size for s in slices)
    assert abs(volume.voxels_ZYX[sure] - contents(*spots)[sure]).max() <= 2  # rounding, mixing


def test_the_box_that_holds_a_tilted_stack_cuts_nothing_off(tmp_path: Path):
    slices = make_slices(Geometry(tilt=20.0), lambda x, y, z: np.full(x.shape, 50.0))
    write_series(tmp_path, slices)
    volume = read_volume(tmp_path)
    counts = (volume.voxels_ZYX == 50).sum(axis=(1, 2))
    assert (counts >= slices[0].hu.size).all()


def test_source_without_pixels_is_the_volumes(tmp_path: Path):
    write_series(tmp_path, make_slices(Geometry("sagittal", tilt=8.0)))
    assert source_of(tmp_path) == read_volume(tmp_path).source


def test_canonical_order_sees_the_same_patient(tmp_path: Path):
    """All axis-parallel orientations of one isotropic scene give the network one array."""
    geometry = Geometry(shape=(16, 16), spacing=(4.0, 4.0), along=EVEN)
    seen = []
    for orientation in ORIENTATIONS:
        if orientation == "oblique":
            continue
        folder = tmp_path / orientation
        write_series(folder, make_slices(replace(geometry, orientation=orientation)))
        image_ZYX, grid = read_volume(folder).canonical()
        assert Orientation.of(grid.direction).axes == (0, 1, 2)
        np.testing.assert_allclose(grid.origin, CENTRE - 30.0, atol=1e-6)
        seen.append(image_ZYX)
    for image_ZYX in seen[1:]:
        np.testing.assert_array_equal(image_ZYX, seen[0])


def test_labels_of_another_shape_are_refused(tmp_path: Path):
    write_series(tmp_path, make_slices(Geometry()))
    source = source_of(tmp_path)
    with pytest.raises(ValueError, match="not \\(16, 40, 48\\)"):
        source.labels_on_frames(np.zeros((16, 48, 40), np.uint8))
