"""Intensity augmentation: nnU-Net's default transforms as batched torch operations.

Every function takes a batch (N, C, z, y, x) of normalised images and a generator on its device,
decides for each image on its own, and returns a batch of the same shape. Only channel 0, the CT,
may be given: a cascade's label channels are no intensities.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from inference.model.description import Intensity
from training.recipe import Augmentation, Range

EPSILON = 1e-7


def augment(
    image_NCZYX: Tensor, settings: Augmentation, intensity: Intensity, generator: Generator
) -> Tensor:
    """All transforms in nnU-Net's order; the window comes first, as it does in the data."""
    s, x, g = settings, image_NCZYX, generator
    x = clip_window(x, s.window, s.window_hu, g, jitter_hu=s.window_jitter_hu, intensity=intensity)
    x = add_noise(x, s.noise, s.noise_variance, g)
    x = blur(x, s.blur, s.blur_sigma, g)
    x = change_brightness(x, s.brightness, s.brightness_factor, s.brightness_shift, g)
    x = change_contrast(x, s.contrast, s.contrast_range, g)
    x = lower_resolution(x, s.low_resolution, s.low_resolution_zoom, g)
    x = change_gamma(x, s.gamma_inverted, s.gamma_range, True, g)
    return change_gamma(x, s.gamma, s.gamma_range, False, g)


def clip_window(
    image: Tensor,
    probability: float,
    window_hu: Range,
    generator: Generator,
    *,
    jitter_hu: float,
    intensity: Intensity,
) -> Tensor:
    """Clip to a soft-tissue window, as collections of windowed slices are."""
    chosen = _chosen(image, probability, generator)
    lower, upper = (
        (value + _uniform(image, (-jitter_hu, jitter_hu), generator) - intensity.mean)
        / intensity.std
        for value in window_hu
    )
    if not chosen.any():
        return image
    return torch.where(chosen, image.clamp(lower, upper), image)


def add_noise(image: Tensor, probability: float, variance: Range, generator: Generator) -> Tensor:
    """White Gaussian noise of a random variance."""
    chosen = _chosen(image, probability, generator)
    deviation = _uniform(image, variance, generator).sqrt()
    for n in chosen.flatten().nonzero().flatten().tolist():
        noise = torch.randn(image[n].shape, generator=generator, device=image.device)
        image = _replaced(image, n, image[n] + noise * deviation[n])
    return image


def blur(image: Tensor, probability: float, sigma: Range, generator: Generator) -> Tensor:
    """Gaussian blur of a random width, in voxels."""
    chosen = _chosen(image, probability, generator)
    widths = _uniform(image, sigma, generator).flatten().tolist()
    for n in chosen.flatten().nonzero().flatten().tolist():
        image = _replaced(image, n, gaussian(image[n], widths[n]))
    return image


def change_brightness(
    image: Tensor, probability: float, factor: Range, shift: float, generator: Generator
) -> Tensor:
    """Multiply (nnU-Net), and independently add (paper section 3.2), a random constant."""
    multiplied = _chosen(image, probability, generator)
    image = image * torch.where(multiplied, _uniform(image, factor, generator), 1.0)
    added = _chosen(image, probability, generator)
    offset = torch.randn(_per_image(image), generator=generator, device=image.device) * shift
    return image + torch.where(added, offset, 0.0)


def change_contrast(
    image: Tensor, probability: float, factor: Range, generator: Generator
) -> Tensor:
    """Spread values about their mean by a random factor, within the range that they had."""
    chosen = _chosen(image, probability, generator)
    strength = _uniform(image, factor, generator)
    if not chosen.any():
        return image
    mean = image.mean(dim=(2, 3, 4), keepdim=True)
    low, high = _range(image)
    return torch.where(chosen, ((image - mean) * strength + mean).clamp(low, high), image)


def lower_resolution(
    image: Tensor, probability: float, zoom: Range, generator: Generator
) -> Tensor:
    """Sample down by nearest neighbour and up again smoothly."""
    chosen = _chosen(image, probability, generator)
    factors = _uniform(image, zoom, generator).flatten().tolist()
    for n in chosen.flatten().nonzero().flatten().tolist():
        full = image.shape[2:]
        size = [max(1, round(length * factors[n])) for length in full]
        coarse = functional.interpolate(image[n : n + 1], size=size, mode="nearest-exact")
        fine = functional.interpolate(coarse, size=full, mode="trilinear", align_corners=False)
        image = _replaced(image, n, fine[0])
    return image


def change_gamma(
    image: Tensor, probability: float, gamma: Range, inverted: bool, generator: Generator
) -> Tensor:
    """Raise values, scaled to 0..1, to a random power, and restore mean and deviation."""
    chosen = _chosen(image, probability, generator)
    # As nnU-Net: half of the exponents lie below 1, where the range allows it.
    below = torch.rand(_per_image(image), generator=generator, device=image.device) < 0.5
    exponent = torch.where(
        below,
        _uniform(image, (min(gamma[0], 1.0), 1.0), generator),
        _uniform(image, (max(gamma[0], 1.0), gamma[1]), generator),
    )
    if not chosen.any():
        return image
    x = -image if inverted else image
    mean, deviation = x.mean(dim=(2, 3, 4), keepdim=True), x.std(dim=(2, 3, 4), keepdim=True)
    low, high = _range(x)
    y = ((x - low) / (high - low + EPSILON)).clamp_min(0).pow(exponent) * (high - low) + low
    y = y - y.mean(dim=(2, 3, 4), keepdim=True)
    y = y / y.std(dim=(2, 3, 4), keepdim=True).clamp_min(EPSILON) * deviation + mean
    return torch.where(chosen, -y if inverted else y, image)


def gaussian(image_CZYX: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian filter, mirrored at the borders."""
    radius = max(1, math.ceil(3 * sigma))
    taps = torch.arange(-radius, radius + 1, device=image_CZYX.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel /= kernel.sum()
    x = image_CZYX[:, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = len(taps)
        pad = [0, 0, 0, 0, 0, 0]
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = radius
        x = functional.conv3d(functional.pad(x, pad, mode="replicate"), kernel.view(shape))
    return x[:, 0]


def _per_image(image: Tensor) -> tuple[int, int, int, int, int]:
    return (image.shape[0], 1, 1, 1, 1)


def _chosen(image: Tensor, probability: float, generator: Generator) -> Tensor:
    return torch.rand(_per_image(image), generator=generator, device=image.device) < probability


def _uniform(image: Tensor, bounds: Range, generator: Generator) -> Tensor:
    low, high = bounds
    unit = torch.rand(_per_image(image), generator=generator, device=image.device)
    return low + (high - low) * unit


def _range(image: Tensor) -> tuple[Tensor, Tensor]:
    axes = (2, 3, 4)
    return image.amin(dim=axes, keepdim=True), image.amax(dim=axes, keepdim=True)


def _replaced(image: Tensor, index: int, value_CZYX: Tensor) -> Tensor:
    """The batch with one image exchanged; the caller's batch stays as it was."""
    image = image.clone()
    image[index] = value_CZYX
    return image
