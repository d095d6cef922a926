"""A loaded model: ``Segmenter.load("weights").segment(image)``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .engines.choice import ready_network
from .engines.fallbacks import with_fallbacks
from .engines.interface import Network, Precision, Resampler
from .errors import ModelError, argument
from .grid import Grid, Orientation
from .labels import BACKGROUND, NAMES
from .model.description import Crop, ModelDescription, verified_weights
from .model.folder import WEIGHTS, finder_folder, model_folder
from .pipeline import Clock, Pipeline
from .scan.given import as_volume
from .scan.volume import Volume
from .segmentation import Segmentation
from .steps.components import clear_islands
from .steps.organs import Evidence, agreements, clipped_organs, organ_box
from .steps.unlikely import clear_unlikely
from .types import DECODES, Box, Decode, Image, Labels


class Segmenter:
    """Holds a model on a device, ready for any number of scans. Made by :meth:`load`.

    Several threads may segment a scan each: their networks take turns.

    Attributes:
        folder, description: of the model.
        network: the model, ready to run.
        note: what is to be said about the choice of the device, if anything.
    """

    def __init__(
        self,
        folder: Path,
        description: ModelDescription,
        network: Network,
        note: str = "",
        finder: Segmenter | None = None,
    ) -> None:
        self.folder = folder
        self.description = description
        self.network = network
        self.note = note
        self._finder = finder
        self._turn: AbstractContextManager[object] = (
            threading.RLock() if finder is None else finder._turn
        )

    @classmethod
    def load(
        cls,
        path: Path | str = WEIGHTS,
        device: str = "auto",
        *,
        model: str | None = None,
        resampler: Resampler = "torch",
        precision: Precision = "auto",
    ) -> Segmenter:
        """Load a model.

        Args:
            path: a model's folder, or a folder of models.
            device: ``auto``, ``cpu``, ``torch-cpu``, ``cuda`` or ``cuda:N``.
            model: which model of a folder of models; by default the one that its file ``default``
                names.
            resampler: ``torch`` or ``cupy`` (CUDA only).
            precision: ``auto`` takes what the device computes natively (float16 on CUDA; bfloat16
                on the CPU, else int8); ``int8`` is for the CPU; ``f32`` takes neither.

        Raises:
            ModelError: no such model, its files or those of the model that finds the organs for
                it are damaged, or one of them reads more than a CT.
            DeviceError: the device cannot be used here.
        """
        folder = model_folder(Path(path), model)
        description, weights = _load_files(folder)
        network, note = ready_network(description, weights, device, resampler, precision)
        if description.crop is None:
            return cls(folder, description, network, note)
        beside = finder_folder(folder, description.crop.model)
        finding, weights = _load_files(beside)
        # It looks at the whole scan, whatever model.json says of a crop of its own.
        finding = replace(finding, crop=None)
        finder = cls(beside, finding, *ready_network(finding, weights, device, precision=precision))
        return cls(folder, description, network, note, finder)

    def prepare(self, step: float | None = None) -> None:
        """Get ready for the first scan while it is being read: for windows of the patch's shape, if
        they are to be so. ``step`` as for :meth:`segment`.
        """
        if (step or self.description.step) is not None:
            with self._turn:  # another thread's scan may be in the network
                self.network.prepare(self.description.patch)

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
            step: window step as a fraction of the patch, in (0, 1], over the whole scan; by default
                the model's, which may be to cut the windows to the patient
                (:meth:`Placement.fit`), or to the organs that a smaller model finds first.
            on_stage: told the name of each stage as it begins.

        Raises:
            ScanError: the scan cannot be read or is no CT volume.
            TypeError: ``image`` is nothing of that kind.
            ValueError: decode or step are out of range.
            DeviceError: not even the CPU has the memory.
        """
        decode = decode or self.description.decode
        crop = self.description.crop if step is None else None
        step = self.description.step if step is None else step
        if decode not in DECODES or not (step is None or 0 < step <= 1):
            raise ValueError(f"decode {decode!r} or step {step!r} is out of range")
        clock = Clock(on_stage)
        with clock("read"):
            volume = as_volume(image)
        image_ZYX, grid = volume.canonical()
        found = self._find(image_ZYX, grid, crop, clock)
        labels_ZYX, run, fallbacks = self._label(image_ZYX, grid, decode, step, found.box, clock)
        clipped = clipped_organs(labels_ZYX, run.inside(grid))
        agreed, emptied = self._tidy(labels_ZYX, image_ZYX, grid, found, clock)
        with clock("orient"):
            orientation = Orientation.of(volume.grid.direction)
            labels_ZYX = np.ascontiguousarray(orientation.invert(labels_ZYX))
        return Segmentation(
            labels_ZYX,
            volume.grid,
            clock.seconds,
            run.windows,
            run.window,
            (*volume.warnings, *self._said(crop), *found.notes, *fallbacks, *emptied),
            volume.header,
            volume.voxels_ZYX,
            replace(agreed, clipped=clipped),
            volume.source,
            self.description.sha256,
        )

    def _said(self, crop: Crop | None) -> dict[str, None]:
        """What is to be said about the devices; two models may have the same to say."""
        finders = self._finder.note if crop is not None and self._finder is not None else ""
        return dict.fromkeys(note for note in (self.note, finders) if note)

    def _find(self, image_ZYX: Image, grid: Grid, crop: Crop | None, clock: Clock) -> _Found:
        """Where the organs are, by the smaller model; nothing where the scan is not cropped."""
        if crop is None or self._finder is None:
            return _Found()
        inner = Clock(None)
        with clock("organs"):
            labels_ZYX, notes = self._finder.organs(image_ZYX, grid, inner)
            box = organ_box(labels_ZYX, grid, crop.margin_mm)
        clock.split("organs", "organs network", inner.seconds["network"])
        clock.split("organs", "waiting", inner.seconds["waiting"])
        if box is None:
            notes += ("too little of the organs was found to crop to: took the whole body",)
        return _Found(labels_ZYX, box, notes)

    def organs(self, image_ZYX: Image, grid: Grid, clock: Clock) -> tuple[Labels, tuple[str, ...]]:
        """This model's labels of a scan in canonical order, on the network's grid.

        Returns:
            The labels, and the fallbacks that were needed, in words.
        """

        def walk(network: Network) -> Labels:
            return Pipeline(self.description, network, clock, self._turn).coarse(image_ZYX, grid)

        return with_fallbacks(self.network, walk)

    def _label(
        self,
        image_ZYX: Image,
        grid: Grid,
        decode: Decode,
        step: float | None,
        within: Box | None,
        clock: Clock,
    ) -> tuple[Labels, Pipeline, tuple[str, ...]]:
        """Labels of a scan in canonical order, the way that they went, and fallbacks in words."""

        def walk(network: Network) -> tuple[Labels, Pipeline]:
            run = Pipeline(self.description, network, clock, self._turn)
            return run(image_ZYX, grid, decode, step, within), run

        (labels_ZYX, run), notes = with_fallbacks(self.network, walk)
        return labels_ZYX, run, notes

    def _tidy(
        self, labels_ZYX: Labels, image_ZYX: Image, grid: Grid, found: _Found, clock: Clock
    ) -> tuple[Evidence, tuple[str, ...]]:
        """Empty labels that the two models do not agree on, and take away small pieces, and organs
        that are none, in place.

        Returns:
            How far they agree, and what was taken away, in words.
        """
        notes: tuple[str, ...] = ()
        evidence, crop = Evidence(), self.description.crop
        network = grid.resampled_shape(self.description.spacing)
        if found.labels_ZYX is not None and crop is not None:
            with clock("agreement"):
                agreed, by_organ, found_ml = agreements(found.labels_ZYX, labels_ZYX, grid)
                evidence = Evidence(agreement=by_organ, found_ml=found_ml)
                notes = _emptied(labels_ZYX, agreed, crop.agreement)
        if self.description.islands:
            with clock("islands"):
                gone = clear_islands(labels_ZYX, network, self.description.islands)
            if gone:
                names = " and ".join(NAMES[value] for value in gone)
                were = "was" if len(gone) == 1 else "were"
                notes += (f"{names} {were} found below the kidneys, too, and left out there",)
        if evidence.agreement:
            with clock("unlikely"):
                left_out = clear_unlikely(labels_ZYX, image_ZYX, grid, network, evidence.agreement)
            evidence = replace(evidence, left_out_ml=left_out)
        return evidence, notes


@dataclass(frozen=True)
class _Found:
    """What the smaller model says of a scan.

    Attributes:
        labels_ZYX: on its network's grid; None where it was not asked.
        box: of the organs, in voxels of the scan in canonical order; None: all of it.
        notes: in words.
    """

    labels_ZYX: Labels | None = None
    box: Box | None = None
    notes: tuple[str, ...] = ()


def _load_files(folder: Path) -> tuple[ModelDescription, bytes]:
    """A model that reads a CT and nothing else, and its weights. Raises ModelError."""
    description = ModelDescription.load(folder)
    if description.architecture.inputs != 1:
        raise ModelError(
            folder,
            f"reads {description.architecture.inputs} channels, and a CT is one: it is a cascade's "
            "second network",
            "name a model of one input channel",
        )
    return description, verified_weights(folder, description)


def _emptied(labels_ZYX: Labels, agreed: float, least: float) -> tuple[str, ...]:
    """Empty the labels, and say so, where two models agree less about them than that."""
    if agreed >= least:
        return ()
    labels_ZYX[:] = BACKGROUND
    return (
        f"no abdomen is recognised (two models agree by {agreed:.2f}): the labels are left empty; "
        f"{argument('step', 0.5)} gives one model's",
    )
