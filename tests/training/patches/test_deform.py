"""Spatial augmentation: geometry against cases that a hand can compute."""

import math

import numpy as np
import pytest
import torch

from inference.steps.resample import linear_taps
from training.patches.deform import (
    IDENTITY,
    Deformation,
    draw_deformation,
    mirrored,
    rotation,
    sample,
    sampling_grid,
)
from training.recipe import Augmentation

CPU = torch.device("cpu")


def taken(
    volume, patch, spacing, deformation=IDENTITY, *, source_spacing=(1, 1, 1), mode="bilinear"
):
    centre = tuple(n / 2 for n in volume.shape)
    grid = sampling_grid(
        patch,
        spacing,
        deformation,
        centre=centre,
        source=volume.shape,
        source_spacing=source_spacing,
        device=CPU,
    )
    return sample(torch.from_numpy(volume)[None], grid, mode)[0].numpy()


def test_identity_returns_the_volume():
    volume = np.random.default_rng(0).random((4, 6, 8), np.float32)
    assert np.allclose(taken(volume, volume.shape, (1, 1, 1)), volume, atol=1e-5)


def test_whole_scan_equals_inference_resampling():
    """Same numbers as the edge-aligned resampling that inference does."""
    volume = np.random.default_rng(0).random((8, 12, 10), np.float32)
    expected = volume
    for axis, n in enumerate((4, 6, 5)):
        taps = linear_taps(volume.shape[axis], n)
        f = taps.fraction.reshape([-1 if a == axis else 1 for a in range(3)])
        expected = expected.take(taps.lower, axis) * (1 - f) + expected.take(taps.upper, axis) * f
    assert np.allclose(taken(volume, (4, 6, 5), (2, 2, 2)), expected, atol=1e-5)


def test_quarter_turn_about_z_turns_the_plane():
    volume = np.random.default_rng(0).random((3, 6, 6), np.float32)
    turned = taken(volume, volume.shape, (1, 1, 1), Deformation(rotation([math.pi / 2, 0, 0])))
    assert np.allclose(turned, np.rot90(volume, 1, (1, 2)), atol=1e-4) or np.allclose(
        turned, np.rot90(volume, -1, (1, 2)), atol=1e-4
    )


def test_rotation_is_rigid_in_millimetres():
    """A ball in anisotropic voxels stays a ball, whatever the angles."""
    z, y, x = np.meshgrid(
        *(np.arange(n) * s for n, s in ((20, 4), (80, 1), (80, 1))), indexing="ij"
    )
    ball = ((z - 38) ** 2 + (y - 39.5) ** 2 + (x - 39.5) ** 2 < 25**2).astype(np.float32)
    turned = taken(
        ball,
        ball.shape,
        (4, 1, 1),
        Deformation(rotation([0.4, 0.7, -0.5])),
        source_spacing=(4, 1, 1),
    )
    assert np.abs(turned - ball).mean() < 0.02


def test_rotation_matrices_are_orthonormal():
    matrix = rotation([0.3, -0.2, 0.9])
    assert np.allclose(matrix @ matrix.T, np.eye(3)) and np.linalg.det(matrix) == pytest.approx(1)


def test_beyond_the_ends_the_scan_is_mirrored():
    volume = np.arange(6, dtype=np.float32).reshape(6, 1, 1)
    found = taken(volume, (18, 1, 1), (1, 1, 1), mode="nearest")[:, 0, 0]
    expected = volume[mirrored(-6, 18, 6), 0, 0]
    assert (
        found.tolist()
        == expected.tolist()
        == [5, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0]
    )


def test_constant_displacement_shifts():
    volume = np.random.default_rng(0).random((4, 8, 8), np.float32)
    control = np.zeros((3, 2, 2, 2), np.float32)
    control[2] = 2.0
    moved = taken(volume, volume.shape, (1, 1, 1), Deformation(np.eye(3), control))
    assert np.allclose(moved[:, :, :6], volume[:, :, 2:], atol=1e-5)


def test_reach_covers_all_that_is_sampled():
    rng = np.random.default_rng(3)
    settings = Augmentation(rotation=1, scaling=1, elastic=1)
    for _ in range(20):
        deformation = draw_deformation(settings, (40, 60, 60), rng)
        grid = sampling_grid(
            (8, 12, 12),
            (5, 5, 5),
            deformation,
            centre=(0, 0, 0),
            source=(2, 2, 2),
            source_spacing=(1, 1, 1),
            device=CPU,
        )
        # With a source of 2 mm whose centre is its corner, grid units are millimetres minus 1.
        offsets = np.abs(grid.numpy()[0, ..., ::-1] + 1).max(axis=(0, 1, 2))
        assert (offsets <= deformation.reach_mm((40, 60, 60)) + 1e-3).all()


def test_probabilities_are_kept_and_seeded():
    settings = Augmentation()
    draws = [
        draw_deformation(settings, (100, 100, 100), np.random.default_rng(n)) for n in range(1500)
    ]
    share = np.mean([not d.identity for d in draws])
    assert share == pytest.approx(1 - 0.8**3, abs=0.05)
    again = draw_deformation(settings, (100, 100, 100), np.random.default_rng(7))
    assert np.array_equal(again.matrix, draws[7].matrix)


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.7])
def test_reach_counts_the_shift_as_it_is_scaled(scale):
    """A control point that pushes outwards at the patch's face, by hand."""
    control = np.zeros((3, 2, 2, 2), np.float32)
    control[0, 1] = 24.0
    deformation = Deformation(np.eye(3) * scale, control)
    assert np.allclose(deformation.reach_mm((240.0, 100.0, 100.0)), scale * np.array([144, 50, 50]))
