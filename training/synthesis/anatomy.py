"""From a map of labelled structures to a body: every voxel gets a tissue and a position in it.

The label maps name organs, bones and a few muscles; what lies between and around them has to be
invented: visceral fat, intercostal and body-wall muscle, subcutaneous fat, skin. Distances are
kept instead of fixed layers, so that each synthetic scan can choose its own thickness of fat,
kidney cortex and bone, and its own level of gas or fluid, by a table lookup.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.errors import AbdoboxError
from inference.grid import Orientation
from inference.scan.volume import read_labels
from inference.types import Labels, Mask, Triple
from training.synthesis.tissues import BY_HEIGHT, LABELS, LUMENS, Tissue, tissue_of

# code = 256 * tissue + position; positions keep this margin to both ends of their range, so that
# a jitter of up to as much cannot turn one tissue into another.
MARGIN = 32
POSITIONS = 256 - 2 * MARGIN
# Depth below a surface: positions per mm. Distance outside the body: positions per sqrt(mm), which
# resolves the muscle wall finely and still reaches 100 mm.
DEPTH_STEPS_PER_MM = 4.0
OUTSIDE_STEPS = 14.0
# Room for fat and skin around the structures, mm.
BORDER_MM = 75.0
# The body is invented on a coarser grid; its layers are smooth.
COARSE = 2
ANGLES = 180
# Bones that stand out of the trunk.
LIMBS = ("humerus", "clavicula", "femur")

Codes = npt.NDArray[np.int16]


class AnatomyError(AbdoboxError):
    """A label map from which no body can be made."""


@dataclass(frozen=True)
class Anatomy:
    """One body, ready to be drawn.

    Attributes:
        codes_ZYX: 256 * tissue + position, canonical LPS order, isotropic voxels.
        spacing: of the voxels, mm.
        annotated: FLARE labels that the map names.
        organs_z: first and last slice, as a half-open range, that shows one of them but the
            aorta and the esophagus, which run up the chest.
    """

    codes_ZYX: Codes
    spacing: float
    annotated: tuple[int, ...]
    organs_z: tuple[int, int]

    def save(self, path: Path) -> None:
        """Write ``path`` (.npy, can be memory-mapped by many processes) and a JSON beside it."""
        np.save(path, self.codes_ZYX)
        rest = {"spacing": self.spacing, "annotated": self.annotated, "organs_z": self.organs_z}
        path.with_suffix(".json").write_text(json.dumps(rest), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Anatomy:
        """What :meth:`save` wrote, memory-mapped."""
        rest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        first, last = rest["organs_z"]
        codes = np.load(path, mmap_mode="c")  # torch wants a writable array; nothing writes
        return cls(codes, rest["spacing"], tuple(rest["annotated"]), (first, last))


def build_anatomy(label_map: Path, structures: Path) -> Anatomy:
    """Make a body of a label map.

    Args:
        label_map: TotalSegmentator v2 ids, isotropic voxels, any axis orientation.
        structures: JSON object id -> structure name.

    Raises:
        AnatomyError: the voxels are not isotropic, or an id has no known name.
    """
    labels, grid = read_labels(label_map)
    orientation = Orientation.of(grid.direction)
    labels_ZYX = np.ascontiguousarray(orientation.apply(labels))
    spacing = orientation.canonical(grid).spacing
    if max(spacing) > 1.01 * min(spacing):
        raise AnatomyError(label_map, f"has voxels of {spacing} mm", "resample it to cubes")
    names = {int(k): v for k, v in json.loads(structures.read_text(encoding="utf-8")).items()}
    border = round(BORDER_MM / spacing[0])
    labels_ZYX = np.pad(labels_ZYX, ((0, 0), (border, border), (border, border)))
    try:
        return anatomy_of(labels_ZYX, spacing, names)
    except KeyError as error:
        raise AnatomyError(
            label_map,
            f"holds an unknown structure {error}",
            "add it to training/synthesis/tissues.py",
        ) from error


def anatomy_of(labels_ZYX: Labels, spacing: Triple, names: dict[int, str]) -> Anatomy:
    """Make a body of structure ids in canonical order with isotropic ``spacing`` in mm."""
    size = spacing[0]
    present = [int(v) for v in np.unique(labels_ZYX) if v]
    table = np.zeros(256, np.uint8)
    for value in present:
        table[value] = tissue_of(names[value])
    tissues_ZYX = table[labels_ZYX]
    limbs = np.isin(labels_ZYX, [v for v in present if names[v].startswith(LIMBS)])
    positions_ZYX = _fill_body(tissues_ZYX, limbs, size)
    for tissue in Tissue:
        if tissue not in (Tissue.OUTSIDE, Tissue.VISCERAL_FAT):
            _place(tissues_ZYX, positions_ZYX, tissue, size)
    codes = tissues_ZYX.astype(np.int16) * 256 + MARGIN + positions_ZYX
    air = Tissue.OUTSIDE * 256 + MARGIN + POSITIONS - 1
    for axis in (1, 2):  # Beyond the array its border is repeated.
        np.moveaxis(codes, axis, 0)[[0, -1]] = air
    annotated = {LABELS[t] for t in (tissue_of(names[v]) for v in present) if t in LABELS}
    lasting = [t for t in LABELS if LABELS[t] not in (5, 10)]
    slices = np.flatnonzero(np.isin(tissues_ZYX, lasting).any(axis=(1, 2)))
    span = (int(slices[0]), int(slices[-1]) + 1) if len(slices) else (0, len(codes))
    return Anatomy(codes, size, tuple(sorted(annotated)), span)


def height_positions(mask_ZYX: Mask) -> npt.NDArray[np.uint8]:
    """Positions 0 (front) to POSITIONS - 1 (back) over the extent of a mask along y."""
    rows = np.flatnonzero(mask_ZYX.any(axis=(0, 2)))
    height = (np.arange(mask_ZYX.shape[1]) - rows[0]) / max(1, rows[-1] - rows[0])
    steps = np.clip(height * (POSITIONS - 1), 0, POSITIONS - 1).astype(np.uint8)
    everywhere: npt.NDArray[np.uint8] = np.broadcast_to(steps[None, :, None], mask_ZYX.shape)
    return everywhere


def _place(
    tissues_ZYX: Labels, positions_ZYX: npt.NDArray[np.uint8], tissue: Tissue, size: float
) -> None:
    """Positions of one labelled tissue; a hollow organ's core becomes its lumen."""
    (box,) = ndimage.find_objects((tissues_ZYX == tissue).astype(np.uint8)) or [None]
    if box is None:
        return
    grown = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
    mask = tissues_ZYX[grown] == tissue
    if tissue in BY_HEIGHT:
        pieces, count = ndimage.label(mask)
        for number, piece_box in enumerate(ndimage.find_objects(pieces, count), start=1):
            piece = pieces[piece_box] == number
            positions_ZYX[grown][piece_box][piece] = height_positions(piece)[piece]
        return
    depth = ndimage.distance_transform_edt(mask, sampling=size) - 0.5 * size
    steps = np.clip(depth * DEPTH_STEPS_PER_MM, 0, POSITIONS - 1).astype(np.uint8)
    positions_ZYX[grown][mask] = steps[mask]
    if tissue in LUMENS:
        lumen, wall_mm = LUMENS[tissue]
        # Its positions follow when the loop over the tissues comes to it.
        tissues_ZYX[grown][mask & (depth > wall_mm)] = lumen


