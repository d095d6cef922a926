"""Files that are further nnU-Net channels of a case, and no patients of their own.

nnU-Net calls a case's files X_0000.nii.gz, X_0001.nii.gz ...; people number patients in that way,
too. Channels are images of one patient on one grid, so the headers tell: NumPy is imported only
where names leave it open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .names import channel_groups, scan_stem


def further_channels(paths: Iterable[Path]) -> dict[str, str]:
    """Which scans are further channels, and of which case: ``{"X_0001": "X"}``.

    X_0000 to X_0003 (or fewer, from 0 on and without a gap) are channels where all of them lie on
    one grid that a header states. Where the grids differ, where one cannot be read, and where
    nothing is stated but the 1 mm of an array saved without a geometry, they are patients: then a
    channel too many is segmented, and no patient is lost.

    Args:
        paths: of one folder's scans.
    """
    files = {stem: path for path in paths if (stem := scan_stem(path.name)) is not None}
    return {
        stem: case
        for case, stems in channel_groups([*files]).items()
        if _on_one_grid(files, stems)
        for stem in stems[1:]
    }


def _on_one_grid(files: Mapping[str, Path], stems: list[str]) -> bool:
    from .limits import unset_geometry
    from .stored_grid import UNREADABLE, same_grid, stored_grid

    try:
        first, *others = (stored_grid(files[stem]) for stem in stems)
    except UNREADABLE:
        return False
    return not unset_geometry(first) and all(same_grid(first, other) for other in others)
