"""Labels that cannot be, and labels that may: on a phantom whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.findings.doubts import Doubts, doubts
from inference.findings.hounsfield import Hounsfield
from inference.findings.phase import contrast_phase
from inference.findings.reference_volumes import REFERENCES
from inference.grid import Grid, Orientation
from inference.labels import NAMES, ORGANS
from inference.scan.volume import Volume, read_volume
from inference.segmenter import Segmenter
from inference.steps.organs import Evidence
from phantom import Phantom, Phase, make_phantom
from tests.inference.orientations import AXIS_ALIGNED

LIVER, RIGHT_KIDNEY, SPLEEN, AORTA, GALLBLADDER, LEFT_KIDNEY = 1, 2, 3, 5, 9, 13


@pytest.fixture(scope="module")
def patient() -> Phantom:
    """From the lung bases to the pelvis."""
    return make_phantom((88, 58, 72), (5.0, 6.0, 5.0), seed=1, center_mm=(0.0, -45.0, -60.0))


def judge(patient: Phantom, labels: np.ndarray, evidence: Evidence | None = None) -> Doubts:
    return doubts(labels, patient.image_ZYX, patient.grid, evidence)


def doubtful(found: Doubts) -> set[int]:
    return {label for label, one in found.organs.items() if one.doubtful}


def moved(patient: Phantom, organ: int, by_mm: tuple[float, float, float]) -> np.ndarray:
    """The labels with one organ elsewhere, by mm along (z, y, x); it covers what is there."""
    labels = patient.labels_ZYX.copy()
    labels[labels == organ] = 0
    places = np.argwhere(patient.labels_ZYX == organ)
    places += np.rint(np.array(by_mm) / patient.grid.spacing).astype(int)
    labels[tuple(places.T)] = organ
    return labels


def test_the_truth_is_not_doubted(patient: Phantom):
    found = judge(patient, patient.labels_ZYX)
    assert doubtful(found) == set()
    assert found.scan == ()
    assert found.lines() == ()
    assert found.phase == "portal venous or later"
    assert set(found.organs) == set(ORGANS)
    assert min(one.score for one in found.organs.values()) > 0.7


def test_a_spleen_in_the_buttock(patient: Phantom):
    """Behind and below everything, on the left; as large as a spleen, and as bright."""
    labels = moved(patient, SPLEEN, (-220.0, 30.0, -10.0))
    image = patient.image_ZYX.copy()
    image[labels == SPLEEN] = 110
    found = doubts(labels, image, patient.grid)
    spleen = found.organs[SPLEEN]
    assert spleen.doubtful
    assert spleen.score == 0
    assert "not above the left kidney" in " ".join(spleen.reasons)
    assert LIVER not in doubtful(found)
    assert "spleen 0.00" in found.lines()[-1]


def test_a_spleen_in_the_buttock_of_a_pelvis(patient: Phantom):
    """A scan that shows nothing else; two models agree, volume and HU are a spleen's."""
    labels = np.zeros_like(patient.labels_ZYX)
    labels[10:20, 30:40, 50:62] = SPLEEN
    image = np.full_like(patient.image_ZYX, 60)
    found = doubts(labels, image, patient.grid, Evidence({SPLEEN: 0.9}, {SPLEEN: 150.0}))
    assert found.organs[SPLEEN].score == 0
    assert found.organs[SPLEEN].reasons == ("none of its neighbours is found",)
    assert any("is there an abdomen?" in line for line in found.scan)


def test_a_second_spleen_in_the_buttock(patient: Phantom):
    """Half of it there: where the spleen is, there are two."""
    elsewhere = moved(patient, SPLEEN, (-220.0, 30.0, -10.0)) == SPLEEN
    labels = patient.labels_ZYX.copy()
    labels[elsewhere] = SPLEEN
    assert SPLEEN in doubtful(judge(patient, labels))


@pytest.mark.parametrize(
    ("organ", "by_mm", "words"),
    [
        (GALLBLADDER, (0.0, 0.0, 150.0), "not right of the aorta"),
        (LEFT_KIDNEY, (0.0, 0.0, -140.0), "not left of"),
        (8, (-120.0, 0.0, 0.0), "not above the left kidney"),
        (10, (-180.0, 0.0, 20.0), "not above"),
    ],
)
def test_an_organ_on_the_wrong_side(patient: Phantom, organ: int, by_mm, words: str):
    found = judge(patient, moved(patient, organ, by_mm))
    assert found.organs[organ].score == 0
    assert words in " ".join(found.organs[organ].reasons)


