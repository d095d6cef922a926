"""The grid of an NRRD: its axes, space, spacing and origin, as ITK (NrrdImageIO) takes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..errors import HeaderError
from ..grid import IDENTITY, Direction, Grid
from .axes import direction_of
from .limits import check_origin, check_size, check_spacing
from .text_header import Fields, check_unit, real

# How each of a space's axes runs against left, posterior, superior; names without their hyphens,
# in whose place blanks or nothing may stand.
_SPACES = {
    "leftposteriorsuperior": (1.0, 1.0, 1.0), "lps": (1.0, 1.0, 1.0),
    "rightanteriorsuperior": (-1.0, -1.0, 1.0), "ras": (-1.0, -1.0, 1.0),
    "leftanteriorsuperior": (1.0, -1.0, 1.0), "las": (1.0, -1.0, 1.0),
}  # fmt: skip
_OTHER_SPACES = frozenset(("scannerxyz", "3drighthanded", "3dlefthanded"))
# Kinds of an axis that is no place: several values for each voxel.
_PLACES = frozenset(("domain", "space", "???", "none"))
_UNIT = re.compile(r'"([^"]*)"|([^\s"]+)')
_MOST_AXES = 16
_ONE_VOLUME = "give one 3D volume of grey values per file"

Note = Callable[[str], None]


def nrrd_grid(fields: Fields, note: Note) -> Grid:
    """Where an NRRD's voxels lie, by its header's fields.

    Args:
        fields: of the header.
        note: told what is guessed, in words.

    Raises:
        HeaderError: they are not one volume, or its spacing or axes make no sense.
    """
    dimension = fields.whole("dimension", 0)
    if not 1 <= dimension <= _MOST_AXES:
        raise HeaderError(f"has {dimension} dimensions", _ONE_VOLUME)
    sizes = fields.wholes("sizes", dimension)
    if dimension < 3:
        raise _not_one_volume(sizes)
    vectors = _space_directions(fields, sizes)
    places = _places(fields, sizes, vectors)
    x, y, z = (sizes[axis] for axis in places)
    check_size((z, y, x))
    signs = _space(fields, note)
    for name in ("spaceunits", "units"):
        units = [quoted or bare for quoted, bare in _UNIT.findall(fields.text(name))]
        for axis, unit in enumerate(units):
            if name == "spaceunits" or axis in places:
                check_unit(unit, note)
    if vectors is None:
        spacing, direction = _spacings(fields, dimension, places, note), IDENTITY
        note("no space directions are stated: the patient's orientation is taken as ITK does")
    else:
        if "spacings" in fields:
            raise HeaderError("states both spacings and space directions", "remove one of them")
        matrix = np.array([vectors[axis] for axis in places]).T
        spacing, direction = _lengths(matrix, signs)
    origin = check_origin(_origin(fields, dimension, sizes, places) * signs)
    return Grid(
        (z, y, x),
        (float(spacing[2]), float(spacing[1]), float(spacing[0])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        direction,
    )


def _places(
    fields: Fields, sizes: list[int], vectors: list[list[float] | None] | None
) -> list[int]:
    """The three axes that are places; all others must have one entry. Raises HeaderError."""
    kinds = fields.text("kinds").lower().split() or ["???"] * len(sizes)
    if len(kinds) != len(sizes):
        raise HeaderError(f"states {len(kinds)} kinds for {len(sizes)} axes")
    if vectors is not None:
        places = [axis for axis, vector in enumerate(vectors) if vector is not None]
    else:
        places = [axis for axis, kind in enumerate(kinds) if kind in _PLACES][:3]
    several = [axis for axis, kind in enumerate(kinds) if kind not in _PLACES]
    others = [axis for axis in range(len(sizes)) if axis not in places]
    if any(sizes[axis] != 1 for axis in {*others, *several}) and (
        several or vectors is None or len(sizes) > 3
    ):
        raise _not_one_volume(sizes, fields.text("kinds"))
    if len(places) != 3:
        raise HeaderError(f"places {len(places)} axes in space, not three", _ONE_VOLUME)
    return places


def _not_one_volume(sizes: list[int], kinds: str = "") -> HeaderError:
    text = " x ".join(str(n) for n in sizes)
    of_kinds = f" ({kinds[:60]})" if kinds else ""
    return HeaderError(f"is not one volume of grey values but {text}{of_kinds}", _ONE_VOLUME)


def _space(fields: Fields, note: Note) -> npt.NDArray[np.float64]:
    """Signs that turn the header's coordinates to LPS."""
    name = fields.text("space").lower()
    key = re.sub(r"[-_ ]", "", name)
    if key in _SPACES:
        return np.array(_SPACES[key])
    if key in _OTHER_SPACES or ("space" not in fields and fields.whole("spacedimension", 3) == 3):
        if name:
            note(f"its space is {name}: taken as left-posterior-superior, as ITK does")
        elif "spacedirections" in fields:
            note("no space is named: taken as left-posterior-superior, as ITK does")
        return np.ones(3)
    raise HeaderError(f"has a space of another kind than three axes ({name[:40]})", _ONE_VOLUME)


