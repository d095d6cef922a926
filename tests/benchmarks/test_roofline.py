"""The work of the network, counted by layer."""

from __future__ import annotations

import pytest

from benchmarks.roofline import FORMATS, Ceilings, Format, Layer, figures, layers
from inference.model.description import Architecture

DEFAULT = Architecture(
    features=(16, 32, 64, 128, 256),
    strides=((1, 1, 1), *[(2, 2, 2)] * 4),
    kernels=((3, 3, 3),) * 5,
)
SMALL = Architecture(
    features=(2, 4), strides=((1, 1, 1), (2, 2, 2)), kernels=((3, 3, 3), (1, 3, 3)), convolutions=1
)


@pytest.mark.parametrize("net", [DEFAULT, SMALL])
def test_flops_are_twice_the_macs(net):
    work = layers(net, (32, 64, 32))
    assert sum(layer.flops for layer in work) == 2 * net.macs((32, 64, 32))


BYTE = Format(kept=1, made=1)


def test_moved_values_by_hand():
    found = layers(SMALL, (2, 2, 2))
    encoder, deep, up, decoder, head = (layer.moved(BYTE) for layer in found)
    # 8 voxels; 1 -> 2 features: read 8, written 16 three times, 1 * 2 * 27 weights.
    assert encoder == 8 + 3 * 16 + 54
    # 2 -> 4 features with stride 2: reads all 16 values, writes 4 at one voxel, 2 * 4 * 9 weights.
    assert deep == 16 + 3 * 4 + 72
    # 4 -> 2 features upwards: no normalisation.
    assert up == 4 + 16 + 64
    assert decoder == 2 * 16 + 3 * 16 + 4 * 2 * 27
    assert head == 16 + 14 * 8 + 28
    assert [layer.name for layer in found[2:]] == ["up.0", "decoder.0.0", "heads.0"]


def test_merged_transposed_convolutions_by_hand():
    encoder, deep, up, decoder, head = layers(SMALL, (2, 2, 2), merged=range(1))
    # A kernel of 4 x 4 x 4 from 4 to 2 features at one voxel; then only the skip is convolved.
    assert up.flops == 2 * 4 * 2 * 64
    assert up.moved(BYTE) == 4 + 16 + 4 * 2 * 64
    assert decoder.flops == 2 * 2 * 2 * 27 * 8
    assert decoder.moved(BYTE) == 2 * 16 + 3 * 16 + 2 * 2 * 27
    assert [encoder, deep, head] == [layers(SMALL, (2, 2, 2))[i] for i in (0, 1, 4)]


def test_int8_keeps_bytes_between_layers_and_makes_floats():
    encoder, _, up, _, head = (layer.moved(FORMATS["int8"]) for layer in layers(SMALL, (2, 2, 2)))
    # The convolution writes floats, the normalisation reads them and writes bytes.
    assert encoder == 8 + 54 + 16 * (4 + 4 + 1)
    assert up == 4 + 64 + 16
    assert head == 16 + 28 + 14 * 8 * 4


def test_least_time_is_the_worse_of_both_ceilings():
    ceilings = Ceilings(flops_per_s=100.0, bytes_per_s=40.0, form=FORMATS["f32"])
    heavy = Layer("a", weights=10, visits=100, read=1, written=1, normalised=False)
    assert heavy.flops == 2000
    assert ceilings.seconds(heavy) == 20.0
    light = Layer("b", weights=10, visits=1, read=90, written=100, normalised=False)
    assert light.moved(BYTE) == 200
    assert ceilings.seconds(light) == 20.0


def test_least_time_of_a_window_adds_layers():
    infinite = Ceilings(float("inf"), 1.0, FORMATS["bf16"])
    work = layers(SMALL, (2, 2, 2))
    least = figures(work, 3, infinite)["least_s"]
    assert least == 3 * 2 * sum(layer.moved(BYTE) for layer in work)
