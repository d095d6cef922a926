"""A narrower network's weights in a wider one."""

from __future__ import annotations

import pytest
import torch

from inference.engines.torch_unet import UNet
from inference.model.description import Architecture
from training.learn.widen import WidthError, widen

STRIDES = ((1, 1, 1), (2, 2, 2), (1, 2, 2))
KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3))


def _network(features: tuple[int, ...], seed: int) -> UNet:
    torch.manual_seed(seed)
    network = UNet(Architecture(features, STRIDES, KERNELS), deep_supervision=True)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("features", [(4, 6, 8), (8, 12, 16), (12, 18, 24)])
def test_wider_network_computes_the_same(features: tuple[int, ...]) -> None:
    narrow, wide = _network((4, 6, 8), 1), _network(features, 2)
    widen(wide, dict(narrow.named_parameters()))
    image = torch.randn(2, 1, 8, 16, 16)
    with torch.no_grad():
        for expected, found in zip(narrow(image), wide(image), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_copies_learn_different_things() -> None:
    narrow, wide = _network((4, 6, 8), 1), _network((8, 12, 16), 2)
    widen(wide, dict(narrow.named_parameters()))
    sum(logits.square().mean() for logits in wide(torch.randn(1, 1, 8, 16, 16))).backward()
    gradient = wide.encoder[1][0].conv.weight.grad
    assert gradient is not None
    distance = (gradient[0::2] - gradient[1::2]).norm() / gradient.norm()
    assert distance > 0.02


@pytest.mark.parametrize("features", [(4, 6, 10), (2, 3, 4), (4, 6, 8, 8)])
def test_widths_that_do_not_fit_are_refused(features: tuple[int, ...]) -> None:
    narrow = _network((4, 6, 8), 1)
    strides = (*STRIDES, (2, 2, 2))[: len(features)]
    kernels = (*KERNELS, (3, 3, 3))[: len(features)]
    wide = UNet(Architecture(features, strides, kernels), deep_supervision=True)
    with pytest.raises(WidthError):
        widen(wide, dict(narrow.named_parameters()))
