"""The U-Net: the numbers of nnU-Net's PlainConvUNet, and the counts of the paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.engines.torch_unet import InstanceNorm, UNet
from inference.model.description import Architecture

dna = pytest.importorskip("dynamic_network_architectures.architectures.unet")

ONE, TWO, FLAT = (1, 1, 1), (2, 2, 2), (1, 2, 2)

# Paper Table 1 and 2.
SMALL = Architecture((16, 32, 64, 128, 256), (ONE, TWO, TWO, TWO, TWO), ((3, 3, 3),) * 5)
DEFAULT = Architecture(
    (32, 64, 128, 256, 320, 320),
    (ONE, FLAT, TWO, TWO, TWO, FLAT),
    ((1, 3, 3), *((3, 3, 3),) * 5),
)
# The same shapes with few features.
ARCHITECTURES = {
    "isotropic": (Architecture((4, 8, 16, 24, 32), SMALL.strides, SMALL.kernels), (32, 16, 16)),
    "anisotropic": (
        Architecture((4, 6, 8, 10, 12, 12), DEFAULT.strides, DEFAULT.kernels),
        (16, 32, 32),
    ),
    "cascade, three convolutions": (
        Architecture((4, 8, 12), (ONE, TWO, FLAT), ((1, 3, 3), (3, 3, 3), (3, 1, 5)), 3, 2),
        (8, 16, 12),
    ),
}


def peer(net: Architecture, deep_supervision: bool) -> nn.Module:
    """nnU-Net's network for the same architecture."""
    return dna.PlainConvUNet(
        input_channels=net.inputs,
        n_stages=len(net.features),
        features_per_stage=net.features,
        conv_op=nn.Conv3d,
        kernel_sizes=net.kernels,
        strides=net.strides,
        n_conv_per_stage=net.convolutions,
        num_classes=net.outputs,
        n_conv_per_stage_decoder=net.convolutions,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep_supervision,
    )


def mapped(net: Architecture, theirs: dict[str, Tensor], heads: int) -> dict[str, Tensor]:
    """The peer's weights under this network's names."""
    ours: dict[str, Tensor] = {}
    last = len(net.features) - 1

    def take(name: str, source: str) -> None:
        for part in ("weight", "bias"):
            ours[f"{name}.{part}"] = theirs[f"{source}.{part}"]

    for i in range(net.convolutions):
        for part in ("conv", "norm"):
            for s in range(last + 1):
                take(f"encoder.{s}.{i}.{part}", f"encoder.stages.{s}.0.convs.{i}.{part}")
            for s in range(last):  # the peer counts decoder stages from the bottom
                take(f"decoder.{s}.{i}.{part}", f"decoder.stages.{last - 1 - s}.convs.{i}.{part}")
    for s in range(last):
        take(f"up.{s}", f"decoder.transpconvs.{last - 1 - s}")
    for s in range(heads):
        take(f"heads.{s}", f"decoder.seg_layers.{last - 1 - s}")
    return ours


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """All parameters random, so that no zero bias or unit scale hides a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = max(1, parameter[0].numel())
            noise = torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5
            parameter.copy_(noise if parameter.ndim > 1 else 0.5 + 0.2 * noise)
    return module


@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_nnunets_network(name: str, deep_supervision: bool):
    net, patch = ARCHITECTURES[name]
    theirs = randomised(peer(net, deep_supervision), 1).eval()
    ours = UNet(net, deep_supervision).eval()
    ours.load_state_dict(mapped(net, theirs.state_dict(), len(ours.heads)))
    image = torch.randn((1, net.inputs, *patch), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, result = theirs(image), ours(image)
    if not deep_supervision:
        expected, result = [expected], [result]
    assert len(result) == len(expected)
    for wanted, got in zip(expected, result, strict=True):
        assert wanted.std() > 0.01
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("images", [1, 2])
def test_normalises_like_torch_and_keeps_the_order_of_memory(images: int):
    ours = randomised(InstanceNorm(5, affine=True), 4).eval()
    theirs = nn.InstanceNorm3d(5, affine=True)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn((images, 5, 6, 7, 8)).contiguous(memory_format=torch.channels_last_3d)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, wanted = ours(first), theirs(second)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(y, wanted)
    weights = torch.randn(x.shape)
    (y * weights).sum().backward()
    (wanted * weights).sum().backward()
    torch.testing.assert_close(first.grad, second.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-4)


def test_deep_supervision_changes_nothing_at_full_resolution():
    net, patch = ARCHITECTURES["anisotropic"]
    deep = randomised(UNet(net, deep_supervision=True), 3).eval()
    plain = UNet(net).eval()
    weights = deep.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    image = torch.randn((1, 1, *patch), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(deep(image)[0], plain(image), rtol=0, atol=0)


def test_papers_small_model_has_the_stated_size():
    assert SMALL.parameters() == 5_648_078
    assert SMALL.macs((128, 128, 128)) / 1e9 == pytest.approx(119.8, abs=0.05)
    assert sum(p.numel() for p in UNet(SMALL).parameters()) == 5_648_078


def counted_macs(module: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of all convolutions, from the shapes that pass through them."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        transposed = isinstance(layer, nn.ConvTranspose3d)
        # A convolution's weight meets every output voxel, a transposed one's every input voxel.
        voxels = (inputs[0] if transposed else output)[0, 0].numel()
        total += layer.weight.numel() * voxels

    for layer in module.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module(image)
    return total


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameters_have_the_names_and_shapes_of_torchs(name: str):
    net, _ = ARCHITECTURES[name]
    shapes = {name: tuple(p.shape) for name, p in UNet(net).state_dict().items()}
    assert net.parameter_shapes() == shapes


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_counts_equal_torchs(name: str):
    net, patch = ARCHITECTURES[name]
    module = UNet(net)
    assert net.parameters() == sum(p.numel() for p in module.parameters())
    assert net.macs(patch) == counted_macs(module, torch.zeros((1, net.inputs, *patch)))


def test_default_models_parameters_equal_torchs():
    assert DEFAULT.parameters() == sum(p.numel() for p in UNet(DEFAULT).parameters())


def test_stage_shapes_and_divisor():
    assert DEFAULT.divisor == (8, 32, 32)
    assert DEFAULT.stage_shapes((48, 192, 192))[-1] == (6, 6, 6)
    assert SMALL.divisor == (16, 16, 16)