def _fill_body(tissues_ZYX: Labels, limbs_ZYX: Mask, size: float) -> npt.NDArray[np.uint8]:
    """Give unlabelled voxels a tissue, in place; returns where fat and the outside are."""
    step = (slice(None, None, COARSE),) * 3
    coarse = tissues_ZYX[step]
    coarse_mm = size * COARSE
    outwards = radial_distance(coarse > 0, (coarse > 0) & ~limbs_ZYX[step], coarse_mm)
    muscle = _muscle_between(coarse, coarse_mm)

    def finer(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        for axis, n in enumerate(tissues_ZYX.shape):
            array = array.take(np.arange(n) // COARSE, axis=axis)
        return array

    zoom = [n / m for n, m in zip(tissues_ZYX.shape, coarse.shape, strict=True)]
    outwards = ndimage.zoom(outwards, zoom, order=1, grid_mode=True, mode="nearest")
    unlabelled = tissues_ZYX == 0
    inside = outwards <= 0
    tissues_ZYX[unlabelled & inside] = Tissue.VISCERAL_FAT
    tissues_ZYX[unlabelled & finer(muscle)] = Tissue.MUSCLE
    steps = np.clip(OUTSIDE_STEPS * np.sqrt(np.maximum(outwards, 0)), 0, POSITIONS - 1)
    positions: npt.NDArray[np.uint8] = steps.astype(np.uint8)
    fat = tissues_ZYX == Tissue.VISCERAL_FAT
    if fat.any():
        positions[fat] = height_positions(fat)[fat]
    return positions


def radial_distance(filled_ZYX: Mask, trunk_ZYX: Mask, size: float) -> npt.NDArray[np.float32]:
    """How far each voxel lies outside a smooth tube around the trunk, in mm; negative inside.

    Slice by slice the trunk's outline is taken in polar coordinates about its middle, its gaps
    are bridged, and it is smoothed around the body and along it.
    """
    depth, height, width = trunk_ZYX.shape
    middles = np.full((depth, 2), np.nan)
    for z in range(depth):
        if (rows := np.flatnonzero(trunk_ZYX[z].any(axis=1))).size:
            columns = np.flatnonzero(trunk_ZYX[z].any(axis=0))
            middles[z] = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    known = np.flatnonzero(~np.isnan(middles[:, 0]))
    if not len(known):
        raise AnatomyError("the label map", "holds no structure", "give one of a trunk")
    for axis in range(2):
        middles[:, axis] = np.interp(np.arange(depth), known, middles[known, axis])
    middles = ndimage.gaussian_filter1d(middles, 10 / size, axis=0, mode="nearest")
    y, x = np.mgrid[:height, :width]
    radius = np.empty((depth, ANGLES))
    polar = []
    for z in range(depth):
        dy, dx = y - middles[z, 0], x - middles[z, 1]
        angle = ((np.arctan2(dy, dx) / (2 * np.pi) + 0.5) * ANGLES).astype(int) % ANGLES
        distance = np.hypot(dy, dx) * size
        radius[z] = ndimage.maximum(np.where(trunk_ZYX[z], distance, 0), angle, range(ANGLES))
        polar.append((angle, distance))
    radius = _smooth_outline(radius, size)
    out = np.empty(trunk_ZYX.shape, np.float32)
    for z, (angle, distance) in enumerate(polar):
        out[z] = distance - radius[z][angle]
    # Limbs stand out of the tube: a sleeve of soft tissue around them.
    beyond = filled_ZYX & (out > 0)
    if beyond.any():
        away = ndimage.distance_transform_edt(~beyond, sampling=size).astype(np.float32)
        out = np.minimum(out, np.maximum(away - 2 * size, 0.5))
    return out


def _smooth_outline(radius: npt.NDArray[np.float64], size: float) -> npt.NDArray[np.float64]:
    """A smooth outline (slice, angle) in mm that leaves next to nothing of the given one out."""
    around = ("nearest", "wrap")
    closing = (max(1, round(30 / size)), ANGLES // 6)
    closed = ndimage.grey_closing(radius, closing, mode="wrap")
    smooth = ndimage.gaussian_filter(closed, (12 / size, ANGLES / 24), mode=around)
    for _ in range(3):
        outside = np.maximum(radius - smooth, 0)
        wide = ndimage.maximum_filter(
            outside, (max(1, round(20 / size)), ANGLES // 12), mode=around
        )
        smooth += ndimage.gaussian_filter(wide, (10 / size, ANGLES / 30), mode=around)
    outline: npt.NDArray[np.float64] = smooth + 1.0
    return outline


def _muscle_between(coarse_ZYX: Labels, size: float) -> Mask:
    """Muscle that the label map lacks: between the ribs and around the spine and the pelvis."""
    bone: Mask = np.isin(coarse_ZYX, (Tissue.BONE, Tissue.CARTILAGE))
    if not bone.any():
        return bone
    away = ndimage.distance_transform_edt(~bone, sampling=size)
    grown = away <= 14
    closed = ndimage.distance_transform_edt(grown, sampling=size) > 13
    muscle: Mask = (closed | (away <= 5)) & (coarse_ZYX == 0)
    return muscle
