"""A loaded model: ``Segmenter.load("weights").segment(image)``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.body import BODY_HU, body_mask
from inference.decode import Decoder
from inference.description import DECODES, Decode, ModelDescription, verified_weights
from inference.engines import Array, Engine, Precision, choose_device, load_engine
from inference.errors import DeviceError, ModelError
from inference.grid import Grid, Orientation
from inference.nifti import NiftiHeader
from inference.volume import Volume, of_simpleitk, read_volume, write_labels
from inference.windows import Accumulator, Placement, box, importance, mirror_index

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


@dataclass(frozen=True)
class Segmentation:
    """The labels of one scan.

    Attributes:
        labels: uint8 (z, y, x), in the scan's own axis order; values of inference.labels.NAMES.
        grid: of the scan, and so of the labels.
        timings: seconds per stage.
        windows: windows that the network was run on.
        warnings: what is odd about the scan, and fallbacks that were needed, in words.
    """

    labels: npt.NDArray[np.uint8]
    grid: Grid
    timings: dict[str, float]
    windows: int
    warnings: tuple[str, ...]
    header: NiftiHeader

    def write(self, path: Path | str) -> None:
        """Write as .nii.gz with the scan's exact geometry. Raises OutputError."""
        write_labels(Path(path), self.labels, self.header)


class Segmenter:
    """Holds a model on a device, ready for any number of scans. Made by :meth:`load`."""

    def __init__(
        self, folder: Path, description: ModelDescription, engine: Engine, note: str = ""
    ) -> None:
        self.folder = folder
        self.description = description
        self.engine = engine
        self._note = note

    @classmethod
    def load(
        cls,
        path: Path | str = WEIGHTS,
        device: str = "auto",
        *,
        model: str | None = None,
        resampler: str = "torch",
        precision: Precision = "auto",
    ) -> Segmenter:
        """Load a model.

        Args:
            path: a model's folder, or a folder of models.
            device: ``auto``, ``cpu``, ``torch-cpu``, ``cuda`` or ``cuda:N``.
            model: which model of a folder of models; by default the one that its file ``default``
                names.
            resampler: ``torch`` or ``cupy`` (CUDA only).
            precision: ``auto`` takes half precision where the device computes it natively (float16
                on CUDA, bfloat16 on the CPU); ``f32`` does not.

        Raises:
            ModelError: no such model, or its files are damaged.
            DeviceError: the device cannot be used here.
        """
        folder = model_folder(Path(path), model)
        description = ModelDescription.load(folder)
        weights = verified_weights(folder, description)
        chosen, note = choose_device(device), ""
        try:
            engine = load_engine(description, weights, chosen, resampler, precision)
        except RuntimeError as error:
            # torch's word for a device without memory for the model, or without a sound driver.
            cause = str(error).splitlines()[0]
            if device != "auto" or not chosen.startswith("cuda"):
                raise DeviceError(f"device {device}", f"does not take the model ({cause})",
                                  "free its memory, or use --device cpu") from error  # fmt: skip
            engine = load_engine(description, weights, choose_device("cpu"), precision=precision)
            note = f"the GPU does not take the model ({cause}): going on with {engine.name}"
        return cls(folder, description, engine, note)

    def segment(
        self,
        image: Volume | Path | str | Any,
        *,
        decode: Decode | None = None,
        step: float | None = None,
        on_stage: Callable[[str], None] | None = None,
    ) -> Segmentation:
        """Segment one scan.

        Args:
            image: a file's path, a Volume, or a SimpleITK image.
            decode: ``nearest`` or ``linear``; by default the model's.
            step: window step as a fraction of the patch, in (0, 1]; by default the model's, which
                may be to cut the windows to the patient (:meth:`Placement.fit`).
            on_stage: told the name of each stage as it begins.

        Raises:
            ScanError: the scan cannot be read or is no CT volume.
            ValueError: decode or step are out of range.
            DeviceError: not even the CPU has the memory.
        """
        decode = decode or self.description.decode
        step = self.description.step if step is None else step
        if decode not in DECODES or not (step is None or 0 < step <= 1):
            raise ValueError(f"decode {decode!r} or step {step!r} is out of range")
        clock = _Clock(on_stage)
        with clock("read"):
            volume = _volume(image)
        notes: list[str] = [*volume.warnings, *filter(None, [self._note])]
        orientation = Orientation.of(volume.grid.direction)
        engine: Engine | None = self.engine
        while engine is not None:
            run, next_engine = _Run(self.description, engine, clock), None
            batch = engine.batch
            try:
                labels = run(volume, decode, step)
                if engine.batch < batch:
                    notes.append(f"{engine.name} ran out of memory: batches of {engine.batch}")
            except MemoryError as error:
                raise DeviceError(
                    "this machine",
                    "has not enough memory for the scan",
                    "give more memory, or crop the scan",
                ) from error
            except RuntimeError as error:
                next_engine = engine.fallback(error)
                if next_engine is None:
                    raise
                notes.append(f"{engine.name} ran out of memory: going on with {next_engine.name}")
            # Outside the handler, whose traceback would keep the failed run's memory alive. Only
            # this scan pays: the next one starts on the device again.
            engine = next_engine
        with clock("orient"):
            labels = np.ascontiguousarray(orientation.invert(labels))
        return Segmentation(
            labels, volume.grid, clock.seconds, run.windows, tuple(notes), volume.header
        )


