"""A loaded model: ``Segmenter.load("weights").segment(image)``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from .engines.choice import ready_engine
from .engines.interface import Engine, HalfPrecisionError, Precision, Resampler
from .errors import DeviceError
from .grid import Grid, Orientation
from .labels import BACKGROUND
from .model.description import DECODES, Decode, ModelDescription, verified_weights
from .model.folder import WEIGHTS, finder_folder, model_folder
from .pipeline import Clock, Passage
from .scan.formats import SegType
from .scan.nifti_header import NiftiHeader
from .scan.volume import Volume, of_simpleitk, read_volume
from .scan.writing import LabelMap
from .steps.components import clear_islands
from .steps.organs import agreement, organ_box
from .types import Image, Shape

if TYPE_CHECKING:
    from .scan.dicom.source import DicomSource

T = TypeVar("T")


@dataclass(frozen=True)
class Segmentation:
    """The labels of one scan.

    Attributes:
        labels: uint8 (z, y, x), in the scan's own axis order; values of inference.labels.NAMES.
        grid: of the scan, and so of the labels.
        timings: seconds per stage.
        windows: how many windows the network was run on.
        window: their shape (z, y, x) in voxels of the network's grid.
        warnings: what is odd about the scan, and fallbacks that were needed, in words.
        header: the NIfTI header that the labels carry.
        source: the DICOM frames of the scan; None for other formats.
        weights_sha256: of the model that made them.
    """

    labels: npt.NDArray[np.uint8]
    grid: Grid
    timings: dict[str, float]
    windows: int
    window: Shape
    warnings: tuple[str, ...]
    header: NiftiHeader
    source: DicomSource | None = None
    weights_sha256: str = ""

    def write(self, path: Path | str, *, label_table: bool = True) -> None:
        """Write as .nii.gz with the scan's exact geometry. Raises OutputError.

        ``label_table`` puts the labels' names and colours into its header.
        """
        self.label_map().write("nifti", Path(path), label_table=label_table)

    def write_dicom_seg(self, path: Path | str, seg_type: SegType = "labelmap") -> None:
        """Write as DICOM SEG on the scan's own slices: a label map, or ``binary``.

        Raises:
            OutputError: the scan was no DICOM series, or the file cannot be written.
        """
        self.label_map().write("dicom-seg", Path(path), seg_type=seg_type)

    def write_rtstruct(self, path: Path | str) -> None:
        """Write as DICOM RTSTRUCT on the scan's own slices.

        Raises:
            OutputError: the scan was no DICOM series, or the file cannot be written.
        """
        self.label_map().write("rtstruct", Path(path))

    def write_seg_nrrd(self, path: Path | str) -> None:
        """Write as 3D Slicer's .seg.nrrd. Raises OutputError."""
        self.label_map().write("seg-nrrd", Path(path))

    def label_map(self) -> LabelMap:
        """The labels with what the formats say of them."""
        algorithm = None
        if self.source is not None:
            from .scan.dicom.derived import Algorithm

            algorithm = Algorithm(self.weights_sha256)
        return LabelMap(self.labels, self.grid, self.header, self.source, algorithm)


