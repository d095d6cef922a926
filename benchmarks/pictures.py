"""Pictures as in the paper's Fig. 2 and 3 of any case: ``python -m benchmarks.pictures --help``.

One row each for the scan, the reference, and every label map given; in it an axial and a coronal
slice and the organs seen from the front, shaded. Beside a label map stands each organ's DSC.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from evaluation.dice import dice
from examples.overlay import GAP_PX, overlay_panel, pixel_size, richest_slice
from inference.errors import AbdoboxError, ScanError
from inference.grid import Grid, Orientation
from inference.labels import BACKGROUND, COLORS, NAMES
from inference.scan.volume import read_labels, read_volume
from inference.types import Labels, Triple

_LEGEND_PX = 210
_LINE_PX = 17
# Light from the front, above, and the patient's right (z, y, x).
_LIGHT_ZYX = np.array([0.5, -0.8, -0.35])
_AMBIENT = 0.35


@dataclass(frozen=True)
class Row:
    """Labels and what stands beside them; ``dsc`` by label, where there is a reference."""

    title: str
    labels_ZYX: Labels
    dsc: dict[int, float] | None = None


def surface(labels_ZYX: Labels, spacing: Triple, pixel_mm: float) -> Image.Image:
    """Organs as one sees them from the front, the patient's right on the left, shaded by depth.

    Args:
        labels_ZYX: in canonical LPS order.
        spacing: mm along (z, y, x).
        pixel_mm: side of a picture element.
    """
    # On a grid of equal steps, so that the depth's slope is the surface's.
    z, y, x = (
        np.minimum((np.arange(max(1, round(n * s / pixel_mm))) * pixel_mm / s).astype(int), n - 1)
        for n, s in zip(labels_ZYX.shape, spacing, strict=True)
    )
    cube = labels_ZYX[np.ix_(z[::-1], y, x)]
    depth = (cube != BACKGROUND).argmax(axis=1)
    values = np.take_along_axis(cube, depth[:, None], axis=1)[:, 0]
    down, right = np.gradient(_smooth(depth.astype(float), values))
    # Of the surface y = depth(z, x), outwards; rows run downwards, against z.
    normal_ZYX = np.stack((-down, -np.ones_like(down), right), axis=-1)
    normal_ZYX /= np.linalg.norm(normal_ZYX, axis=-1, keepdims=True)
    light = (normal_ZYX @ (_LIGHT_ZYX / np.linalg.norm(_LIGHT_ZYX))).clip(0, 1)
    shade = _AMBIENT + (1 - _AMBIENT) * light
    palette = np.zeros((256, 3))
    for value, color in COLORS.items():
        palette[value] = color
    return Image.fromarray((palette[values] * shade[..., None]).clip(0, 255).astype(np.uint8))


def _smooth(depth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Means of 3 x 3 neighbours of the same organ: voxels' steps would show as stripes."""
    total, weight = np.zeros_like(depth), np.zeros_like(depth)
    padded = np.pad(depth, 1, mode="edge")
    same = np.pad(values, 1, mode="edge")
    rows, columns = depth.shape
    for down in range(3):
        for right in range(3):
            part = np.s_[down : down + rows, right : right + columns]
            equal = same[part] == values
            total += np.where(equal, padded[part], 0)
            weight += equal
    return total / weight


def picture(
    image_ZYX: np.ndarray,
    rows: list[Row],
    grid: Grid,
    *,
    window_hu: tuple[float, float] = (-160.0, 240.0),
    pixel_mm: float = 1.5,
    source: str = "",
) -> Image.Image:
    """The whole picture. Slices are those that show the most structures of the first row's labels.

    Args:
        image_ZYX: HU, in the scan's axis order, as are the rows' labels.
        rows: at least one.
        grid: of all.
        window_hu: HU shown as black and as white.
        pixel_mm: side of a picture element.
        source: whose scan it is and under which licence, for the foot.
    """
    orientation = Orientation.of(grid.direction)
    spacing = orientation.canonical(grid).spacing
    image = orientation.apply(image_ZYX)
    first = orientation.apply(rows[0].labels_ZYX)
    slices = [(axis, richest_slice(first, axis)) for axis in (0, 1)]
    empty = Row("scan", np.zeros_like(rows[0].labels_ZYX))
    lines = []
    for row in (empty, *rows):
        labels = orientation.apply(row.labels_ZYX)
        panels = [
            overlay_panel(
                image.take(index, axis),
                labels.take(index, axis),
                axis,
                pixel_size(image.shape, spacing, axis, pixel_mm),
                window_hu,
            )
            for axis, index in slices
        ]
        if row is not empty:
            panels.append(surface(np.ascontiguousarray(labels), spacing, pixel_mm))
        lines.append((row, panels))
    return _composed(lines, source)


