"""``python -m training preprocess``: from a table of cases to a :mod:`training.data.store`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from inference.cli.argument_types import count
from inference.errors import AbdoboxError, one_line
from inference.grid import Orientation
from inference.model.description import Intensity
from inference.scan.volume import read_labels, read_volume
from inference.steps.resample import resample_image
from training.data.case import DRAWN
from training.data.coding import code_labels, only, resample_coded
from training.data.folders import make_folder
from training.data.hounsfield import scale_problem
from training.data.store import StoredCase, StoreError, write_case, write_index
from training.data.table import read_cases, read_table
from training.recipe import Recipe, load_recipe


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m training preprocess``. Returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        recipe = load_recipe(arguments.recipe)
        intensity = read_intensity(arguments.fingerprint)
        rows = read_cases(arguments.data)
        mark_unlabelled(rows, arguments.data)
        make_folder(arguments.out)
        preprocess_all(rows, recipe, intensity, arguments.out, arguments.workers)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(rows)} cases preprocessed into {arguments.out}", file=sys.stderr)
    return 0


def preprocess_all(
    rows: Sequence[dict[str, str]], recipe: Recipe, intensity: Intensity, out: Path, workers: int
) -> None:
    """Write the store; every case is done, whether it is there already or not."""
    work = partial(preprocess_case, recipe=recipe, intensity=intensity, out=out)
    with ProcessPoolExecutor(workers) as pool:
        for row, problem in zip(rows, pool.map(work, rows), strict=True):
            if problem:
                print(one_line(f"warning: {row['image']}: {problem}"), file=sys.stderr)
            print(f"preprocessed {row['name']}", file=sys.stderr)
    spacing = None if recipe.sampling.native else recipe.sampling.spacing
    write_index(out, intensity, [row["name"] for row in rows], spacing)


def preprocess_case(
    row: dict[str, str], recipe: Recipe, intensity: Intensity, out: Path
) -> str | None:
    """Read, orient, normalise and (unless the recipe keeps the native grid) resample one case.

    Returns:
        Why its values can be no HU, if so. ``fuse`` leaves such cases out; a table of cases that
        somebody else made may hold them.

    Raises:
        StoreError: image and labels differ in shape.
    """
    hounsfield_ZYX, grid = read_volume(Path(row["image"])).canonical()
    labels_ZYX, labels_grid = read_labels(Path(row["label"]))
    labels_ZYX = Orientation.of(labels_grid.direction).apply(labels_ZYX)
    if labels_ZYX.shape != hounsfield_ZYX.shape:
        raise StoreError(
            row["label"],
            f"has shape {labels_ZYX.shape}, the image has {hounsfield_ZYX.shape}",
            "give labels on the image's grid",
        )
    problem = scale_problem(hounsfield_ZYX, labels_ZYX)
    annotated = tuple(int(v) for v in row["annotated"].split())
    coded_ZYX = only(code_labels(np.ascontiguousarray(labels_ZYX)), annotated)
    native = recipe.sampling.native
    shape = grid.shape if native else grid.resampled_shape(recipe.sampling.spacing)
    z, y, x = (e / n for e, n in zip(grid.extent_mm, shape, strict=True))
    case = StoredCase(
        name=row["name"],
        patient=row["patient"],
        split=row["split"],
        annotated=annotated,
        unlabelled=row.get("unlabelled") == "1",
        shape=shape,
        spacing=(z, y, x),
        image=row["image"],
        label=row["label"],
    )
    image = resample_image(hounsfield_ZYX, intensity, shape)
    write_case(out, case, image, coded_ZYX if native else resample_coded(coded_ZYX, shape))
    return problem


def mark_unlabelled(rows: Sequence[dict[str, str]], folder: Path) -> None:
    """Add a column ``unlabelled`` to the cases of a folder, where it says who drew the labels.

    A case is unlabelled if ``annotated_classes.csv`` names no label set drawn by people.

    Raises:
        DatasetError: that table makes no sense.
    """
    path = folder / "annotated_classes.csv"
    if not path.is_file():
        return
    sources = read_table(path, ("name", "source", "classes"), "run python -m training fuse again")
    drawn = {row["name"] for row in sources if row["source"] in DRAWN and row["classes"]}
    for row in rows:
        row["unlabelled"] = str(int(row["name"] not in drawn))


def read_intensity(path: Path) -> Intensity:
    """The normalisation from a fingerprint (``python -m training fingerprint``).

    Raises:
        StoreError: the file is missing or holds none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["intensity_hu"]
        return Intensity(*(float(values[k]) for k in ("lower", "upper", "mean", "std")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            path, f"holds no intensity statistics ({error})", "run python -m training fingerprint"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training preprocess", description=__doc__)
    parser.add_argument("--recipe", required=True, help="name or TOML file")
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.csv")
    parser.add_argument("--fingerprint", type=Path, required=True, metavar="JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for the store")
    parser.add_argument("--workers", type=count, default=2)
    return parser
