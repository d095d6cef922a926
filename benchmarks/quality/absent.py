"""Organs taken away from real scans: what does a model draw where an organ was removed?

The organ and its rim become fat with loops of bowel in it, as after an operation, under noise as
strong as the scan's. Not under the scan's own: what a filter leaves of a border is the organ's
outline, and would say where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.quality.degrade import soft_noise
from benchmarks.quality.scan import Scan, segment
from inference.labels import BACKGROUND, NAMES
from inference.segmenter import Segmenter
from inference.types import Mask

# By label: what surgeons remove and patients live without.
REMOVABLE: tuple[int, ...] = (3, 2, 13, 9, 11)
_RIM_MM = 4.0
_SMOOTH_MM = 3.0
_EDGE_MM = 1.0
# Standard deviations of a normal distribution in its median absolute value.
_NORMAL_SD = 1.4826
_LOOP_MM = 12.0
# Share of the place that bowel takes, the rest being fat.
_BOWEL_SHARE = 0.4
_FAT_HU, _BOWEL_HU = -100.0, 25.0
# Bowel full of oral contrast would look like an enhanced organ, and be one to any reader.
_MOST_BOWEL_HU = 60.0
_DUODENUM = 12


@dataclass(frozen=True)
class AbsentResult:
    """What a model draws of an organ after it was taken away.

    Attributes:
        taken_ml: the organ's volume before.
        kept_ml: what the model drew of it then.
        drawn_ml: what it draws of it now, where there is none.
    """

    scan: str
    organ: int
    taken_ml: float
    kept_ml: float
    drawn_ml: float


def absent_results(segmenter: Segmenter, scans: Iterable[Scan]) -> Iterator[AbsentResult]:
    """Each scan as it is, then without each of the removable organs that it shows."""
    for scan in scans:
        ml = float(np.prod(scan.spacing)) / 1000
        whole = segment(segmenter, scan)
        for organ in REMOVABLE:
            if taken := np.count_nonzero(scan.labels_ZYX == organ):
                drawn = np.count_nonzero(segment(segmenter, without(scan, organ)) == organ)
                kept = np.count_nonzero(whole == organ)
                yield AbsentResult(scan.name, organ, ml * taken, ml * kept, ml * drawn)


def absent_table(results: Iterable[AbsentResult]) -> str:
    """Markdown: by organ, then every run."""
    results = list(results)
    lines = [
        "| organ taken away | runs | drawn in | mean ml drawn | most | of the organ's ml |",
        "|---|---|---|---|---|---|",
    ]
    for organ in REMOVABLE:
        if runs := [r for r in results if r.organ == organ]:
            drawn = [r.drawn_ml for r in runs]
            share = sum(drawn) / sum(r.taken_ml for r in runs)
            lines.append(
                f"| {NAMES[organ]} | {len(runs)} | {sum(ml > 0 for ml in drawn)} | "
                f"{np.mean(drawn):.1f} | {max(drawn):.1f} | {share:.0%} |"
            )
    lines += ["", "| scan | organ | taken away, ml | drawn before, ml | drawn after, ml |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {r.scan} | {NAMES[r.organ]} | {r.taken_ml:.1f} | {r.kept_ml:.1f} | {r.drawn_ml:.1f} |"
        for r in results
    ]
    return "\n".join(lines) + "\n"


def without(scan: Scan, organ: int) -> Scan:
    """The scan after ``organ`` was removed; its reference shows none of it, and annotates it.

    Raises:
        ValueError: the scan does not show the organ.
    """
    if not (scan.labels_ZYX == organ).any():
        raise ValueError(f"{scan.name} shows no {NAMES[organ]}")
    box = _around(scan, organ)
    labels, hu = scan.labels_ZYX[box], scan.voxels_ZYX[box].astype(np.float32)
    own = labels == organ
    taken = _grown(own, scan) & (own | (labels == BACKGROUND))
    rough = hu - ndimage.gaussian_filter(hu, [_SMOOTH_MM / s for s in scan.spacing])
    sd_hu = _NORMAL_SD * float(np.median(np.abs(rough[own])))
    filled = _filling(scan, taken.shape) + soft_noise(taken.shape, scan.spacing, sd_hu)
    share = ndimage.gaussian_filter(taken.astype(np.float32), [_EDGE_MM / s for s in scan.spacing])
    share *= own | (labels == BACKGROUND)
    share[own] = 1.0
    voxels, rest = scan.voxels_ZYX.copy(), scan.labels_ZYX.copy()
    voxels[box] = np.rint(share * filled + (1 - share) * hu).astype(voxels.dtype)
    rest[rest == organ] = BACKGROUND
    annotated = tuple(sorted({*scan.annotated, organ}))
    return replace(scan, voxels_ZYX=voxels, labels_ZYX=rest, annotated=annotated)


def _around(scan: Scan, organ: int) -> tuple[slice, ...]:
    (found,) = ndimage.find_objects((scan.labels_ZYX == organ).astype(np.uint8))
    return tuple(
        slice(max(0, side.start - margin), side.stop + margin)
        for side, margin in zip(
            found, (int(4 * _RIM_MM / s) + 1 for s in scan.spacing), strict=True
        )
    )


def _grown(mask_ZYX: Mask, scan: Scan) -> Mask:
    outside_mm = ndimage.distance_transform_edt(~mask_ZYX, scan.spacing)
    grown: Mask = outside_mm <= _RIM_MM
    return grown


def _filling(scan: Scan, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Fat, and loops of bowel of the scan's own brightness; the same for the same scan."""
    duodenum = scan.voxels_ZYX[scan.labels_ZYX == _DUODENUM]
    bowel = min(float(np.median(duodenum)), _MOST_BOWEL_HU) if duodenum.size else _BOWEL_HU
    field = np.random.default_rng(0).standard_normal(shape, np.float32)
    field = ndimage.gaussian_filter(field, [_LOOP_MM / 2 / s for s in scan.spacing])
    loops = (field > np.quantile(field, 1 - _BOWEL_SHARE)).astype(np.float32)
    loops = ndimage.gaussian_filter(loops, [_EDGE_MM / s for s in scan.spacing])
    filled: npt.NDArray[np.float32] = _FAT_HU + loops * (bowel - _FAT_HU)
    return filled
