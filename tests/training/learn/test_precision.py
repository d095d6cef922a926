"""Number formats: what must not be computed in half precision is not."""

from __future__ import annotations

import torch
from torch import nn

from training.learn.precision import autocast, keep_in_float32

CPU = torch.device("cpu")


def test_a_module_that_is_kept_in_float32_ignores_autocast():
    kept, other = nn.Conv3d(4, 4, 3, padding=1), nn.Conv3d(4, 4, 3, padding=1)
    keep_in_float32(kept, CPU)
    image = torch.rand(1, 4, 2, 5, 6)
    with autocast(torch.bfloat16, CPU):
        assert other(image).dtype == torch.bfloat16
        assert kept(image.bfloat16()).dtype == torch.float32
    torch.testing.assert_close(
        kept(image), nn.functional.conv3d(image, kept.weight, kept.bias, padding=1)
    )


def test_the_state_of_a_kept_module_is_unchanged():
    module = nn.Sequential(nn.Conv3d(1, 2, 3))
    names = list(module.state_dict())
    keep_in_float32(module, CPU)
    assert list(module.state_dict()) == names
