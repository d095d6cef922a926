"""Intensity augmentation: each transform by what it promises."""

import pytest
import torch

from inference.model.description import Intensity
from training.patches import augment as a
from training.recipe import Augmentation

HU = Intensity(-950.0, 350.0, 80.0, 110.0)
EVERY = {
    "window": lambda x, p, g: a.clip_window(x, p, (-160, 240), g, jitter_hu=20, intensity=HU),
    "noise": lambda x, p, g: a.add_noise(x, p, (0.05, 0.1), g),
    "blur": lambda x, p, g: a.blur(x, p, (0.5, 1.0), g),
    "brightness": lambda x, p, g: a.change_brightness(x, p, (0.75, 1.25), 0.1, g),
    "contrast": lambda x, p, g: a.change_contrast(x, p, (0.75, 1.25), g),
    "low resolution": lambda x, p, g: a.lower_resolution(x, p, (0.5, 0.9), g),
    "gamma": lambda x, p, g: a.change_gamma(x, p, (0.7, 1.5), False, g),
    "inverted gamma": lambda x, p, g: a.change_gamma(x, p, (0.7, 1.5), True, g),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=4):
    return torch.randn((count, 1, 8, 10, 12), generator=seeded(1)) * 2


@pytest.mark.parametrize("name", EVERY)
def test_never_and_always(name):
    x = images()
    kept = x.clone()
    assert torch.equal(EVERY[name](x, 0.0, seeded()), x)
    changed = EVERY[name](x, 1.0, seeded())
    assert changed.shape == x.shape and changed.isfinite().all()
    assert all(not torch.equal(changed[n], x[n]) for n in range(len(x)))
    assert torch.equal(x, kept), "the caller's batch was changed"


@pytest.mark.parametrize("name", EVERY)
def test_same_seed_same_image(name):
    x = images()
    assert torch.equal(EVERY[name](x, 0.5, seeded(3)), EVERY[name](x, 0.5, seeded(3)))


@pytest.mark.parametrize("name", EVERY)
def test_constant_image_stays_finite(name):
    assert EVERY[name](torch.full((2, 1, 6, 6, 6), 3.0), 1.0, seeded()).isfinite().all()


def test_window_limits_lie_near_the_wish():
    x = torch.linspace(-9, 3, 1000).view(1, 1, 10, 10, 10)
    y = EVERY["window"](x, 1.0, seeded()) * HU.std + HU.mean
    assert -180 <= float(y.min()) <= -140 and 220 <= float(y.max()) <= 260


def test_noise_has_the_variance():
    y = a.add_noise(torch.zeros(1, 1, 40, 40, 40), 1.0, (0.09, 0.09), seeded())
    assert float(y.std()) == pytest.approx(0.3, rel=0.02)


def test_blur_keeps_a_constant_and_matches_scipy():
    from scipy import ndimage

    assert torch.allclose(a.gaussian(torch.ones(1, 5, 5, 5), 0.8), torch.ones(1, 5, 5, 5))
    x = images(1)[0]
    expected = ndimage.gaussian_filter(x[0].numpy(), 0.8, mode="nearest", truncate=3.0)
    assert torch.allclose(a.gaussian(x, 0.8)[0], torch.from_numpy(expected), atol=0.02)


def test_contrast_keeps_mean_and_range():
    x = images()
    y = EVERY["contrast"](x, 1.0, seeded())
    assert torch.allclose(y.mean((2, 3, 4)), x.mean((2, 3, 4)), atol=0.05)
    assert (y.amax((2, 3, 4)) <= x.amax((2, 3, 4))).all()


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_keeps_mean_deviation_and_order(inverted):
    x = images()
    y = a.change_gamma(x, 1.0, (0.7, 1.5), inverted, seeded())
    assert torch.allclose(y.mean((2, 3, 4)), x.mean((2, 3, 4)), atol=1e-4)
    assert torch.allclose(y.std((2, 3, 4)), x.std((2, 3, 4)), rtol=1e-3)
    order = x[0].flatten().argsort()
    assert (y[0].flatten()[order].diff() >= -1e-4).all()


def test_low_resolution_loses_detail():
    x = images()
    y = EVERY["low resolution"](x, 1.0, seeded())
    assert (y.std((2, 3, 4)) < x.std((2, 3, 4))).all()


def test_all_together_are_seeded():
    x = images(2)
    settings = Augmentation(noise=1, blur=1, low_resolution=1, gamma=1, contrast=1, brightness=1)
    first = a.augment(x, settings, HU, seeded(5))
    assert torch.equal(first, a.augment(x, settings, HU, seeded(5)))
    assert not torch.equal(first, a.augment(x, settings, HU, seeded(6)))
