"""Weight gradients by matrix products against torch's own."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tests.training.small_store import small_recipe
from training.learn.convolution import is_slow, replace_weight_gradients, weight_gradient
from training.learn.loss import supervised_sum
from training.learn.weights import build_network

CPU = torch.device("cpu")


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    images=st.integers(1, 3),
    channels=st.integers(1, 9),
    outputs=st.integers(1, 9),
    last=st.booleans(),
)
def test_is_torchs(
    shape: tuple[int, int, int], images: int, channels: int, outputs: int, last: bool
) -> None:
    torch.manual_seed(0)
    order = torch.channels_last_3d if last else torch.contiguous_format
    image = torch.randn(images, channels, *shape, dtype=torch.float64).to(memory_format=order)
    gradient = torch.randn(images, outputs, *shape, dtype=torch.float64).to(memory_format=order)
    weight = torch.randn(outputs, channels, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    out = functional.conv3d(image, weight, padding=1)
    (expected,) = torch.autograd.grad(out, weight, gradient)
    torch.testing.assert_close(weight_gradient(image, gradient), expected)


def test_one_voxel_by_hand() -> None:
    # Input 2 at (1, 1, 1), gradient 3 at (0, 1, 2): the weight that joins them is that of the shift
    # (1, 0, -1), at index (2, 1, 0) of the kernel.
    image, gradient = torch.zeros(2, 1, 1, 3, 3, 3)
    image[0, 0, 1, 1, 1], gradient[0, 0, 0, 1, 2] = 2, 3
    expected = torch.zeros(1, 1, 3, 3, 3)
    expected[0, 0, 2, 1, 0] = 6
    assert torch.equal(weight_gradient(image, gradient), expected)


def test_a_network_learns_the_same() -> None:
    torch.manual_seed(0)
    network = small_recipe().network
    three = (network.strides[0], *network.strides[1:] * 2)
    plain = build_network(
        replace(network, features=(8, 16, 32), strides=three, kernels=((3, 3, 3),) * 3)
    )
    replaced = copy.deepcopy(plain)
    replace_weight_gradients(replaced)
    image = torch.randn(2, 1, 8, 12, 12).to(memory_format=torch.channels_last_3d)
    labels = torch.randint(0, 14, (2, 8, 12, 12), dtype=torch.uint8)
    outs = []
    for network in (plain, replaced):
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        heads = network(image)
        supervised_sum(heads, labels, torch.ones(2, 14, dtype=torch.bool)).backward()  # type: ignore[no-untyped-call]
        outs.append(heads[0])
    assert torch.equal(outs[0], outs[1])
    for (name, one), other in zip(plain.named_parameters(), replaced.parameters(), strict=True):
        if one.grad is None or other.grad is None:
            assert one.grad is other.grad, name
            continue
        # Biases before a normalisation have no gradient but rounding's.
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-5)


def test_which_convolutions() -> None:
    network = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1),
        nn.Conv3d(16, 16, 3, padding=1),
        nn.Conv3d(16, 16, 3, 2, padding=1),
        nn.Conv3d(16, 16, 1),
        nn.Conv3d(16, 16, (1, 3, 3), padding=(0, 1, 1)),
        nn.Conv3d(16, 16, 3, padding=1, groups=2),
    )
    replace_weight_gradients(network)
    image = torch.randn(1, 1, 4, 4, 4, requires_grad=True)
    names = []
    for module in network:
        image = module(image)
        assert image.grad_fn is not None
        names.append(image.grad_fn.name())
    assert ["_Convolution" in name for name in names] == [False, True, False, False, False, False]


@pytest.mark.parametrize(
    ("capability", "dtype", "slow"),
    [
        ("AVX2", torch.float32, True),
        ("AVX2", torch.bfloat16, False),
        ("AVX512", torch.float32, False),
        ("DEFAULT", torch.float32, False),
    ],
)
def test_only_where_it_is_quicker(
    monkeypatch: pytest.MonkeyPatch, capability: str, dtype: torch.dtype, slow: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert is_slow(CPU, dtype) == slow
    assert not is_slow(torch.device("cuda"), dtype)
