"""Patches: repeatable, within the scan, mirrored beyond slabs, never from masked classes."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from tests.inference.fake_cuda import fake_cuda
from tests.training.small_store import SPACING, STILL, make_store, scan, small_recipe
from training.data.coding import one_hot
from training.data.store import Store
from training.patches.crop import Place, read_crop
from training.patches.deform import Deformation, rotation
from training.patches.loader import Loader

CPU = torch.device("cpu")


def loader(folder, annotated=None, rank=0, world=1, still=False, **sampling) -> Loader:
    store = make_store(folder, annotated) if annotated else make_store(folder)
    recipe = small_recipe(**sampling)
    if still:
        recipe = replace(recipe, augmentation=STILL)
    return Loader(store, store.split("train"), recipe, CPU, rank=rank, world=world)


def test_batches_are_a_function_of_seed_and_step(tmp_path):
    first = list(islice(loader(tmp_path).batches(0), 4))
    again = next(loader(tmp_path).batches(3))
    assert torch.equal(first[3].image_NCZYX, again.image_NCZYX)
    assert torch.equal(first[3].labels_NZYX, again.labels_NZYX)
    assert not torch.equal(first[0].image_NCZYX, first[1].image_NCZYX)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a real CUDA device is here")
def test_batches_are_made_on_the_device(tmp_path, monkeypatch):
    """Every step of the augmentation, whose tensors must not be left on the CPU."""
    expected = list(islice(loader(tmp_path).batches(0), 6))
    with fake_cuda(monkeypatch, tmp_path):
        draw = loader(tmp_path)
        draw.device = torch.device("cuda", 0)
        found = list(islice(draw.batches(0), 6))
        for ours, theirs in zip(found, expected, strict=True):
            assert {t.device for t in vars(ours).values()} == {draw.device}
            assert torch.allclose(ours.image_NCZYX.cpu(), theirs.image_NCZYX, atol=1e-5)
            assert torch.equal(ours.labels_NZYX.cpu(), theirs.labels_NZYX)
            assert torch.equal(ours.annotated_NC.cpu(), theirs.annotated_NC)


def test_two_processes_share_what_one_would_draw(tmp_path):
    whole = next(loader(tmp_path, batch=4).batches(0))
    halves = [next(loader(tmp_path, batch=4, rank=r, world=2).batches(0)) for r in (0, 1)]
    for rank, half in enumerate(halves):
        assert torch.equal(half.image_NCZYX, whole.image_NCZYX[rank::2])
        assert torch.equal(half.labels_NZYX, whole.labels_NZYX[rank::2])


def test_annotated_classes_come_from_the_case(tmp_path):
    batch = next(loader(tmp_path, annotated=((1, 14), (1, 14))).batches(0))
    expected = torch.zeros(14, dtype=torch.bool)
    expected[[0, 13]] = True
    assert (batch.annotated_NC == expected).all()


def test_unchanged_patches_are_pieces_of_the_scan(tmp_path):
    draw = loader(tmp_path, still=True)
    image, labels = draw.crop(0, 0, (16, 16, 16)).sampled(CPU)
    pieces = [np.lib.stride_tricks.sliding_window_view(scan(s)[1], (16, 16, 16)) for s in (0, 1)]
    assert any((p == labels.numpy()).all(axis=(3, 4, 5)).any() for p in pieces)
    assert image.shape == (1, 16, 16, 16)


def test_interpolated_and_copied_patches_agree(tmp_path):
    """The same place, once voxel for voxel, once through the sampling grid."""
    store = make_store(tmp_path)
    middle = (12.0, 20.0, 20.0)
    copied = Place(store.cases[0], (16, 16, 16), SPACING, middle, (0, 24))
    turned = replace(copied, deformation=Deformation(rotation([1e-9, 0.0, 0.0])))
    assert copied.exact and not turned.exact
    first, second = (read_crop(store, place).sampled(CPU) for place in (copied, turned))
    assert torch.allclose(first[0], second[0], atol=1e-3)
    assert torch.equal(first[1], second[1])


def test_slabs_are_mirrored_beyond_their_ends(tmp_path):
    store = make_store(tmp_path)
    place = Place(store.cases[0], (16, 16, 16), SPACING, (12.0, 20.0, 20.0), (8, 16))
    _, labels = read_crop(store, place).sampled(CPU)
    inner = labels[4:12]
    assert torch.equal(labels[:4], inner[:4].flip(0))
    assert torch.equal(labels[12:], inner[4:].flip(0))


def test_foreground_patches_hold_the_class(tmp_path):
    draw = loader(tmp_path, annotated=((14,), (14,)), still=True, foreground=1.0)
    for step in range(5):
        assert (draw.assemble(step, [draw.crop(step, 0, (16, 16, 16))] * 2).labels_NZYX >= 16).any()


def test_shapes_are_shared_by_the_whole_step(tmp_path):
    draw = loader(tmp_path, shapes=((8, 16, 16), (16, 16, 16)))
    batches = list(islice(draw.batches(0), 8))
    assert {b.labels_NZYX.shape[1] for b in batches} == {8, 16}


def test_native_scans_are_resampled_with_the_patch(tmp_path):
    draw = loader(tmp_path, still=True, native=True, spacing=(10.0, 7.8, 7.8), patch=(8, 8, 8))
    assert draw.recipe.sampling.spacing != SPACING
    batch = next(draw.batches(0))
    assert batch.image_NCZYX.shape == (2, 1, 8, 8, 8) and batch.image_NCZYX.isfinite().all()


def test_previous_labels_are_further_channels(tmp_path):
    make_store(tmp_path)
    for case in Store(tmp_path).cases:
        np.save(tmp_path / f"{case.name}.previous.npy", np.array(Store(tmp_path).labels(case)))
    draw = loader(tmp_path)
    network = replace(draw.recipe.network, previous=True)
    draw.recipe = replace(draw.recipe, network=network)
    batch = next(draw.batches(0))
    assert batch.image_NCZYX.shape[1] == 15
    assert torch.equal(batch.image_NCZYX[:, 1:].bool(), one_hot(batch.labels_NZYX))


def test_one_hot_lets_a_voxel_be_organ_and_tumour():
    coded = torch.tensor([0, 3, 16, 17], dtype=torch.uint8).view(1, 4, 1, 1)
    hot = one_hot(coded)[0, :, :, 0, 0]
    assert hot.sum(0).tolist() == [0, 1, 1, 2]
    assert hot[2, 1] and hot[13, 2] and hot[0, 3] and hot[13, 3]


@pytest.mark.parametrize("depth", [16, 32])
def test_scans_smaller_than_the_patch_are_filled(tmp_path, depth):
    draw = loader(tmp_path, patch=(depth, 64, 64))
    assert next(draw.batches(0)).image_NCZYX.shape == (2, 1, depth, 64, 64)


def test_tumor_patches_come_from_patients_in_equal_parts(tmp_path):
    """Three scans, of which two of one patient and one of another show an annotated tumour."""
    every = (*range(1, 14), 14)
    store = make_store(tmp_path, (every, every, every, tuple(range(1, 14))))
    patients = ["one", "one", "two", "three"]
    cases = [
        replace(case, patient=patient)
        for case, patient in zip(store.split("train"), patients, strict=True)
    ]
    recipe = replace(small_recipe(tumor=1.0), augmentation=STILL)
    draw = Loader(store, cases, recipe, CPU)
    crops = [draw.crop(step, 0, (16, 16, 16)) for step in range(60)]
    assert all((crop.sampled(CPU)[1] >= 16).any() for crop in crops)
    drawn = [crop.place.case.patient for crop in crops]
    assert "three" not in drawn and 20 <= drawn.count("two") <= 40


def test_without_annotated_tumors_their_share_is_drawn_like_the_rest(tmp_path):
    draw = loader(tmp_path, annotated=((1,), (1,)), tumor=1.0)
    plain = loader(tmp_path, annotated=((1,), (1,)))
    first, second = (one.crop(0, 0, (16, 16, 16)).place for one in (draw, plain))
    assert (first.case, first.centre, first.slab) == (second.case, second.centre, second.slab)