def _composed(lines: list[tuple[Row, list[Image.Image]]], source: str) -> Image.Image:
    panels = max((panels for _, panels in lines), key=len)
    widths = [panel.width + GAP_PX for panel in panels]
    heights = [
        max(*(panel.height for panel in shown), _LINE_PX * (2 + len(row.dsc or ())))
        for row, shown in lines
    ]
    width, font = sum(widths) + _LEGEND_PX, ImageFont.load_default(13)
    foot = textwrap.wrap(source, max(1, int((width - 8) / font.getlength("n"))))
    height = sum(heights) + GAP_PX * (len(heights) - 1) + _LINE_PX * len(foot)
    canvas = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(canvas)
    for line, words in enumerate(reversed(foot), 1):
        draw.text((4, height - _LINE_PX * line), words, fill=(200, 200, 200), font=font)
    top = 0
    for (row, shown), height in zip(lines, heights, strict=True):
        left = 0
        for panel, width in zip(shown, widths, strict=False):
            canvas.paste(panel, (left, top))
            left += width
        left = sum(widths) + 4
        draw.text((left, top + 2), row.title, fill=(255, 255, 255), font=font)
        for line, (label, value) in enumerate((row.dsc or {}).items(), 1):
            y = top + 2 + _LINE_PX * line
            draw.rectangle((left, y + 3, left + 10, y + 13), fill=COLORS[label])
            words = f"{NAMES[label]} {value:.3f}"
            draw.text((left + 16, y), words, fill=(255, 255, 255), font=font)
        top += height + GAP_PX
    return canvas


def rows_of(
    reference: Path | None,
    labels: list[Path],
    grid: Grid,
    annotated: Collection[int] = tuple(NAMES),
) -> list[Row]:
    """Rows of label files; a DSC for what the reference has ``annotated``.

    Raises:
        AbdoboxError: ScanError where one lies on another grid.
    """
    true = None if reference is None else _read(reference, grid)
    rows = [] if true is None else [Row("reference", true)]
    for path in labels:
        found = _read(path, grid)
        dsc = None
        if true is not None:
            either = sorted({*np.unique(true).tolist(), *np.unique(found).tolist()} & {*annotated})
            dsc = {label: dice(true == label, found == label) for label in either}
        name = path.name.removesuffix(".nii.gz")
        rows.append(Row(f"{name}: DSC" if dsc else name, found, dsc))
    return rows


def _read(path: Path, grid: Grid) -> Labels:
    labels_ZYX, other = read_labels(path)
    if other.shape != grid.shape or not np.allclose(other.spacing, grid.spacing, rtol=1e-3):
        raise ScanError(path, "lies on another grid than the scan", "give labels of this scan")
    return labels_ZYX


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="one row each")
    parser.add_argument("--reference", type=Path, help="the true labels, for a row and the DSC")
    parser.add_argument(
        "--annotated",
        type=int,
        nargs="+",
        default=list(NAMES),
        choices=NAMES,
        metavar="LABEL",
        help="values that the reference knows of; the others get no DSC (default: all)",
    )
    parser.add_argument("--source", default="", help="words at the foot: whose scan, which licence")
    parser.add_argument("--out", type=Path, required=True, help="a .png")
    args = parser.parse_args(arguments)
    try:
        scan = read_volume(args.scan)
        rows = rows_of(args.reference, args.labels, scan.grid, args.annotated)
        picture(scan.voxels_ZYX, rows, scan.grid, source=args.source).save(args.out)
    except (AbdoboxError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