class Segmenter:
    """Holds a model on a device, ready for any number of scans. Made by :meth:`load`.

    Several threads may segment a scan each: their networks take turns.
    """

    def __init__(
        self,
        folder: Path,
        description: ModelDescription,
        engine: Engine,
        note: str = "",
        finder: Segmenter | None = None,
    ) -> None:
        self.folder = folder
        self.description = description
        self.engine = engine
        self._note = note
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
            ModelError: no such model, or its files or those of the model that finds the organs for
                it are damaged.
            DeviceError: the device cannot be used here.
        """
        folder = model_folder(Path(path), model)
        description = ModelDescription.load(folder)
        weights = verified_weights(folder, description)
        engine, note = ready_engine(description, weights, device, resampler, precision)
        if description.crop is None:
            return cls(folder, description, engine, note)
        beside = finder_folder(folder, description.crop.model)
        # It looks at the whole scan, whatever model.json says of a crop of its own.
        finding = replace(ModelDescription.load(beside), crop=None)
        weights = verified_weights(beside, finding)
        finder = cls(beside, finding, *ready_engine(finding, weights, device, precision=precision))
        return cls(folder, description, engine, note, finder)

    def prepare(self, step: float | None = None) -> None:
        """Get ready for the first scan while it is being read: for windows of the patch's shape, if
        they are to be so. ``step`` as for :meth:`segment`.
        """
        if (step or self.description.step) is not None:
            self.engine.prepare(self.description.patch)

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
            volume = _volume(image)
        finder = self._finder if crop is not None else None
        # Both may have the same to say about their device.
        said = {self._note: None, finder._note if finder is not None else "": None}
        notes: list[str] = [*volume.warnings, *filter(None, said)]
        orientation = Orientation.of(volume.grid.direction)
        image_ZYX, grid = volume.canonical()
        found, within = None, None
        if crop is not None and finder is not None:
            with clock("organs"):
                inner = Clock(None)
                found = finder.organs(image_ZYX, grid, notes, inner)
                within = organ_box(found, grid, crop.margin_mm)
            clock.split("organs", "organs network", inner.seconds["network"])
            clock.split("organs", "waiting", inner.seconds["waiting"])
            if within is None:
                notes.append("too little of the organs was found to crop to: took the whole body")

        def walk(engine: Engine) -> tuple[npt.NDArray[np.uint8], Passage]:
            run = Passage(self.description, engine, clock, self._turn)
            return run(image_ZYX, grid, decode, step, within), run

        labels, run = self._with_fallbacks(walk, notes)
        if found is not None and crop is not None and crop.agreement:
            with clock("agreement"):
                notes += _emptied(labels, found, crop.agreement)
        if self.description.islands:
            with clock("islands"):
                network = grid.resampled_shape(self.description.spacing)
                clear_islands(labels, network, self.description.islands)
        with clock("orient"):
            labels = np.ascontiguousarray(orientation.invert(labels))
        return Segmentation(
            labels,
            volume.grid,
            clock.seconds,
            run.windows,
            run.window,
            tuple(notes),
            volume.header,
            volume.source,
            self.description.sha256,
        )

    def organs(
        self, image_ZYX: Image, grid: Grid, notes: list[str], clock: Clock
    ) -> npt.NDArray[np.uint8]:
        """This model's labels of a scan in canonical order, on the network's grid.

        Fallbacks that were needed are added to ``notes``.
        """

        def walk(engine: Engine) -> npt.NDArray[np.uint8]:
            return Passage(self.description, engine, clock, self._turn).coarse(image_ZYX, grid)

        return self._with_fallbacks(walk, notes)

    def _with_fallbacks(self, walk: Callable[[Engine], T], notes: list[str]) -> T:
        """Do something with the engine, or with what it falls back to; say so in ``notes``.

        Raises:
            DeviceError: not even the CPU has the memory.
        """
        engine = self.engine
        while True:
            batch = engine.batch
            try:
                result = walk(engine)
                if engine.batch < batch:
                    notes.append(f"{engine.name} ran out of memory: batches of {engine.batch}")
                return result
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
                lack = "range" if isinstance(error, HalfPrecisionError) else "memory"
                notes.append(f"{engine.name} ran out of {lack}: going on with {next_engine.name}")
            # Outside the handler, whose traceback would keep the failed run's memory alive. Only
            # this scan pays: the next one starts on the device again.
            engine = next_engine


def _emptied(
    labels_ZYX: npt.NDArray[np.uint8], found_ZYX: npt.NDArray[np.uint8], least: float
) -> list[str]:
    """Empty the labels, and say so, where they agree less than that with what was found first."""
    agreed = agreement(found_ZYX, labels_ZYX)
    if agreed >= least:
        return []
    labels_ZYX[:] = BACKGROUND
    return [
        f"no abdomen is recognised (two models agree by {agreed:.2f}): the labels are left empty; "
        "--step 0.5 gives one model's"
    ]


def _volume(image: Volume | Path | str | Any) -> Volume:
    if isinstance(image, Volume):
        return image
    if isinstance(image, Path | str):
        return read_volume(Path(image))
    if not hasattr(image, "GetNumberOfComponentsPerPixel"):
        raise TypeError(
            "a scan is a file's path, a Volume (Volume.of_array(voxels, grid)) or a SimpleITK "
            f"image, not {type(image).__name__}"
        )
    return of_simpleitk(image)
