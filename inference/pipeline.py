"""One scan's way through resampling, windows and decoding, with one network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import numpy as np
import numpy.typing as npt

from .engines.interface import Network
from .grid import Grid
from .model.description import ModelDescription
from .steps.accumulator import accumulator
from .steps.body import BODY_HU, body_mask
from .steps.boxes import bounding_box, grown, whole, window_box
from .steps.decode import Decoder
from .steps.resample import reaches
from .steps.windows import Placement, Room, mirror_index
from .types import Array, Box, Decode, Image, Labels, Shape


class Clock:
    """Adds up seconds per stage, and tells ``on_stage`` each stage's name as it begins.

    Attributes:
        seconds: by stage.
        settle: called before a stage's time is taken: waits for what the stage has begun.
    """

    def __init__(self, on_stage: Callable[[str], None] | None) -> None:
        self.seconds: dict[str, float] = {}
        self.settle: Callable[[], None] = lambda: None
        self._on_stage = on_stage

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        if self._on_stage:
            self._on_stage(stage)
        start = time.perf_counter()
        try:
            yield
            self.settle()
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def split(self, stage: str, part: str, seconds: float) -> None:
        """Count ``seconds`` of a stage as a stage of their own."""
        self.seconds[stage] -= seconds
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


def place(
    body_ZYX: npt.NDArray[np.bool_], description: ModelDescription, step: float | None, room: Room
) -> tuple[Box, Placement]:
    """The region of the network's grid that is computed, and its windows.

    Args:
        body_ZYX: True in the patient.
        description: of the model.
        step: window step as a fraction of the patch, over the whole scan; None cuts the windows to
            the patient.
        room: memory for windows that are cut to the patient.

    Returns:
        (region, windows relative to its start, mirrored up to a window where it is smaller).
    """
    patch, divisor, shape = description.patch, description.architecture.divisor, body_ZYX.shape
    if step is None:
        margin = (divisor[0] // 2, divisor[1] // 2, divisor[2] // 2)
        extent = (shape[0], shape[1], shape[2])
        return place_within(bounding_box(body_ZYX, margin), extent, description, room)
    for axis, (n, p) in enumerate(zip(shape, patch, strict=True)):
        body_ZYX = body_ZYX.take(mirror_index(n, p)[0], axis)
    z_size, y_size, x_size = body_ZYX.shape
    region = whole((shape[0], shape[1], shape[2]))
    return region, Placement.plan((z_size, y_size, x_size), patch, step, body_ZYX)


def place_within(
    wanted: Box, extent: Shape, description: ModelDescription, room: Room
) -> tuple[Box, Placement]:
    """As :func:`place`, for a window_box ``wanted`` of a grid of shape ``extent``."""
    divisor = description.architecture.divisor
    placement = Placement.fit(_size(wanted), description.patch, divisor, room)
    return grown(wanted, placement.patch, extent), placement


class Pipeline:
    """Walks one scan through the rooms.

    Args:
        description, network: the model.
        clock: of the scan.
        turn: a re-entrant lock that scans share whose networks are not to run at a time.

    Attributes:
        windows, window: how many the network was run on, and their shape (z, y, x).
        region: the part of the network's grid that was looked at.
    """

    def __init__(
        self,
        description: ModelDescription,
        network: Network,
        clock: Clock,
        turn: AbstractContextManager[object],
    ) -> None:
        self._description, self._network, self._clock = description, network, clock
        self._turn = turn
        clock.settle = network.arrays.settle
        self.windows, self.window = 0, description.patch
        self.region: Box = whole(description.patch)

    def coarse(self, image_ZYX: Image, grid: Grid) -> Labels:
        """Labels on the network's grid of a scan in canonical order, windows cut to the patient."""
        shape = grid.resampled_shape(self._description.spacing)
        return self._labels(image_ZYX, shape, shape, "nearest", None, None)

    def __call__(
        self,
        image_ZYX: Image,
        grid: Grid,
        decode: Decode,
        step: float | None,
        within: Box | None = None,
    ) -> Labels:
        """Labels (z, y, x) of a scan in canonical order.

        Args:
            image_ZYX, grid: the scan.
            decode, step: see :meth:`inference.segmenter.Segmenter.segment`.
            within: voxels of the scan outside of which nothing need be looked at; the region
                that is computed is a little larger where a window has to be.
        """
        shape = grid.resampled_shape(self._description.spacing)
        if within is not None:
            z, y, x = (
                slice(part.start * n // m, -(-part.stop * n // m))
                for part, n, m in zip(within, shape, grid.shape, strict=True)
            )
            within = (z, y, x)
        labels = self._labels(image_ZYX, shape, grid.shape, decode, step, within)
        self._network.arrays.leave()
        return labels

    def inside(self, grid: Grid) -> Box:
        """The voxels of the scan that the region decided about."""
        shape = grid.resampled_shape(self._description.spacing)
        z, y, x = (axis.inside for axis in reaches(shape, grid.shape, self.region))
        return z, y, x

    def _labels(
        self,
        image_ZYX: Image,
        shape: Shape,
        out: Shape,
        decode: Decode,
        step: float | None,
        within: Box | None,
    ) -> Labels:
        arrays, clock = self._network.arrays, self._clock
        arrays.enter()
        with self._alone() if arrays.exclusive else nullcontext():
            image, region, placement = self._placed(image_ZYX, shape, step, within)
            with clock("body"):
                mirrors = [
                    mirror_index(n, m) for n, m in zip(image.shape, placement.shape, strict=True)
                ]
                for axis, (index, _) in enumerate(mirrors):
                    if len(index) != image.shape[axis]:
                        image = arrays.take(image, index, axis)
            self.windows, self.window, self.region = placement.count, placement.patch, region
            inside = tuple(
                slice(before, before + n)
                for (_, before), n in zip(mirrors, _size(region), strict=True)
            )
            decoder = arrays.decoder(decode, shape, out, region)
            # Windows cut to the patient are as large as the memory allows: one at a time.
            self._stream(
                placement, image, inside, decoder, 1 if step is None else self._network.batch
            )
            with clock("decode"):
                return decoder.finish()

    def _placed(
        self, image_ZYX: Image, shape: Shape, step: float | None, within: Box | None
    ) -> tuple[Array, Box, Placement]:
        """The image of the region that is computed, the region, and its windows."""
        description, network, clock = self._description, self._network, self._clock
        arrays, intensity = network.arrays, description.intensity
        if within is not None:
            region, placement = place_within(within, shape, description, network.room)
            with clock("resample"):
                return arrays.network_image(image_ZYX, intensity, shape, region), region, placement
        with clock("resample"):
            image = arrays.network_image(image_ZYX, intensity, shape)
        with clock("body"):
            threshold = intensity.normalised(BODY_HU)
            if intensity.lower < BODY_HU:
                body = body_mask(image, threshold, description.spacing, arrays.numpy)
            else:  # air looks like fat
                body = np.ones(shape, bool)
            region, placement = place(body, description, step, network.room)
        return image[region], region, placement

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with ExitStack() as turn:
            with self._clock("waiting"):
                turn.enter_context(self._turn)
            yield

    def _stream(
        self,
        placement: Placement,
        image: Array,
        inside: tuple[slice, ...],
        decoder: Decoder,
        batch: int,
    ) -> None:
        network, arrays, clock = self._network, self._network.arrays, self._clock
        channels = self._description.architecture.outputs
        with clock("accumulate"):
            gathered = accumulator(placement, channels, arrays.sums, arrays.zeros, arrays.array)

        def hand_on(until: int) -> None:
            finished = gathered.advance(until)
            while True:
                with clock("accumulate"):
                    slab = next(finished, None)
                if slab is None:
                    return
                first, logits = slab
                start = max(inside[0].start - first, 0)
                stop = min(inside[0].stop - first, logits.shape[1])
                if stop > start:
                    with clock("decode"):
                        decoder.push(logits[:, start:stop, inside[1], inside[2]])

        with self._alone():
            with clock("compile"):
                network.prepare(placement.patch)
            for layer in placement.layers:
                hand_on(layer[0][0])
                left = layer
                while left:
                    # The network's batch may shrink on the way, where memory is short.
                    count = min(batch, network.batch)
                    starts, left = left[:count], left[count:]
                    with clock("network"):
                        boxes = [window_box(start, placement.patch) for start in starts]
                        logits = network.forward([image[box] for box in boxes])
                    with clock("accumulate"):
                        for start, window in zip(starts, logits, strict=True):
                            gathered.add(start, window)
                        del logits, window  # before the next windows need the memory
        hand_on(placement.shape[0])


def _size(region: Box) -> Shape:
    z, y, x = (part.stop - part.start for part in region)
    return (z, y, x)