def _space_directions(fields: Fields, sizes: list[int]) -> list[list[float] | None] | None:
    """One vector, or none, for each axis; None where the field is missing."""
    if "spacedirections" not in fields:
        return None
    found = re.fullmatch(r"(?:\s*(?:\([^()]*\)|none))*", text := fields.text("spacedirections"))
    words = re.findall(r"\([^()]*\)|none", text) if found else []
    if len(words) != len(sizes):
        cause = f"has space directions that are no vector for each of {len(sizes)} axes"
        raise HeaderError(cause)
    vectors = [None if word == "none" else _vector(word, "space directions") for word in words]
    if len(sizes) > 3:  # NaN is another way to write none; of three axes each has its place
        return [None if v and all(map(math.isnan, v)) else v for v in vectors]
    return vectors


def _vector(word: str, name: str) -> list[float]:
    values = [part.strip() for part in word.strip("()").split(",")]
    if len(values) != 3 or not (word.startswith("(") and word.endswith(")")):
        raise HeaderError(f"states in its {name} no vector of three numbers ({word[:60]})")
    return [real(value, name) for value in values]


@np.errstate(over="ignore", invalid="ignore")
def _lengths(
    matrix: npt.NDArray[np.float64], signs: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], Direction]:
    """Spacing (x, y, z) and direction of the columns, in teem's order of operations."""
    if not np.isfinite(matrix).all():
        raise HeaderError("has space directions that are not all numbers")
    x, y, z = matrix
    spacing = np.sqrt(x * x + y * y + z * z)
    check_spacing(spacing)
    return spacing, direction_of(matrix * (1.0 / spacing) * signs[:, None])


def _spacings(
    fields: Fields, dimension: int, places: list[int], note: Note
) -> npt.NDArray[np.float64]:
    if "spacings" not in fields:
        note("no spacing is stated: 1 mm is assumed")
        return np.ones(3)
    spacing = np.array([fields.reals("spacings", dimension)[axis] for axis in places])
    check_spacing(spacing)
    return spacing


def _origin(
    fields: Fields, dimension: int, sizes: list[int], places: list[int]
) -> npt.NDArray[np.float64]:
    """The first voxel's centre in the header's own coordinates."""
    if "spaceorigin" in fields:
        return np.array(_vector(fields.text("spaceorigin"), "space origin"))
    if "space" in fields or "spacedimension" in fields or "axismins" not in fields:
        return np.zeros(3)
    # Without a space: by each axis' first edge, or first centre (nrrdOriginCalculate).
    centers = fields.text("centerings" if "centerings" in fields else "centers").lower().split()
    lows = fields.reals("axismins", dimension)
    if any(math.isnan(lows[axis]) for axis in places):  # which means that they are not known
        return np.zeros(3)
    if "spacings" in fields:
        steps = fields.reals("spacings", dimension)
    elif "axismaxs" not in fields:
        return np.zeros(3)
    else:
        highs = fields.reals("axismaxs", dimension)
        steps = [
            (high - low) / max(1, size - (_center(centers, axis) == "node"))
            for axis, (low, high, size) in enumerate(zip(lows, highs, sizes, strict=True))
        ]
    return np.array(
        [lows[a] + (0.0 if _center(centers, a) == "node" else steps[a] / 2) for a in places]
    )


def _center(centers: list[str], axis: int) -> str:
    return centers[axis] if axis < len(centers) else "cell"
