"""Pictures of a segmentation on its scan, and the volume of each organ.

Needs Pillow beside what inference needs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from inference.errors import AbdoboxError
from inference.grid import Grid, Orientation
from inference.labels import BACKGROUND, COLORS, NAMES
from inference.scan.volume import read_labels, read_volume

VIEWS = ("axial", "coronal", "sagittal")  # in the order of the array axes (z, y, x) they cut
GAP_PX = 6
LEGEND_PX = 190


def organ_volumes(labels_ZYX: np.ndarray, grid: Grid) -> dict[str, float]:
    """Volume of every label that occurs, in millilitres, by name in label order."""
    counts = np.bincount(labels_ZYX.ravel(), minlength=max(NAMES) + 1)
    return {name: float(counts[v] * grid.voxel_ml) for v, name in NAMES.items() if counts[v]}


def overlay_png(
    image_ZYX: np.ndarray,
    labels_ZYX: np.ndarray,
    grid: Grid,
    path: str | os.PathLike[str],
    *,
    window_hu: tuple[float, float] = (-160.0, 240.0),
    opacity: float = 0.35,
    pixel_mm: float = 1.0,
) -> None:
    """Write one PNG: an axial, a coronal and a sagittal slice with the labels over the scan.

    The slices are those that show the most labels (see :func:`richest_slice`). Display is
    radiological: the patient's right is on the picture's left, the head is up, and in the sagittal
    view the front is on the left. Any axis-aligned or oblique direction is brought to its nearest
    canonical orientation first.

    Args:
        image_ZYX: scan in HU, any numeric type.
        labels_ZYX: label values of inference.labels, same shape.
        grid: the grid of both.
        path: PNG to write.
        window_hu: HU shown as black and as white.
        opacity: weight of the label colours inside an organ; outlines are opaque.
        pixel_mm: side of a (square) picture element in millimetres.

    Raises:
        ValueError: if the three shapes differ.
    """
    if not image_ZYX.shape == labels_ZYX.shape == grid.shape:
        raise ValueError(
            f"image {image_ZYX.shape}, labels {labels_ZYX.shape} and grid {grid.shape} differ"
        )
    orientation = Orientation.of(grid.direction)
    image, labels = orientation.apply(image_ZYX), orientation.apply(labels_ZYX)
    spacing = orientation.canonical(grid).spacing
    panels = []
    for axis in range(3):
        index = richest_slice(labels, axis)
        size = pixel_size(labels.shape, spacing, axis, pixel_mm)
        gray, values = image.take(index, axis), labels.take(index, axis)
        panels.append(overlay_panel(gray, values, axis, size, window_hu, opacity))
    _compose(panels, organ_volumes(labels, grid)).save(path)


def richest_slice(labels_ZYX: np.ndarray, axis: int) -> int:
    """Index along ``axis`` of the slice with the most different labels.

    Among equals, the one where the labels' summed share of their own largest slice is highest, so
    that every organ counts alike; the middle slice of an empty map.
    """
    others = tuple(a for a in range(3) if a != axis)
    present = [v for v in np.unique(labels_ZYX) if v != BACKGROUND]
    if not present:
        return labels_ZYX.shape[axis] // 2
    areas = np.stack([np.count_nonzero(labels_ZYX == v, axis=others) for v in present])
    shares = areas / areas.max(axis=1, keepdims=True)
    return int(np.argmax((areas > 0).sum(axis=0) + shares.sum(axis=0)))


def _upright(slice_RC: np.ndarray, axis: int) -> np.ndarray:
    """A canonical slice with the head up; an axial one already has the front up."""
    return slice_RC if axis == 0 else slice_RC[::-1]


def pixel_size(
    shape: tuple[int, ...], spacing: tuple[float, ...], axis: int, pixel_mm: float
) -> tuple[int, int]:
    """(width, height) in picture elements of a slice across ``axis`` of (z, y, x)."""
    height, width = (
        max(1, round(n * s / pixel_mm))
        for a, (n, s) in enumerate(zip(shape, spacing, strict=True))
        if a != axis
    )
    return width, height


def overlay_panel(
    gray_RC: np.ndarray,
    values_RC: np.ndarray,
    axis: int,
    size: tuple[int, int],
    window_hu: tuple[float, float],
    opacity: float = 0.35,
) -> Image.Image:
    """One canonical slice across ``axis``, at ``size`` (width, height), with filled and outlined
    labels.
    """
    gray_RC, values_RC = _upright(gray_RC, axis), _upright(values_RC, axis)
    low, high = window_hu
    windowed = np.clip((gray_RC.astype(np.float32) - low) / (high - low), 0, 1) * 255
    picture = Image.fromarray(windowed.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    mask = Image.fromarray(np.ascontiguousarray(values_RC, dtype=np.uint8))
    values = np.asarray(mask.resize(size, Image.Resampling.NEAREST))

    palette = np.zeros((256, 3), np.float32)
    for value, color in COLORS.items():
        palette[value] = color
    weight = np.where(values != BACKGROUND, opacity, 0.0).astype(np.float32)
    weight[(values != BACKGROUND) & _outline(values)] = 1.0
    rgb = np.asarray(picture, np.float32)[..., None] * (1 - weight[..., None])
    rgb = rgb + palette[values] * weight[..., None]
    return Image.fromarray(rgb.astype(np.uint8))


def _outline(values_RC: np.ndarray) -> np.ndarray:
    """True where a 4-neighbour has another value."""
    edge = np.zeros(values_RC.shape, bool)
    down, right = values_RC[1:] != values_RC[:-1], values_RC[:, 1:] != values_RC[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def _compose(panels: list[Image.Image], volumes: dict[str, float]) -> Image.Image:
    """The panels side by side, each with its name, and the legend at the right."""
    width = sum(p.width + GAP_PX for p in panels) + LEGEND_PX
    height = max(*(p.height for p in panels), 16 * (len(volumes) + 1))
    canvas = Image.new("RGB", (width, height))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    left = 0
    for panel, view in zip(panels, VIEWS, strict=True):
        canvas.paste(panel, (left, 0))
        draw.text((left + 4, 2), view, fill=(255, 255, 255), font=font)
        left += panel.width + GAP_PX
    values = {name: value for value, name in NAMES.items()}
    for row, (name, ml) in enumerate(volumes.items()):
        top = 4 + 16 * row
        draw.rectangle((left, top, left + 10, top + 10), fill=COLORS[values[name]])
        draw.text((left + 16, top), f"{name} {ml:.1f} ml", fill=(255, 255, 255), font=font)
    return canvas


def main(arguments: list[str] | None = None) -> int:
    """Draw the labels of a scan: ``python -m examples.overlay SCAN LABELS PICTURE.png``."""
    parser = argparse.ArgumentParser(prog="python -m examples.overlay", description=main.__doc__)
    parser.add_argument("scan", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("picture", type=Path)
    files = parser.parse_args(arguments)
    try:
        scan = read_volume(files.scan)
        overlay_png(scan.voxels_ZYX, read_labels(files.labels)[0], scan.grid, files.picture)
    except (AbdoboxError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
