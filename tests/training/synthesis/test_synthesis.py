"""Synthetic CT on a hand-made torso of boxes and cylinders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.labels import NAMES
from tests.training.dataset_files import SHARED, save
from training.synthesis.anatomy import (
    MARGIN,
    POSITIONS,
    Anatomy,
    AnatomyError,
    anatomy_of,
    build_anatomy,
    height_positions,
    radial_distance,
)
from training.synthesis.draw import Draw
from training.synthesis.geometry import draw_pose
from training.synthesis.source import SyntheticSource, load_anatomies
from training.synthesis.tissues import LABELS, Tissue, tissue_of

STRUCTURES = {
    1: "spleen",
    2: "kidney_right",
    3: "kidney_left",
    5: "liver",
    6: "stomach",
    10: "lung_lower_lobe_left",
    29: "vertebrae_L3",
    52: "aorta",
    96: "rib_left_5",
}
PATCH, SPACING = (32, 48, 48), (6.0, 6.0, 6.0)


def torso_ids() -> np.ndarray:
    """Structure ids in a 60 x 60 x 80 volume of 4 mm voxels: the liver to the patient's right."""
    ids = np.zeros((60, 60, 80), np.uint8)
    ids[20:45, 15:40, 12:36] = 5
    ids[25:42, 25:40, 55:68] = 1
    ids[25:45, 14:30, 40:54] = 6
    ids[8:22, 35:46, 18:27] = 2
    ids[8:22, 35:46, 52:61] = 3
    ids[:, 40:46, 36:44] = 29
    ids[:, 34:38, 38:42] = 52
    ids[48:, 15:40, 45:66] = 10
    return ids


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return anatomy_of(torso_ids(), (4.0, 4.0, 4.0), STRUCTURES)


@pytest.fixture(scope="module")
def source(anatomy: Anatomy) -> SyntheticSource:
    return SyntheticSource([anatomy], SPACING)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_flare_organ_has_a_tissue() -> None:
    assert set(LABELS.values()) == set(NAMES) - {14}
    assert tissue_of("rib_right_12") is Tissue.BONE
    with pytest.raises(KeyError, match="antler"):
        tissue_of("antler")


def test_structures_keep_their_voxels_and_hollow_organs_get_a_lumen(anatomy: Anatomy) -> None:
    ids, tissues = torso_ids(), anatomy.codes_ZYX >> 8
    assert (tissues[ids == 5] == Tissue.LIVER).all()
    stomach = tissues[ids == 6]
    assert set(np.unique(stomach)) == {Tissue.STOMACH_WALL, Tissue.STOMACH_LUMEN}
    assert tissues[26, 20, 47] == Tissue.STOMACH_LUMEN and tissues[26, 14, 47] == (
        Tissue.STOMACH_WALL
    )
    assert anatomy.annotated == (1, 2, 3, 5, 11, 13)
    assert anatomy.organs_z == (8, 45)


def test_space_between_organs_is_fat_and_the_border_is_air(anatomy: Anatomy) -> None:
    codes = anatomy.codes_ZYX
    assert codes[30, 32, 50] >> 8 == Tissue.VISCERAL_FAT
    assert (codes[:, 0] == MARGIN + POSITIONS - 1).all()
    positions = codes & 255
    assert positions.min() >= MARGIN and positions.max() < MARGIN + POSITIONS


def test_radial_distance_of_a_cylinder() -> None:
    y, x = np.mgrid[:81, :81]
    disc = np.broadcast_to(np.hypot(y - 40, x - 40) <= 20, (8, 81, 81))
    outwards = radial_distance(disc, disc, 2.0)
    assert outwards[4, 40, 70] == pytest.approx(20, abs=3)
    assert outwards[4, 40, 45] < 0


def test_height_grows_from_front_to_back() -> None:
    mask = np.zeros((3, 12, 3), bool)
    mask[1, 2:11] = True
    steps = height_positions(mask)[1, :, 1]
    assert steps[2] == 0 and steps[10] == POSITIONS - 1


def test_samples_have_the_promised_form(source: SyntheticSource) -> None:
    image, labels, annotated = source.sample(generator(0), PATCH)
    assert image.shape == labels.shape == PATCH
    assert image.dtype == torch.float32 and labels.dtype == torch.uint8
    assert torch.isfinite(image).all() and image.min() >= -1024 and image.max() <= 3071
    assert annotated.dtype == torch.bool
    known = [value for value, flag in zip(NAMES, annotated.tolist(), strict=True) if flag]
    assert known == [1, 2, 3, 5, 11, 13, 14]


def test_equal_generators_give_equal_patches(source: SyntheticSource) -> None:
    first, second = source.sample(generator(7), PATCH), source.sample(generator(7), PATCH)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other, *_ = source.sample(generator(8), PATCH)
    assert not torch.equal(first[0], other)


def test_left_stays_left(source: SyntheticSource) -> None:
    compared = 0
    for seed in range(8):
        _, labels, _ = source.sample(generator(seed), PATCH)
        liver, spleen = (torch.nonzero(labels == value) for value in (1, 3))
        if len(liver) > 100 and len(spleen) > 100:
            compared += 1
            assert liver[:, 2].float().mean() < spleen[:, 2].float().mean()
    assert compared >= 4


def test_labels_lie_on_their_tissue(anatomy: Anatomy) -> None:
    source = SyntheticSource([anatomy], SPACING, tumor_chance=0.0)
    for seed in range(6):
        image, labels, _ = source.sample(generator(seed), PATCH)
        liver = image[labels == 1]
        if len(liver) > 500:
            assert -20 < liver.median() < 260
        assert not (labels == 14).any()
        assert (image < -900).float().mean() > 0.1, "there is air around the body"


def test_deformation_does_not_fold_space(anatomy: Anatomy) -> None:
    for seed in range(6):
        points = draw_pose(Draw(generator(seed)), anatomy, PATCH, SPACING).points
        # Along z the patch may be mirrored; across the body it must run steadily.
        assert (points[1].diff(dim=1) > 0).all()
        assert (points[2].diff(dim=2) > 0).all()


def test_scans_that_end_within_the_patch_are_mirrored(anatomy: Anatomy) -> None:
    depths = [
        draw_pose(Draw(generator(s)), anatomy, (64, 8, 8), SPACING).points[0, :, 4, 4]
        for s in range(4)
    ]
    for depth in depths:
        assert depth.min() > -8 and depth.max() < anatomy.codes_ZYX.shape[0] + 8


def test_label_maps_are_built_once(tmp_path: Path) -> None:
    label_map = save(tmp_path / "a.nii.gz", torso_ids(), 4.0)
    structures = tmp_path / "structures.json"
    structures.write_text(json.dumps({str(k): v for k, v in STRUCTURES.items()}))
    (first,) = load_anatomies([label_map], structures, tmp_path / "cache")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    (second,) = load_anatomies([label_map], structures, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == files
    assert np.array_equal(first.codes_ZYX, second.codes_ZYX)
    assert second.annotated == (1, 2, 3, 5, 11, 13)


def test_unknown_structures_and_flat_voxels_are_refused(tmp_path: Path) -> None:
    label_map = save(tmp_path / "a.nii.gz", np.full((4, 4, 4), 7, np.uint8))
    structures = tmp_path / "structures.json"
    structures.write_text('{"7": "antler"}')
    with pytest.raises(AnatomyError, match="antler"):
        build_anatomy(label_map, structures)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data beside the repository")
def test_every_structure_of_the_shared_label_maps_is_known() -> None:
    names = json.loads((SHARED / "anatomy" / "structures.json").read_text())
    assert len({tissue_of(name) for name in names.values()}) > 20