def model_folder(path: Path, model: str | None = None) -> Path:
    """The folder of one model: ``path`` itself, or one below it. Raises ModelError."""
    if model is not None:
        named = Path(model) if Path(model).name != model else path / model
        if not (named / "model.json").is_file():
            known = sorted(p.parent.name for p in path.glob("*/model.json"))
            raise ModelError(
                f"model {model}",
                "is not there",
                f"use one of: {', '.join(known) or 'none installed'}",
            )
        return named
    if (path / "model.json").is_file():
        return path
    try:
        return path / (path / "default").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ModelError(path, "holds no model", "name a model's folder") from error


def _volume(image: Volume | Path | str | Any) -> Volume:
    if isinstance(image, Volume):
        return image
    if isinstance(image, Path | str):
        return read_volume(Path(image))
    return of_simpleitk(image)


class _Clock:
    """Adds up seconds per stage."""

    def __init__(self, on_stage: Callable[[str], None] | None) -> None:
        self.seconds: dict[str, float] = {}
        self._on_stage = on_stage

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        if self._on_stage:
            self._on_stage(stage)
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


class _Run:
    """One scan's way through resampling, windows and decoding on one engine."""

    def __init__(self, description: ModelDescription, engine: Engine, clock: _Clock) -> None:
        self._description, self._engine, self._clock = description, engine, clock
        self.windows = 0

    def __call__(self, volume: Volume, decode: Decode, step: float | None) -> npt.NDArray[np.uint8]:
        """Labels (z, y, x) in canonical order."""
        description, engine, clock = self._description, self._engine, self._clock
        image_ZYX, grid = volume.canonical()
        shape = grid.resampled_shape(description.spacing)
        with clock("resample"):
            image = engine.network_image(image_ZYX, description.intensity, shape)
        with clock("body"):
            threshold = description.intensity.normalised(BODY_HU)
            body = body_mask(engine.numpy(image), threshold, description.spacing)
            placement = self._place(body, step)
            mirrors = [mirror_index(n, m) for n, m in zip(shape, placement.shape, strict=True)]
            for axis, (index, _) in enumerate(mirrors):
                if len(index) != shape[axis]:
                    image = engine.take(image, index, axis)
        self.windows = placement.count
        inside = tuple(
            slice(before, before + n) for (_, before), n in zip(mirrors, shape, strict=True)
        )
        with clock("compile"):
            engine.prepare(placement.patch)
        decoder = engine.decoder(decode, shape, grid.shape)
        self._stream(placement, image, inside, decoder)
        with clock("decode"):
            return decoder.finish()

    def _place(self, body: npt.NDArray[np.bool_], step: float | None) -> Placement:
        patch = self._description.patch
        if step is None:
            return Placement.fit(body, patch, self._description.architecture.divisor)
        for axis, (n, p) in enumerate(zip(body.shape, patch, strict=True)):
            body = body.take(mirror_index(n, p)[0], axis)
        return Placement.plan(body.shape, patch, step, body)

    def _stream(
        self, placement: Placement, image: Array, inside: tuple[slice, ...], decoder: Decoder
    ) -> None:
        engine, clock = self._engine, self._clock
        channels = self._description.architecture.outputs
        with clock("accumulate"):
            plane = placement.shape[1:]
            accumulator = Accumulator(
                placement,
                engine.zeros((channels, placement.patch[0], *plane)),
                engine.zeros((placement.patch[0], *plane)),
                engine.array(importance(placement.patch)),
            )

        def hand_on(until: int) -> None:
            finished = accumulator.advance(until)
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

        for layer in placement.layers:
            hand_on(layer[0][0])
            left = layer
            while left:
                # The batch may shrink on the way, where memory is short.
                starts, left = left[: engine.batch], left[engine.batch :]
                with clock("network"):
                    logits = engine.forward([image[box(s, placement.patch)] for s in starts])
                with clock("accumulate"):
                    for start, window in zip(starts, logits, strict=True):
                        accumulator.add(start, window)
        hand_on(placement.shape[0])
