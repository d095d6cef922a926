"""What runs a scan: arrays on some device, and a network that is ready to run on them."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..model.description import Intensity
from ..steps.decode import Decoder
from ..steps.windows import Room
from ..types import Array, Box, Decode, Image, Shape

Precision = Literal["auto", "int8", "f32"]
Resampler = Literal["torch", "cupy"]


class HalfPrecisionError(RuntimeError):
    """A network's numbers left the range of half precision."""


class Arrays(Protocol):
    """Where a scan's arrays live, and the operations on them that depend on it.

    Attributes:
        exclusive: a scan needs the device for all that it does, not for the network alone.
    """

    exclusive: bool

    def enter(self) -> None:
        """Called by each thread before anything else."""

    def leave(self) -> None:
        """Called when a scan's labels are in main memory: give back what is kept for itself."""

    def settle(self) -> None:
        """Wait until everything asked for is done: for times that are true."""

    def network_image(
        self, image_ZYX: Image, intensity: Intensity, shape: Shape, region: Box | None = None
    ) -> Array:
        """A region of the scan, clipped, normalised and resampled to ``shape`` (z, y, x); by
        default all of it."""

    def zeros(self, shape: Shape) -> Array:
        """A float32 array of zeros."""

    def sums(self, channels: int, shape: Shape) -> Array:
        """Zeros of (channels, *shape), laid out as it suits adding the network's logits up."""

    def array(self, values: npt.NDArray[np.float32]) -> Array:
        """A NumPy array brought to the device."""

    def numpy(self, array: Array) -> npt.NDArray[np.float32]:
        """An array brought back from the device."""

    def take(self, array: Array, index: npt.NDArray[np.int64], axis: int) -> Array:
        """``array`` gathered at ``index`` along one axis."""

    def decoder(self, mode: Decode, network: Shape, scan: Shape, region: Box) -> Decoder:
        """A decoder for logits of a region of the network's grid."""


class Network(Protocol):
    """A network that is ready to run.

    Attributes:
        name: of the engine and its device, for reports.
        arrays: whose arrays it takes and gives.
        batch: windows that :meth:`forward` takes at once.
    """

    name: str
    batch: int

    @property
    def arrays(self) -> Arrays:
        """See above."""

    @property
    def room(self) -> Room:
        """The memory that there should be for windows cut to the patient, and their least size."""

    def prepare(self, window: Shape) -> None:
        """Get ready for windows of this shape (z, y, x)."""

    def forward(self, windows: list[Array]) -> list[Array]:
        """Logits (labels, z, y, x) of each image window (z, y, x), the caller's to keep.

        Of any layout, and of the types that :func:`..steps.bfloat16.as_float32` takes.
        """

    def peak_memory(self) -> int | None:
        """Peak bytes of device memory since loading; None on the CPU."""

    def fallback(self, error: Exception) -> Network | None:
        """A network without the lack of memory or of range that ``error`` reports; else None."""
