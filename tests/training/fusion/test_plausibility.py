"""Anatomical plausibility on boxes whose volumes and places a hand can compute."""

from __future__ import annotations

import numpy as np

from training.fusion.plausibility import clean, doubts, main_pieces

SPACING = (5.0, 5.0, 5.0)  # one voxel is 0.125 ml


def torso() -> np.ndarray:
    """Aorta in the middle, a kidney on either side, a right adrenal above; 40^3 at 5 mm."""
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[:, 24:28, 20:24] = 5  # 80 ml, cut at both ends
    labels[10:20, 24:34, 5:15] = 2  # 125 ml, to the patient's right
    labels[10:20, 24:34, 28:38] = 13
    labels[22:25, 24:28, 12:15] = 7  # 4.5 ml
    return labels


def test_a_sound_torso_raises_no_doubt() -> None:
    assert doubts(torso(), SPACING, (2, 5, 7, 13)) == {}


def test_kidneys_on_the_wrong_side_are_doubted() -> None:
    mirrored = torso()[:, :, ::-1]
    reasons = doubts(mirrored, SPACING, (2, 13))
    assert reasons == {2: "not right of the aorta", 13: "not left of the aorta"}


def test_an_adrenal_below_its_kidney_is_doubted() -> None:
    labels = torso()
    labels[labels == 7] = 0
    labels[2:5, 24:28, 12:15] = 7
    assert doubts(labels, SPACING, (7,)) == {7: "not above the right kidney"}


def test_volume_counts_less_where_the_field_of_view_cuts() -> None:
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[5:9, 5:15, 5:11] = 2  # 30 ml in the middle of the volume
    assert doubts(labels, SPACING, (2,)) == {2: "30.0 ml"}
    assert doubts(labels[5:], SPACING, (2,)) == {}
    assert "cut by" in doubts(labels[8:], SPACING, (2,))[2]


def test_an_organ_in_two_halves_is_doubted_and_an_absent_one_too() -> None:
    labels = torso()
    labels[15:17][labels[15:17] == 2] = 0
    reasons = doubts(labels, SPACING, (2, 9))
    assert "largest piece" in reasons[2]
    assert "absent" in reasons[9]


def test_main_pieces_keep_a_second_large_piece() -> None:
    mask = np.zeros((20, 4, 4), bool)
    mask[:10], mask[12:15], mask[19, 0, 0] = True, True, True
    kept = main_pieces(mask)
    assert kept[:10].all() and kept[12:15].all() and not kept[19].any()


def test_clean_leaves_other_classes_out() -> None:
    labels = torso()
    labels[0, 0, 0] = 2
    cleaned = clean(labels, (2,))
    assert set(np.unique(cleaned)) == {0, 2}
    assert cleaned[0, 0, 0] == 0 and (cleaned == 2).sum() == 1000
