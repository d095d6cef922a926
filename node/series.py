"""Which series the CT slices of a study are of, and which slices it had that are kept no longer.

A few slices that come late look like a small series of their own. So a note of what there was stays
beside the results when the sources go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .box import DicomFile, OutputError, write_atomically
from .contexts import CT_CLASSES
from .spool import Held

_FILE = "series.json"
_SERIES = 0x0020000E
# Series UID -> the file names of its CT instances.
Slices = dict[str, set[str]]


def slices_of(paths: Iterable[Path]) -> Slices:
    """The CT instances among files, by series. Raises FileNotFoundError."""
    found: Slices = {}
    for path in paths:
        sop_class, series = _class_and_series(path)
        if sop_class in CT_CLASSES:
            found.setdefault(series, set()).add(path.name)
    return found


def _class_and_series(path: Path) -> tuple[str, str]:
    try:
        header = DicomFile(path).parse(_SERIES, [_SERIES])
        sop_class = str(header.file_meta.get("MediaStorageSOPClassUID") or "")
        return sop_class, str(header.get("SeriesInstanceUID") or "").strip()
    except FileNotFoundError:
        raise
    except Exception:  # pydicom converts values late, and raises anything over odd ones
        return "", ""


def drop_sources(held: Held) -> bool:
    """Remove the source instances of a study, and note which there were.

    Returns:
        Whether any were there.

    Raises:
        FileNotFoundError: the study has moved on meanwhile.
        OutputError: they cannot be noted; they stay.
        OSError: they cannot be removed.
    """
    found = held.instances()
    if found and not (held.path / _FILE).exists():  # else interrupted, with all of them noted
        slices = slices_of(found)
        try:
            _note(held, slices)
        except OutputError:  # the disk is full to the last byte: the first one makes room
            found.pop().unlink()
            _note(held, slices)
    for path in found:
        path.unlink(missing_ok=True)
    return bool(found)


def _note(held: Held, slices: Slices) -> None:
    text = json.dumps({series: sorted(names) for series, names in slices.items()})
    write_atomically(held.path / _FILE, text.encode())


def noted(held: Held) -> Slices:
    """What :func:`drop_sources` has noted; nothing where the sources are still there."""
    try:
        said = json.loads((held.path / _FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {series: set(names) for series, names in said.items()}


def lacking(held: Held, others: Iterable[Held]) -> dict[str, str]:
    """The series of which a study holds a part only, each with the reason in a line.

    Args:
        held: with all that is still there of the study.
        others: what else was held of it, whose sources may be gone.
    """
    gone = [slices for other in others if (slices := noted(other))]
    if not gone:  # the usual case, without a look into any file
        return {}
    found = {}
    for series, mine in slices_of(held.instances()).items():
        missing = {name for slices in gone for name in slices.get(series, ())} - mine
        if missing:
            found[series] = (
                f"series {series}: came in part ({len(missing)} slices that came before are kept "
                "no longer); send the series again, whole"
            )
    return found
