"""What a scan takes of a GPU's memory, by computation."""

from __future__ import annotations

from math import prod

from ..grid import Grid
from ..model.architecture import Architecture
from ..model.description import ModelDescription
from ..steps.accumulator import memory_of
from ..steps.windows import Placement, Room

# Memory that the network and the accumulator may take where windows are cut to the patient.
WINDOW_BYTES = 540 << 20
# Planes of the network's grid that are resampled, pushed to the decoder, and slices that are
# decoded at once.
IMAGE_PLANES = 16
SLAB_PLANES = 4
SLAB_SLICES = 2


def window_bytes(net: Architecture, value: int) -> int:
    """Memory for each voxel of a window, with numbers of ``value`` bytes.

    At its highest the last stage of the decoder holds what comes from below, the skip connection,
    and both of their convolutions; the logits and the window come on top.
    """
    return value * (4 * net.features[0] + net.outputs) + (4 + value) * net.inputs


def memory_plan(description: ModelDescription, grid: Grid, value: int = 2) -> dict[str, int]:
    """Bytes on a CUDA device, beside CUDA's own context, at each stage of a scan, at most.

    For windows cut to the patient, one at a time, and a patient who fills the scan.

    Args:
        description: of the model.
        grid: of the scan.
        value: bytes of the network's numbers: 2 for half precision, 4 for full.
    """
    net, shape = description.architecture, grid.resampled_shape(description.spacing)
    per_voxel = window_bytes(net, value)
    room = Room(WINDOW_BYTES, per_voxel)
    placement = Placement.fit(shape, description.patch, net.divisor, room)
    plane, scan_plane = prod(placement.shape[1:]), prod(grid.shape[1:])
    window = prod(placement.patch)
    slab = 2 + -(-IMAGE_PLANES * grid.shape[0] // shape[0])
    always = value * net.parameters() + 4 * prod(placement.shape)  # weights and image
    gathered = memory_of(placement, net.outputs)
    return {
        # int16, float32 and clipped voxels; for each plane its neighbours and their blend.
        "resample": always + slab * 10 * scan_plane + 12 * IMAGE_PLANES * scan_plane,
        "network": always + per_voxel * window + gathered,
        # Planes are held, joined and in float32; slices are enlarged along an axis from either
        # side and blended.
        "decode": always + value * net.outputs * window + gathered
        + 4 * net.outputs * (3 * (SLAB_PLANES + 2) * plane + 3 * SLAB_SLICES * scan_plane),
    }  # fmt: skip
