"""The phantom's promises: plausible organs in the right places, one patient on every grid."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from examples.overlay import organ_volumes
from inference.grid import Grid, Orientation
from inference.labels import NAMES, ORGANS, TUMOR
from phantom import PHASES, Phantom, grid_at, make_anatomy, make_phantom, sample
from phantom.__main__ import main

SEEDS = (0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2)))
WHOLE = ((80, 88, 100), (3.5, 3.2, 3.2))  # all organs but the ends of the long tubes
COARSE = ((56, 70, 80), (5.0, 4.0, 4.0))
SMALL = ((24, 40, 40), (10.0, 8.0, 8.0))
ROUNDING_HU = 2

# Millilitres, the range over patients; the long tubes as far as the field of view shows them.
VOLUMES_ML = {
    "liver": (1100, 2000),
    "right kidney": (120, 220),
    "left kidney": (120, 220),
    "spleen": (120, 350),
    "pancreas": (50, 120),
    "aorta": (50, 200),
    "inferior vena cava": (50, 160),
    "right adrenal gland": (2, 7),
    "left adrenal gland": (2, 7),
    "gallbladder": (15, 70),
    "esophagus": (6, 50),
    "stomach": (150, 500),
    "duodenum": (40, 120),
}
# Median HU in the portal venous phase.
PORTAL_HU = {
    "liver": (90, 120),
    "right kidney": (140, 200),
    "left kidney": (140, 200),
    "spleen": (95, 135),
    "pancreas": (70, 105),
    "aorta": (120, 175),
    "inferior vena cava": (105, 150),
    "gallbladder": (-5, 35),
    "stomach": (-20, 95),
}


@cache
def whole(seed: int) -> Phantom:
    return make_phantom(*WHOLE, seed, tumor=False)


def median_hu(phantom: Phantom, name: str) -> float:
    value = next(v for v, n in NAMES.items() if n == name)
    return float(np.median(phantom.image_ZYX[phantom.labels_ZYX == value]))


@pytest.mark.parametrize("seed", SEEDS)
def test_organ_volumes_are_those_of_adults(seed: int) -> None:
    volumes = organ_volumes(whole(seed).labels_ZYX, whole(seed).grid)
    assert set(volumes) == set(VOLUMES_ML)
    for name, (low, high) in VOLUMES_ML.items():
        assert low <= volumes[name] <= high, (name, volumes[name])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_organ_is_one_piece(seed: int) -> None:
    for value in ORGANS:
        organ = whole(seed).labels_ZYX == value
        _, pieces = ndimage.label(organ, np.ones((3, 3, 3)))
        assert pieces == 1, NAMES[value]


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_lie_on_their_side(seed: int) -> None:
    labels = whole(seed).labels_ZYX
    center = {
        name: np.argwhere(labels == value).mean(axis=0)  # z, y, x; all axes grow in LPS
        for value, name in NAMES.items()
        if value != TUMOR
    }
    for right, left in (
        ("liver", "spleen"),
        ("right kidney", "left kidney"),
        ("right adrenal gland", "left adrenal gland"),
        ("inferior vena cava", "aorta"),
        ("gallbladder", "stomach"),
        ("duodenum", "stomach"),
    ):
        assert center[right][2] < center[left][2], (right, left)
    assert center["esophagus"][0] > center["stomach"][0] > center["duodenum"][0]
    assert center["right adrenal gland"][0] > center["right kidney"][0]
    assert center["stomach"][1] < center["pancreas"][1] < center["left kidney"][1]


@pytest.mark.parametrize("seed", SEEDS)
def test_portal_venous_hu(seed: int) -> None:
    for name, (low, high) in PORTAL_HU.items():
        assert low <= median_hu(whole(seed), name) <= high, name


def test_phases_differ_as_they_should() -> None:
    assert set(PHASES) == {"plain", "arterial", "portal"}
    slab = ((10, 70, 80), (5.0, 4.0, 4.0))
    plain, arterial, portal = (
        make_phantom(*slab, 0, tumor=False, phase=phase, center_mm=(0.0, -45.0, 20.0))
        for phase in ("plain", "arterial", "portal")
    )
    assert 15 < median_hu(plain, "aorta") < 55
    assert median_hu(arterial, "aorta") > median_hu(portal, "aorta") + 80
    assert median_hu(portal, "liver") > median_hu(arterial, "liver") + 15
    np.testing.assert_array_equal(plain.labels_ZYX, portal.labels_ZYX)


@pytest.mark.slow
def test_same_seed_same_phantom_other_seed_another() -> None:
    one, again, other = (make_phantom(*SMALL, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one.image_ZYX, again.image_ZYX)
    np.testing.assert_array_equal(one.labels_ZYX, again.labels_ZYX)
    assert one.grid == again.grid
    assert (one.labels_ZYX != other.labels_ZYX).mean() > 0.02
    assert one.image_ZYX.dtype == np.int16
    assert one.labels_ZYX.dtype == np.uint8


@pytest.mark.slow
def test_two_spacings_show_the_same_organs() -> None:
    volumes = organ_volumes(whole(1).labels_ZYX, whole(1).grid)
    phantom = make_phantom(*COARSE, 1, tumor=False)
    coarse = organ_volumes(phantom.labels_ZYX, phantom.grid)
    for name in ("liver", "spleen", "right kidney", "left kidney", "stomach"):
        assert coarse[name] == pytest.approx(volumes[name], rel=0.03), name
    for name in ("pancreas", "duodenum", "gallbladder"):
        assert coarse[name] == pytest.approx(volumes[name], rel=0.10), name


@pytest.mark.slow
def test_a_slab_is_a_part_of_the_whole() -> None:
    anatomy, whole = make_anatomy(3), grid_at(*COARSE)
    slab = Grid((6, 30, 50), whole.spacing, tuple(whole.physical((20, 10, 5))))  # type: ignore[arg-type]
    image, labels = sample(anatomy, whole, noise_hu=0)
    slab_image, slab_labels = sample(anatomy, slab, noise_hu=0)
    where = np.s_[20:26, 10:40, 5:55]
    np.testing.assert_array_equal(slab_labels, labels[where])
    assert np.abs(slab_image.astype(int) - image[where]).max() <= ROUNDING_HU


@pytest.mark.slow
def test_all_axis_orders_and_flips_show_the_same_patient() -> None:
    anatomy, whole = make_anatomy(2), grid_at((36, 40, 48), (6.0, 5.0, 4.5))
    image, labels = sample(anatomy, whole, noise_hu=0)
    for axes, flips in (
        ((0, 1, 2), (True, False, True)),
        ((2, 0, 1), (False, True, False)),
        ((1, 0, 2), (True, True, False)),
        ((2, 1, 0), (False, False, True)),
    ):
        orientation = Orientation(axes, flips)
        grid = _stored(whole, orientation)
        assert Orientation.of(grid.direction) == orientation
        turned_image, turned_labels = sample(anatomy, grid, noise_hu=0)
        np.testing.assert_array_equal(orientation.apply(turned_labels), labels)
        assert np.abs(orientation.apply(turned_image).astype(int) - image).max() <= ROUNDING_HU


def _stored(canonical: Grid, orientation: Orientation) -> Grid:
    """The grid that ``orientation`` brings to ``canonical``, an identity-direction grid."""
    shape, spacing, columns, start = [0] * 3, [0.0] * 3, np.zeros((3, 3)), [0.0] * 3
    for axis, (stored, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
        shape[stored], spacing[stored] = canonical.shape[axis], canonical.spacing[axis]
        columns[2 - axis, 2 - stored] = -1 if flip else 1
        start[axis] = canonical.shape[axis] - 1 if flip else 0
    origin = canonical.physical((start[0], start[1], start[2]))
    return Grid(tuple(shape), tuple(spacing), tuple(origin), tuple(columns.ravel()))  # type: ignore[arg-type]


@pytest.mark.slow
def test_oblique_grid_keeps_the_volumes() -> None:
    angle = np.radians(12)
    c, s = float(np.cos(angle)), float(np.sin(angle))
    tilted = make_phantom(*COARSE, 0, tumor=False, direction=(1, 0, 0, 0, c, -s, 0, s, c))
    straight = organ_volumes(whole(0).labels_ZYX, whole(0).grid)
    volumes = organ_volumes(tilted.labels_ZYX, tilted.grid)
    for name in ("liver", "spleen", "left kidney"):
        assert volumes[name] == pytest.approx(straight[name], rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_tumor_replaces_a_part_of_one_organ(seed: int) -> None:
    ill = make_phantom(*WHOLE, seed)
    tumor = ill.labels_ZYX == TUMOR
    assert tumor.any()
    hosts = np.unique(whole(seed).labels_ZYX[tumor])
    assert len(hosts) == 1
    assert hosts[0] in ORGANS
    np.testing.assert_array_equal(ill.labels_ZYX[~tumor], whole(seed).labels_ZYX[~tumor])


def test_fields_of_view_beyond_the_patient() -> None:
    above = make_phantom((4, 16, 16), (5.0, 20.0, 20.0), 0, center_mm=(0.0, -45.0, 250.0))
    assert set(np.unique(above.labels_ZYX)) <= {0, 5, 10}
    air = make_phantom((3, 8, 8), (5.0, 5.0, 5.0), 0, center_mm=(0.0, -500.0, 0.0))
    assert not air.labels_ZYX.any()
    assert abs(float(air.image_ZYX.mean()) + 1000) < 5
    one = make_phantom((1, 1, 1), (1.0, 1.0, 1.0), 0, center_mm=(-100.0, -60.0, 10.0))
    assert one.labels_ZYX.item() == 1


def test_noise_has_the_stated_deviation() -> None:
    shape, spacing = (4, 96, 96), (3.0, 1.0, 1.0)
    clean, noisy = (make_phantom(shape, spacing, 0, noise_hu=sd).image_ZYX for sd in (0.0, 15.0))
    assert (noisy.astype(float) - clean).std() == pytest.approx(15, rel=0.03)


def test_command_line_writes_scan_and_labels(tmp_path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    main(f"--out {tmp_path} --shape 8 16 20 --spacing 20 20 18 --seed 5 --count 2".split())
    for seed in (5, 6):
        scan = sitk.ReadImage(str(tmp_path / f"phantom_{seed}_0000.nii.gz"))
        labels = sitk.ReadImage(str(tmp_path / "labels" / f"phantom_{seed}.nii.gz"))
        assert scan.GetSize() == labels.GetSize() == (20, 16, 8)
        assert scan.GetSpacing() == pytest.approx((18, 20, 20))
        assert labels.GetPixelIDTypeAsString() == "8-bit unsigned integer"
        assert scan.GetOrigin() == pytest.approx(labels.GetOrigin())


def test_a_folder_that_cannot_be_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as leaving:
        main(["--out", str(tmp_path / "file" / "out"), "--shape", "8", "8", "8"])
    assert leaving.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot be written to" in error