def test_kidneys_exchanged(patient: Phantom):
    labels = patient.labels_ZYX.copy()
    labels[patient.labels_ZYX == LEFT_KIDNEY] = RIGHT_KIDNEY
    labels[patient.labels_ZYX == RIGHT_KIDNEY] = LEFT_KIDNEY
    assert {RIGHT_KIDNEY, LEFT_KIDNEY} <= doubtful(judge(patient, labels))


def test_disagreement_of_two_models(patient: Phantom):
    evidence = Evidence({LIVER: 0.95, SPLEEN: 0.1})
    found = judge(patient, patient.labels_ZYX, evidence)
    assert doubtful(found) == {SPLEEN}
    assert found.organs[SPLEEN].reasons == ("the two models agree by 0.10 only",)
    assert found.organs[LIVER].score == 1


def test_too_little_too_much_and_what_is_cut(patient: Phantom):
    labels = patient.labels_ZYX.copy()
    liver = np.argwhere(labels == LIVER)
    labels[labels == LIVER] = 0
    few = tuple(liver[: len(liver) // 9].T)
    labels[few] = LIVER
    assert LIVER in doubtful(judge(patient, labels))
    # Where the scan ends at those slices, so little is no wonder.
    last = int(few[0].max()) + 1
    cut = labels[:last]
    grid = replace(patient.grid, shape=cut.shape)
    assert LIVER not in doubtful(doubts(cut, patient.image_ZYX[:last], grid))
    large = patient.labels_ZYX.copy()
    part = large[15:75, 10:50, 10:60]
    part[part == 0] = SPLEEN
    reasons = judge(patient, large).organs[SPLEEN].reasons
    assert any("is much (up to 1500)" in reason for reason in reasons)


def test_an_organ_of_fat(patient: Phantom):
    image = patient.image_ZYX.copy()
    image[patient.labels_ZYX == SPLEEN] = -100
    found = doubts(patient.labels_ZYX, image, patient.grid)
    assert found.organs[SPLEEN].score == 0
    assert found.organs[SPLEEN].reasons == ("its median of -100 HU is not an organ's",)


def without_middle(patient: Phantom, organ: int) -> np.ndarray:
    """The labels with a gap across the middle of an organ, along z."""
    labels = patient.labels_ZYX.copy()
    middle = int(np.median(np.argwhere(labels == organ)[:, 0]))
    gap = labels[middle - 1 : middle + 2]
    gap[gap == organ] = 0
    return labels


def test_crumbs(patient: Phantom):
    """A kidney in two halves is none; a vessel with a gap is still a vessel."""
    found = judge(patient, without_middle(patient, LEFT_KIDNEY))
    assert found.organs[LEFT_KIDNEY].doubtful
    assert "of its 2 pieces" in " ".join(found.organs[LEFT_KIDNEY].reasons)
    assert not judge(patient, without_middle(patient, 6)).organs[6].doubtful


def test_whom_one_organ_contradicts_may_be_right(patient: Phantom):
    found = judge(patient, moved(patient, GALLBLADDER, (0.0, 0.0, 150.0)))
    assert doubtful(found) == {GALLBLADDER}


def test_what_the_box_has_clipped(patient: Phantom):
    found = judge(patient, patient.labels_ZYX, Evidence(clipped=(LIVER,)))
    assert doubtful(found) == {LIVER}
    assert "border of what was looked at" in found.organs[LIVER].reasons[0]


def test_an_organ_that_is_missed(patient: Phantom):
    """Between its neighbours, or where the other model saw it; a gallbladder is often removed."""
    for organ, missed in ((SPLEEN, True), (RIGHT_KIDNEY, True), (GALLBLADDER, False)):
        labels = patient.labels_ZYX.copy()
        labels[labels == organ] = 0
        found = judge(patient, labels)
        assert (organ in found.organs) == missed
        if missed:
            assert found.organs[organ].doubtful
    found = judge(patient, labels, Evidence({GALLBLADDER: 0.0}, {GALLBLADDER: 40.0}))
    assert found.organs[GALLBLADDER].reasons == ("one model sees 40.0 ml of it, the other none",)
    found = judge(patient, labels, Evidence({}, {GALLBLADDER: 40.0}, (), {GALLBLADDER: 2.0}))
    said = "2.0 ml of it were left out: little, and the two models differ"
    assert found.organs[GALLBLADDER].reasons == (said,)
    assert (
        GALLBLADDER not in judge(patient, labels, Evidence({}, {}, (), {GALLBLADDER: 0.5})).organs
    )


def test_nothing_at_all(patient: Phantom):
    found = judge(patient, np.zeros_like(patient.labels_ZYX))
    assert (found.organs, found.lines(), found.phase) == ({}, (), "unknown")


@pytest.mark.parametrize(
    ("axis", "words"), [(0, "head and feet"), (1, "front and back"), (2, "left and right")]
)
def test_a_scan_that_is_stored_the_wrong_way_round_is_doubted_aloud(
    patient: Phantom, axis: int, words: str
):
    """The header tells nothing of it."""
    labels, image = np.flip(patient.labels_ZYX, axis), np.flip(patient.image_ZYX, axis)
    found = doubts(labels, image, patient.grid)
    exchanged = [line for line in found.scan if "exchanged" in line]
    assert len(exchanged) == 1
    assert exchanged[0].startswith(f"{words} seem to be exchanged")
    assert found.lines()[0] == exchanged[0]


def test_a_scan_lying_on_its_head_and_mirrored(patient: Phantom):
    turned = np.s_[::-1, :, ::-1]
    found = doubts(patient.labels_ZYX[turned], patient.image_ZYX[turned], patient.grid)
    said = [line.partition(" seem")[0] for line in found.scan if "exchanged" in line]
    assert said == ["head and feet", "left and right"]


def test_a_mirrored_scan_whose_labels_do_not_tell(patient: Phantom):
    """A network labels by place: of the liver, which lies on the left, a part becomes spleen."""
    mirrored = np.flip(patient.labels_ZYX, 2)
    labels = mirrored.copy()
    for one, other in ((RIGHT_KIDNEY, LEFT_KIDNEY), (7, 8), (SPLEEN, LIVER)):
        labels[mirrored == one], labels[mirrored == other] = other, one
    liver = np.argwhere(mirrored == LIVER)
    middle = np.median(liver[:, 2])
    labels[tuple(liver[liver[:, 2] < middle].T)] = LIVER
    image = np.flip(patient.image_ZYX, 2)
    for voxels, given, said in (
        (patient.image_ZYX, patient.labels_ZYX, False),
        (image, labels, True),
    ):
        found = doubts(given, voxels, patient.grid)
        assert any("as bright as the liver lie on the left" in line for line in found.scan) == said


@pytest.mark.parametrize(
    ("organs", "said"),
    [
        ((1, 2, 3), True),
        ((1, 3), False),  # two may be ill
        ((6, 7, 8, 9, 10), False),  # many, but small
        ((4, 6, 7, 8, 9, 10, 12), True),  # most of them
    ],
)
def test_where_most_of_the_volume_is_doubtful_the_scan_is(
    patient: Phantom, organs: tuple[int, ...], said: bool
):
    found = judge(patient, patient.labels_ZYX, Evidence(dict.fromkeys(organs, 0.0)))
    assert doubtful(found) == set(organs)
    assert any("of their volume are doubtful" in line for line in found.scan) == said


def test_another_spacing(patient: Phantom):
    z, y, x = patient.grid.spacing
    for factor, said in ((1.0, False), (0.6, True), (1.5, True)):
        grid = replace(patient.grid, spacing=(factor * z, factor * y, factor * x))
        found = doubts(patient.labels_ZYX, patient.image_ZYX, grid)
        assert any("a wrong spacing" in line for line in found.scan) == said


def test_values_that_are_no_hu(patient: Phantom):
    for image in (patient.image_ZYX + np.int16(1024), patient.image_ZYX / np.float32(5) - 150):
        found = doubts(patient.labels_ZYX, image, patient.grid)
        assert any("the values may be no HU" in line for line in found.scan)


def test_a_field_of_view_that_cuts_the_body(patient: Phantom):
    liver = np.argwhere(patient.labels_ZYX == LIVER)
    first = int(np.percentile(liver[:, 2], 30))
    part = np.s_[:, :, first:]
    labels, image = patient.labels_ZYX[part], patient.image_ZYX[part]
    grid = replace(patient.grid, shape=labels.shape)
    assert (
        "the field of view cuts liver and right kidney at its right side"
        in doubts(labels, image, grid).scan
    )


@pytest.mark.parametrize(
    ("liver", "aorta", "doubted"), [(30, 0, True), (30, 2, False), (0, 0, False), (0, 30, False)]
)
def test_much_liver_and_no_aorta(liver: int, aorta: int, doubted: bool):
    """A slice is 200 ml."""
    grid = Grid((40, 40, 40), (5.0, 5.0, 5.0))
    labels = np.zeros(grid.shape, np.uint8)
    labels[:liver] = LIVER
    labels[40 - aorta :] = AORTA
    said = [line for line in doubts(labels, labels.astype(np.int16), grid).scan if "aorta:" in line]
    assert bool(said) == doubted
    if doubted:
        assert said == ["6000 ml of organs are found and 0.0 ml of aorta: is there an abdomen?"]


@pytest.mark.parametrize("spacing", [(4.0, 5.0, 4.0), (1.5, 0.9, 0.7)])
def test_all_48_orientations_are_judged_alike(spacing: tuple[float, float, float]):
    random = np.random.default_rng(1)
    labels = random.choice([0, *NAMES], (23, 31, 29)).astype(np.uint8)
    image = random.integers(-100, 200, labels.shape).astype(np.int16)
    expected = doubts(labels, image, Grid(labels.shape, spacing))
    assert expected.organs
    for direction in AXIS_ALIGNED:
        orientation = Orientation.of(direction)
        back = [orientation.axes.index(axis) for axis in range(3)]
        stored = [np.ascontiguousarray(orientation.invert(array)) for array in (labels, image)]
        grid = Grid(stored[0].shape, tuple(spacing[axis] for axis in back), (0, 0, 0), direction)
        assert doubts(*stored, grid) == expected


@pytest.mark.parametrize(
    ("phase", "guess"),
    [
        ("plain", "unenhanced"),
        ("arterial", "arterial"),
        ("portal", "portal venous or later"),
    ],
)
def test_the_phantoms_phases(phase: Phase, guess: str):
    scan = make_phantom((30, 40, 48), (8.0, 8.0, 8.0), seed=2, phase=phase)
    assert judge(scan, scan.labels_ZYX).phase == guess


@pytest.mark.parametrize(
    ("aorta", "liver", "kidney", "phase"),
    [
        (40, 55, 35, "unenhanced"),
        (328, 68, 164, "arterial"),
        (192, 88, 128, "arterial"),
        (132, 92, 144, "portal venous or later"),
        (188, 112, 188, "portal venous or later"),
        (102, 17, 81, "portal venous or later"),  # a fatty liver
        (70, 60, 130, "portal venous or later"),  # the kidneys still hold the contrast
    ],
)
def test_phases_by_hand(aorta: float, liver: float, kidney: float, phase: str):
    hu = {
        label: Hounsfield(value, 10.0, value - 20, value, value + 20)
        for label, value in ((AORTA, aorta), (LIVER, liver), (RIGHT_KIDNEY, kidney))
    }
    assert contrast_phase(hu) == phase
    del hu[AORTA]
    assert contrast_phase(hu) == "unknown"


def test_every_organ_has_a_reference_with_a_source():
    assert set(REFERENCES) == set(ORGANS)
    for reference in REFERENCES.values():
        assert 0 < reference.low < reference.high
        assert reference.typical == 0 or reference.low < reference.typical < reference.high
        assert len(reference.source) > 40


@pytest.mark.slow
def test_real_scans_and_what_is_none(shared_data: Path):
    """The bundled model: real scans, heads and legs, and scans stored the wrong way round."""
    from benchmarks.no_abdomen import head, legs

    segmenter = Segmenter.load(device="cpu")
    for path in sorted((shared_data / "ct").glob("*_0000.nii.gz")):
        found = segmenter.segment(read_volume(path)).doubts()
        # Litres of ascites and a mass are taken for liver and more.
        ill = path.name.startswith("tcga_ov")
        assert bool(found.scan) == ill, (path, found.scan)
    for volume in (head(), legs()):
        result = segmenter.segment(volume)
        assert result.doubts().scan or not result.labels.any()
    volume = read_volume(shared_data / "ct" / "cptac_pda_c3l_00189_0000.nii.gz")
    for axis in (0, 2):
        voxels = np.ascontiguousarray(np.flip(volume.voxels_ZYX, axis))
        found = segmenter.segment(Volume.of_array(voxels, volume.grid)).doubts()
        assert found.scan, axis
