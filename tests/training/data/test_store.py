"""Preprocessed scans: label codes, resampling, and the way through the disk."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from inference.steps.resample import nearest_taps
from tests.training.small_store import INTENSITY, SHAPE, make_store, scan
from training.data.coding import TUMOR_BIT, code_labels, members, only, resample_coded
from training.data.store import Store, StoreError, foreground_voxels


def test_round_trip(tmp_path):
    store = make_store(tmp_path, annotated=((1, 2), (3, 14)))
    case = store.cases[1]
    image, labels = scan(1)
    assert store.intensity == INTENSITY
    assert case.annotated == (3, 14) and case.shape == SHAPE
    assert np.array_equal(store.labels(case), only(labels, (3, 14)))
    assert np.allclose(store.image(case), image, atol=2e-3)
    assert isinstance(store.image(case), np.memmap)
    assert [c.name for c in store.split("train")] == ["case0", "case1"]


def test_patients_can_be_held_out(tmp_path):
    make_store(tmp_path)
    store = Store(tmp_path, ["case1"])
    assert [c.name for c in store.split("train")] == ["case0"]
    assert [c.name for c in store.split("validation")] == ["case1", "v"]
    with pytest.raises(StoreError, match=r"no patient nobody; take some of case0, case1, v"):
        Store(tmp_path, ["nobody"])


def test_missing_and_damaged_stores_name_the_file(tmp_path):
    with pytest.raises(StoreError, match="preprocess"):
        Store(tmp_path)
    store = make_store(tmp_path)
    (tmp_path / "case0.image.npy").write_bytes(b"")
    with pytest.raises(StoreError, match=r"case0\.image\.npy"):
        store.image(store.cases[0])


def test_threads_open_arrays_one_after_the_other(tmp_path, monkeypatch):
    """Two threads in ``ast`` at once, as NumPy's headers need it, can fail in CPython 3.11."""
    store, load, inside = make_store(tmp_path), np.load, threading.Semaphore(1)

    def alone(*args, **options):
        assert inside.acquire(blocking=False)
        try:
            time.sleep(0.005)
            return load(*args, **options)
        finally:
            inside.release()

    monkeypatch.setattr(np, "load", alone)
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(store.image, store.cases * 4))
    assert all(image.shape == SHAPE for image in images)


def test_a_tumour_is_given_to_the_organ_around_it():
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[1:8, 1:8, 1:5] = 1
    labels[1:8, 1:8, 5:8] = 13
    labels[3:6, 3:6, 2:4] = 14  # in the liver
    coded = code_labels(labels)
    assert (coded[3:6, 3:6, 2:4] == TUMOR_BIT + 1).all()
    assert members(coded, 14).sum() == 18 and members(coded, 1).sum() == 7 * 7 * 4


def test_a_tumour_outside_all_organs_has_no_host():
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[4:6, 4:6, 4:6] = 14
    assert set(np.unique(code_labels(labels))) == {0, TUMOR_BIT}


def test_labels_that_are_not_annotated_are_taken_out():
    coded = np.array([0, 1, 2, TUMOR_BIT, TUMOR_BIT + 1, TUMOR_BIT + 2], np.uint8)
    assert only(coded, (1, 14)).tolist() == [0, 1, 0, 16, 17, 16]
    assert only(coded, (2,)).tolist() == [0, 0, 2, 0, 0, 2]


def test_resampling_to_the_same_grid_changes_nothing():
    _, labels = scan(0)
    assert np.array_equal(resample_coded(labels, labels.shape), labels)


def test_resampled_labels_keep_volumes():
    _, labels = scan(0, (48, 80, 80))
    small = resample_coded(labels, (24, 40, 40))
    for value in (1, 2, 3, 14):
        assert members(small, value).mean() == pytest.approx(members(labels, value).mean(), rel=0.1)
    taps = (nearest_taps(n, m) for n, m in zip(labels.shape, (24, 40, 40), strict=True))
    nearest = labels[np.ix_(*taps)]
    assert (small != nearest).mean() < 0.03


def test_foreground_voxels_are_of_annotated_classes_and_repeatable():
    _, labels = scan(0)
    found = foreground_voxels(labels, (1, 14))
    assert set(found[:, 0]) == {1, 14}
    for value, z, y, x in found[::50]:
        assert members(labels, value)[z, y, x]
    assert np.array_equal(found, foreground_voxels(labels, (1, 14)))
    assert foreground_voxels(labels, ()).shape == (0, 4)
